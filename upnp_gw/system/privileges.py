"""Least privilege (SR-27): started as root, the daemon becomes a user that may only configure the network.

Capabilities belong to a thread, so ``settle`` runs before the daemon starts threads, which inherit them. What needs
root happens before (reading the configuration) or here (the two directories change their owner). Everything else
needs only CAP_NET_ADMIN: netlink, nftables, conntrack, forwarding sysctls. Ports above 1023 and SO_BINDTODEVICE
(Linux 5.7) need no capability.
"""

import ctypes
import grp
import logging
import os
import pwd
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from upnp_gw.model.errors import ConfigError, FirewallError
from upnp_gw.system.files import FileProblem, own_directory, user_name

log = logging.getLogger(__name__)

OWN_USER = "upnp-gw"
"""The default of [daemon] user, if the machine has this user."""
ROOT = "root"

CAP_NET_BIND_SERVICE = 10
CAP_NET_ADMIN = 12
OWN_FILES = ("ledger.db", "approved.toml", ".approved.toml", "control.sock")
"""The names of the daemon's own files begin with these."""

_PR_CAPBSET_DROP, _PR_SET_SECUREBITS, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 24, 28, 38, 47
_AMBIENT_CLEAR_ALL = 4
_SECUREBITS = 0b101111
"""NOROOT and NO_SETUID_FIXUP locked on, KEEP_CAPS locked off: no user id gives capabilities any more."""
_CAPABILITY_VERSION = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Account:
    """The user that the process becomes."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    """Supplementary groups: those of the user (maybe for lease files of a DHCP server), and the control group."""


def settle(user: str, control_group: str, http_port: int, directories: Iterable[Path]) -> None:
    """Gives up all rights that are not needed. Call it while the process has one thread. Raises ConfigError.

    ``user`` empty: becomes OWN_USER if the machine has it, else logs that it stays root. ``root``: stays root.
    Started by another user, keeps at most the needed capabilities. ``directories``: those it writes to.
    """
    needed = {CAP_NET_ADMIN} | ({CAP_NET_BIND_SERVICE} if 0 < http_port < 1024 else set())
    if os.geteuid() != 0:
        if user not in ("", user_name(os.geteuid())):
            raise ConfigError(
                "daemon", "user", f"only root can become {user}; upnp-gw was started by {user_name(os.geteuid())}"
            )
        _guarded(lambda: _narrow(needed), "give up capabilities")
        return
    if user == ROOT:
        return
    account = find(user or OWN_USER, control_group, Path("/proc/self/uid_map").read_text("ascii"))
    if account is None:
        if user:
            raise ConfigError(
                "daemon", "user", f"this machine has no user {user}; create it, or set {ROOT} to stay root"
            )
        log.warning(
            'running as root: this machine has no user %s. To create it, see docs/checkout.md, "As a service"',
            OWN_USER,
        )
        return
    directories = tuple(directories)
    for directory in directories:
        hand_over(directory, account)
    _guarded(lambda: _become(account, needed), f"become {account.name}")
    _check_reach(account, directories)
    log.info("running as user %s", account.name)


def check_right(words: str) -> None:
    """Raises FirewallError if this process may not change the firewall. ``words``: the command to run as root."""
    if not _permitted() >> CAP_NET_ADMIN & 1:
        raise FirewallError(f"no right to change the firewall (CAP_NET_ADMIN). As root: sudo upnp-gw {words}")


def find(name: str, control_group: str, uid_map: str) -> Account | None:
    """The account of this name; None: the machine has none, or this user namespace cannot hold it."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    ranges = (tuple(map(int, line.split())) for line in uid_map.splitlines())
    if entry.pw_uid == 0 or not any(inside <= entry.pw_uid < inside + count for inside, _, count in ranges):
        return None
    groups = set(os.getgrouplist(name, entry.pw_gid))
    with suppress(KeyError):  # if a group is set and missing, the control socket says so
        groups |= {grp.getgrnam(control_group).gr_gid} if control_group else set()
    return Account(name, entry.pw_uid, entry.pw_gid, tuple(sorted(groups)))


def give_new_directory(directory: Path, user: str) -> None:
    """Gives a directory that was just made to the gateway's user, if this is root and the machine has that user.

    Raises ConfigError.
    """
    account = None
    if os.geteuid() == 0 and user != ROOT:
        account = find(user or OWN_USER, "", Path("/proc/self/uid_map").read_text("ascii"))
    if account is not None:
        hand_over(directory, account)


def hand_over(directory: Path, account: Account) -> None:
    """Gives a directory to the account, with the files in it that earlier runs as root made. Raises ConfigError.

    Does not touch a directory of root's that has other files: a typing error must not give /var/lib away.
    """
    try:
        own_directory(directory, 0o750, {account.uid})
    except FileProblem as error:
        raise ConfigError(str(directory), "", error.problem) from None
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(str(directory), "", f"cannot be opened: {error.strerror}") from None
    try:
        names = os.listdir(descriptor)
        if os.fstat(descriptor).st_uid == 0:
            foreign = [name for name in names if not name.startswith(OWN_FILES)]
            if foreign:
                problem = f"belongs to root and has other files; if you mean it: chown {account.name} {directory}"
                raise ConfigError(str(directory), "", problem)
            os.fchown(descriptor, account.uid, account.gid)
        for name in names:
            _hand_over_file(descriptor, name, account)
    except OSError as error:
        raise ConfigError(str(directory), "", f"cannot be given to {account.name}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _hand_over_file(directory: int, name: str, account: Account) -> None:
    """Gives only a regular file of root's without other links: the account could have put a link here."""
    if not name.startswith(OWN_FILES):
        return
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError:  # a symbolic link, or the control socket, which is made again
        return
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_uid == 0 and status.st_nlink == 1:
            os.fchown(descriptor, account.uid, account.gid)
    finally:
        os.close(descriptor)


def _become(account: Account, capabilities: set[int]) -> None:
    if len(os.listdir("/proc/self/task")) != 1:
        raise OSError(0, "a thread is running already, and would keep its capabilities")
    _prctl(_PR_SET_SECUREBITS, _SECUREBITS)
    for number in range(int(Path("/proc/sys/kernel/cap_last_cap").read_text("ascii")) + 1):
        if number not in capabilities:
            _prctl(_PR_CAPBSET_DROP, number)
    os.setgroups(account.groups)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    _narrow(capabilities)


def _narrow(capabilities: Iterable[int]) -> None:
    """Keeps only these capabilities, effective and permitted; none inheritable or ambient, for it starts no
    program."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    keep = _permitted() & sum(1 << number for number in capabilities)
    low, high = keep & 0xFFFFFFFF, keep >> 32
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)))


def _permitted() -> int:
    lines = Path("/proc/thread-self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapPrm:"))


def _check_reach(account: Account, directories: Sequence[Path]) -> None:
    """Raises ConfigError if the new user cannot use the directories or the program: a clear message now, not a
    later error."""
    for directory in directories:
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            raise ConfigError(str(directory), "", f"the user {account.name} cannot write there")
    program = Path(__file__)
    if not os.access(program, os.R_OK):
        problem = f"the user {account.name} cannot read the program; install it where everybody can, say in /opt"
        raise ConfigError(str(program.parent), "", problem)


def _guarded(act: Callable[[], None], purpose: str) -> None:
    try:
        act()
    except OSError as error:
        raise ConfigError("daemon", "user", f"cannot {purpose}: {error.strerror}") from None


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
