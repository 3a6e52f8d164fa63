"""What the daemon takes of the machine that it runs on: clocks, the boot, the one table in its kernel."""

import logging
import os
import pwd
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import Instant
from upnp_gw.system.files import ROOT_UID, FileProblem, own_directory, user_name
from upnp_gw.system.privileges import OWN_USER

log = logging.getLogger(__name__)

CLAIM = "\0upnp-gw/inet upnp_gw"
TRIES, TRY_S = 5, 0.02


def clock() -> Instant:
    """The one clock of the daemon."""
    return Instant(time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


def claim_kernel(user: str, name: str = CLAIM) -> socket.socket | None:
    """Keeps a second daemon out of this network namespace: there is one table. Raises ConfigError.

    ``user``: whom the configuration names. An abstract unix socket belongs to its network namespace and goes with
    its process. Any user of the machine can take its name, but only a gateway's answers with the user id of root or
    of a gateway; another one is told of, and None is returned: it must not keep the gateway from starting.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(name)
        claim.listen(socket.SOMAXCONN)
    except OSError:
        claim.close()
    else:
        return claim
    holder = _holder(name)
    if holder in {ROOT_UID, os.geteuid(), *_uids(OWN_USER, user)}:
        raise ConfigError("run", "", "another upnp-gw fills the kernel's table of this network namespace")
    who = "a process that does not answer" if holder is None else f"a process of {user_name(holder)}"
    log.warning("%s holds the name %r: a second upnp-gw would not be noticed; end it", who, name.lstrip("\0"))
    return None


def _holder(name: str) -> int | None:
    """The user id of whoever listens at this name; None: nobody does, or its queue is full."""
    for _ in range(TRIES):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as asking:
            if asking.connect_ex(name) == 0:
                credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                return int(struct.unpack("3i", credentials)[1])
        time.sleep(TRY_S)  # a gateway that has just bound its socket is about to listen
    return None


def _uids(*names: str) -> Iterator[int]:
    """The ids of those users that the machine has."""
    for name in names:
        with suppress(KeyError):
            yield pwd.getpwnam(name).pw_uid


def own_state_directory(path: Path) -> None:
    """Makes it where it is missing. Raises ConfigError where others can change what is in it."""
    try:
        own_directory(path, 0o750)
    except FileProblem as error:
        raise ConfigError("state_dir", str(path), error.problem) from None


def boot_id() -> str:
    """The kernel's name for this boot: BOOTTIME deadlines hold within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
