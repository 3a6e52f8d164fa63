"""The file of the control socket: its permissions, and the removal of the file of a dead daemon."""

import contextlib
import errno
import os
import shutil
import socket
import stat
from pathlib import Path

from upnp_gw.model.errors import ConfigError
from upnp_gw.system.files import FileProblem, own_directory

SOCKET_NAME = "control.sock"
PATH_MAX = 107
"""Bytes of a unix socket's path (sockaddr_un, less the terminating zero)."""


class Claim:
    """``runtime_dir/control.sock``, bound and listening: one daemon for each runtime directory.

    Made first at the start, before the store is opened or the kernel is changed, so that a second daemon stops
    before it removes the mappings of the first. Clients that connect before the server starts wait.
    """

    def __init__(self, runtime_dir: Path, group: str = "") -> None:
        """``group``: the group that may use the socket (mode 0660); empty: only its owner (0600).

        Raises ConfigError if another daemon answers on the socket, or it cannot be made.
        """
        self.path = runtime_dir / SOCKET_NAME
        self.listener = listen(self.path, group)
        self._inode = _inode(self.path)

    def release(self) -> None:
        """Removes the socket file, unless another daemon has replaced it."""
        self.listener.close()
        with contextlib.suppress(OSError):
            if _inode(self.path) == self._inode:
                self.path.unlink()


def _inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def listen(path: Path, group: str = "") -> socket.socket:
    """A listening Unix socket at this path. Replaces a file that no process serves. Raises ConfigError."""
    if len(os.fsencode(path)) > PATH_MAX:
        raise ConfigError(
            "runtime_dir", str(path.parent), f"too long: the path of a socket has at most {PATH_MAX} bytes"
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        own_directory(path.parent, 0o755)
        _clear(path)
        before = os.umask(0o177)  # at no moment open to others
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        if group:
            shutil.chown(path, group=group)
            path.chmod(0o660)
        listener.listen(64)
    except LookupError:
        listener.close()
        raise ConfigError("[control]", "group", f"there is no group {group!r} on this machine") from None
    except OSError as error:
        listener.close()
        problem = f"cannot make the control socket: {error.strerror or error}"
        raise ConfigError("runtime_dir", str(path.parent), problem) from None
    except FileProblem as error:
        listener.close()
        raise ConfigError("runtime_dir", str(path.parent), error.problem) from None
    except ConfigError:
        listener.close()
        raise
    return listener


def _bound(path: Path) -> bool:
    """True if a process of this network namespace, of any user, has a socket at this path."""
    try:
        lines = Path("/proc/net/unix").read_bytes().splitlines()
    except OSError:
        return True
    return any(line.endswith(b" " + str(path.absolute()).encode()) for line in lines)


def _clear(path: Path) -> None:
    """Removes the socket file of a killed daemon. Raises ConfigError if it is served or not a socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError("runtime_dir", str(path), "exists and is not a socket: move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        code = probe.connect_ex(str(path))
    if code == errno.ECONNREFUSED or (code == errno.EACCES and not _bound(path)):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            problem = f"left by a stopped daemon, and cannot be removed ({error.strerror}): sudo rm {path}"
            raise ConfigError("runtime_dir", str(path), problem) from None
    elif code == errno.EACCES:
        problem = "a upnp-gw of another user answers there: stop it or choose another --runtime-dir"
        raise ConfigError("runtime_dir", str(path), problem)
    elif code != errno.ENOENT:
        problem = "another upnp-gw answers there: stop it or choose another --runtime-dir"
        raise ConfigError("runtime_dir", str(path.parent), problem)
