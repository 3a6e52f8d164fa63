"""The right to make network namespaces: root, or a user namespace of our own.

A process enters a user namespace itself; nothing is executed again, so its terminal, its pipes and its arguments
stay as they are. The kernel allows that only while the process has one thread: ask before starting any.
"""

import ctypes
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

MS_REC = 0x4000
MS_PRIVATE = 0x40000

TOOL_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin", "/bin"))
"""An ordinary user's PATH on Debian has no sbin, where ip, nft and conntrack are."""

_libc = ctypes.CDLL(None, use_errno=True)


class LabUnavailable(Exception):
    """No network namespace can be made here. The text is one sentence for the user."""


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
    """Makes sure that this process can make network namespaces; the answer says how, for the user to read.

    Root stays as it is. An ordinary user becomes root of a new user namespace, with a network namespace of its own
    (loopback up): the way back from another namespace is only open to a thread whose home belongs to it.
    Safe to call again. Raises LabUnavailable.
    """
    if os.geteuid() == 0:
        refused = _in_thread(_make_namespace)
        if refused is not None:
            raise LabUnavailable(f"root, but not allowed to make network namespaces here ({refused}).")
        return "root" if _in_first_user_namespace() else "root of a user namespace"
    if len(os.listdir("/proc/self/task")) > 1:
        raise LabUnavailable("not root, and a user namespace can only be entered before the first thread starts.")
    refused = _in_child(_enter_user_namespace)
    if refused is not None:
        raise LabUnavailable(f"not root, and user namespaces are not allowed for this user here ({refused}).")
    _enter_user_namespace()
    return "root of a user namespace"


def _enter_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    # Ubuntu 24.04 lets anybody make a user namespace, but one without capabilities: only the first use shows it
    subprocess.run(
        ["ip", "link", "set", "lo", "up"], env={"PATH": TOOL_PATH}, check=True, capture_output=True, timeout=10
    )


def _make_namespace() -> None:
    unshare(CLONE_NEWNET | CLONE_NEWNS)


def _in_first_user_namespace() -> bool:
    return Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


def _in_thread(trial: Callable[[], None]) -> str | None:
    """Tries it in a thread that ends with it, and with it whatever namespaces it made."""
    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(trial).exception()
    return None if error is None else str(error)


def _in_child(trial: Callable[[], None]) -> str | None:
    """Tries it in a forked child, which changes nothing for us; the answer is why it failed, or None."""
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


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
