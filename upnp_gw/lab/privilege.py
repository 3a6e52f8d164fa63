"""The right to make network namespaces: root, or root of a user namespace.

The process enters the user namespace itself, without a new program, so terminal, pipes and arguments stay as they
are. The kernel allows that only while the process has one thread: call ``acquire`` before starting others.
"""

import ctypes
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

MS_REC = 0x4000
MS_PRIVATE = 0x40000

TOOL_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin", "/bin"))
"""PATH with sbin, where ip, nft and conntrack are: on Debian an ordinary user's PATH lacks it."""

RESTRICTIONS = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("user/max_user_namespaces", "0", "15000"),
)
"""Setting of the kernel, the value that forbids user namespaces, a value that allows them. The first is Ubuntu's,
the second Debian's."""

_libc = ctypes.CDLL(None, use_errno=True)


class LabUnavailable(Exception):
    """No network namespace can be made here. The text gives the reason, as a sentence for the user."""


def unshare(flags: int) -> None:
    """unshare(2) for the calling thread. Raises OSError."""
    _checked(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """setns(2) for the calling thread (os.setns came with Python 3.12). Raises OSError."""
    _checked(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    """mount(2). Raises OSError."""
    name = None if kind is None else kind.encode()
    _checked(_libc.mount(source.encode(), target.encode(), name, ctypes.c_ulong(flags), None), f"mount {target}")


def acquire() -> str:
    """Gives this process the right to make network namespaces. Returns a description for the user.

    Root stays root. An ordinary user becomes root of a new user namespace with a network namespace of its own
    (loopback up): a thread can only return to a network namespace that its user namespace owns.
    May be called again. Raises LabUnavailable.
    """
    if os.geteuid() == 0:
        reason = _in_thread(_make_namespace)
        if reason is not None:
            raise LabUnavailable(f"root, but not allowed to make network namespaces here ({reason}).")
        return "root" if _in_first_user_namespace() else "root of a user namespace"
    if len(os.listdir("/proc/self/task")) > 1:
        raise LabUnavailable("not root, and a user namespace can only be entered before the first thread starts.")
    reason = _in_child(_enter_user_namespace)
    if reason is not None:
        raise LabUnavailable(f"not root, and user namespaces are not allowed for this user here ({reason}).")
    _enter_user_namespace()
    return "root of a user namespace"


def permission_line(sysctls: Path = Path("/proc/sys")) -> str:
    """The command that lets this user make network namespaces, or that runs the program as root.

    ``sysctls``: where the kernel's settings are read.
    """
    if os.geteuid() == 0:
        return "docker run --privileged IMAGE"
    for key, forbids, allows in RESTRICTIONS:
        try:
            value = (sysctls / key).read_text().strip()
        except OSError:
            continue  # this kernel has no such setting
        if value == forbids:
            return f"sudo sysctl {key.replace('/', '.')}={allows}"
    return "sudo " + " ".join(map(shlex.quote, sys.argv))


def enter_own_network() -> None:
    """Moves the calling thread into network and mount namespaces of its own: loopback up, /run empty.

    ``ip netns`` keeps its names in /run. Needs ``acquire``, and to be called before other threads start: they stay
    where they are. Raises LabUnavailable.
    """
    try:
        unshare(CLONE_NEWNET | CLONE_NEWNS)
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        mount("tmpfs", "/run", "tmpfs", 0)
        _loopback_up()
    except (OSError, subprocess.SubprocessError) as error:
        raise LabUnavailable(f"no network of its own: {error}") from error


def _enter_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    # Ubuntu 24.04 lets every user make a user namespace, but without capabilities: only their first use fails
    _loopback_up()


def _loopback_up() -> None:
    subprocess.run(
        ["ip", "link", "set", "lo", "up"], env={"PATH": TOOL_PATH}, check=True, capture_output=True, timeout=10
    )


def _make_namespace() -> None:
    unshare(CLONE_NEWNET | CLONE_NEWNS)


def _in_first_user_namespace() -> bool:
    return Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


def _in_thread(trial: Callable[[], None]) -> str | None:
    """Tries it in a thread of its own, which ends together with the namespaces that it made. Returns the error."""
    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(trial).exception()
    return None if error is None else str(error)


def _in_child(trial: Callable[[], None]) -> str | None:
    """Tries it in a forked child, so that this process does not change. Returns the error."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            trial()
        except (OSError, subprocess.SubprocessError) as error:
            os.write(writer, (str(error) or "refused").encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        reason = pipe.read()
    os.waitpid(child, 0)
    return reason or None


def _checked(result: int, purpose: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{purpose}: {os.strerror(number)}")
