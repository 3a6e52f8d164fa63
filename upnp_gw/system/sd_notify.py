"""What systemd is told (sd_notify): one datagram to the socket that NOTIFY_SOCKET names.

The environment is an argument. Where nobody asked to be told, nothing is sent; where the manager has gone,
nothing is lost: a daemon must not end because its supervisor cannot be told.
"""

import contextlib
import socket
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


def notify(environment: Mapping[str, str], state: str, status: str = "") -> bool:
    """Sends a state, and with it a status line for ``systemctl status``; False where nobody listens."""
    address = environment.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract socket: no file
    message = state if not status else f"{state}\nSTATUS={' '.join(status.split())}"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.setblocking(False)  # a stopped manager must not stop us
        to.sendto(message.encode(), address)
        return True
    return False


def watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    """How often WATCHDOG is to be sent, seconds: half of what systemd waits; None where it does not watch us."""
    usec, for_pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(pid))
    if not usec.isdecimal() or int(usec) == 0 or for_pid != str(pid):
        return None
    return int(usec) / 2_000_000
