"""Makes this Linux lack what macOS or Windows lacks, for one process. As a pytest plugin it does so before a test.

As a program it runs a command: ``python -m tests.testing.another_system emulate ...``
"""

import asyncio
import errno
import os
import select
import selectors
import shutil
import signal
import socket
import sys
import time
from typing import Any

import ifaddr  # noqa: F401 - before something is taken away: for Windows it has other code

MODULES = ("fcntl", "grp", "nftables", "pwd", "resource", "termios", "uvloop")
"""Windows has none of them."""
ATTRIBUTES: dict[Any, tuple[str, ...]] = {
    socket: ("AF_NETLINK", "AF_PACKET", "SO_BINDTODEVICE", "SO_REUSEPORT", "TCP_USER_TIMEOUT", "CMSG_SPACE"),
    os: (
        *("fdatasync", "fork", "geteuid", "getuid", "uname"),
        *("O_CLOEXEC", "O_DIRECTORY", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK"),
    ),
    signal: ("SIGHUP", "SIGUSR1", "pthread_sigmask"),
    time: ("CLOCK_BOOTTIME", "clock_gettime"),
    select: ("epoll", "poll"),
}
NETLINK, PACKET = 16, 17


class Used(AssertionError):
    """Something was used that is not there on another system."""


def restrict() -> None:
    """Call it once, before the emulator is imported."""
    assert not [name for name in sys.modules if name.startswith(("upnp_gw.testing", "upnp_gw.servers"))]
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it raises ImportError
    for place, names in ATTRIBUTES.items():
        for name in names:
            if hasattr(place, name):
                delattr(place, name)
    shutil._use_fd_functions = False  # type: ignore[attr-defined]
    setattr(selectors, "DefaultSelector", selectors.SelectSelector)  # noqa: B010
    socket.socket.recvmsg = socket.socket.sendmsg = property(_missing)  # type: ignore[assignment,method-assign]
    socket.if_nameindex = lambda: [(1, "loopback_0")]
    plain_bind = socket.socket.bind

    def bind(sock: socket.socket, address: Any) -> None:
        if str(address[0]).startswith("127.") and address[0] != "127.0.0.1":
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        plain_bind(sock, address)

    setattr(socket.socket, "bind", bind)  # noqa: B010
    for loop in (asyncio.BaseEventLoop, asyncio.SelectorEventLoop):
        loop.add_signal_handler = _not_implemented  # type: ignore[method-assign,assignment]
    sys.addaudithook(_watch)


def pytest_runtest_setup() -> None:
    """Nothing comes back after the test."""
    if sys.modules.get("fcntl", ...) is not None:
        restrict()


def _missing(_: object) -> None:
    raise AttributeError


def _not_implemented(*_: object) -> None:
    raise NotImplementedError


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and str(arguments[0]).startswith(("/proc/", "/sys/")):
        raise Used(f"opened {arguments[0]}")
    if event == "socket.__new__" and arguments[1] in (NETLINK, PACKET):
        raise Used(f"a socket of family {arguments[1]}")


if __name__ == "__main__":
    restrict()
    from upnp_gw.cli import main

    main()
