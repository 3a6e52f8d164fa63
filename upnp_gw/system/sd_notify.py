"""Notifies systemd (sd_notify(3)): one datagram to the socket that NOTIFY_SOCKET names.

Without NOTIFY_SOCKET nothing is sent. Errors are ignored: the daemon must not end because its supervisor is gone.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping

READY = "READY=1"
NOT_YET = "EXTEND_TIMEOUT_USEC=60000000"
"""The start takes longer: systemd waits 60 s more from here on."""
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


def notify(environment: Mapping[str, str], state: str, status: str = "") -> bool:
    """Sends a state and a status line for ``systemctl status``. False: no socket, or it could not be sent."""
    address = environment.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract socket: no file
    message = state if not status else f"{state}\nSTATUS={' '.join(status.split())}"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.setblocking(False)  # a stopped manager must not block us
        to.sendto(message.encode(), address)
        return True
    return False


def watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    """Seconds between WATCHDOG messages: half of systemd's timeout; None: systemd does not watch this process."""
    usec, for_pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(pid))
    if not usec.isdecimal() or int(usec) == 0 or for_pid != str(pid):
        return None
    return int(usec) / 2_000_000


async def keep_watchdog() -> None:
    """Reports to systemd's watchdog that the loop runs, if the unit has one. Runs until it is cancelled."""
    every = watchdog_s(os.environ, os.getpid())
    while every is not None:
        notify(os.environ, WATCHDOG)
        await asyncio.sleep(every)
