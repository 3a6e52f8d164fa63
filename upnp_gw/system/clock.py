"""The clocks, the boot id, and the claim that keeps a second daemon out of this network namespace."""

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
    """Both clocks, now."""
    return Instant(time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


def claim_kernel(user: str, name: str = CLAIM) -> socket.socket | None:
    """Keeps a second daemon out of this network namespace, which has only one table. Raises ConfigError.

    ``user``: [daemon] user of the configuration. The claim is an abstract unix socket: it belongs to the network
    namespace and ends with its process. Any user of the machine can take its name. If the holder is not root or a
    user of upnp-gw, that is logged and None is returned: it must not prevent the start.
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
        raise ConfigError("run", "", "another upnp-gw already serves this network namespace; stop it first")
    holder_text = "a process that does not answer" if holder is None else f"a process of {user_name(holder)}"
    log.warning(
        "%s has taken the socket name %r, so a second upnp-gw would not be noticed: end it",
        holder_text,
        name.lstrip("\0"),
    )
    return None


def _holder(name: str) -> int | None:
    """The user id of the process that listens at this name; None: none does, or its queue is full."""
    for _ in range(TRIES):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
            if sock.connect_ex(name) == 0:
                credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                return int(struct.unpack("3i", credentials)[1])
        time.sleep(TRY_S)  # another gateway may have bound its socket and not listen yet
    return None


def _uids(*names: str) -> Iterator[int]:
    """The ids of the users that exist."""
    for name in names:
        with suppress(KeyError):
            yield pwd.getpwnam(name).pw_uid


def own_state_directory(path: Path) -> None:
    """Creates the state directory if it is missing. Raises ConfigError if other users can change its files."""
    try:
        own_directory(path, 0o750)
    except FileProblem as error:
        raise ConfigError("state_dir", str(path), error.problem) from None


def boot_id() -> str:
    """The id of this boot. BOOTTIME deadlines are valid only within it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
