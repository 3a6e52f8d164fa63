"""Processes that a program left on its host."""

import os
import select
import signal
import time
from contextlib import suppress
from pathlib import Path

from upnp_gw.lab.host import Host
from upnp_gw.lab.program.report import LeftProcess

STOP_S = 3.0
"""Seconds from SIGTERM to SIGKILL."""


def processes_of(host: Host) -> list[LeftProcess]:
    """The processes in the host's namespace, without this one."""
    namespace = _namespace_of(host)
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        pid = int(directory.name)
        with suppress(OSError):  # it has ended, or belongs to another user, so it is not the program's
            if _is_in(namespace, pid):
                found.append(LeftProcess(pid, (directory / "comm").read_text(errors="replace").strip()))
    return sorted(found, key=lambda process: process.pid)


def end_processes(host: Host) -> None:
    """Ends every process in the host's namespace: SIGTERM, and after STOP_S SIGKILL."""
    deadline = time.monotonic() + STOP_S
    _signal_all(host, signal.SIGTERM, deadline)
    while processes_of(host):
        _signal_all(host, signal.SIGKILL, time.monotonic() + STOP_S)


def _signal_all(host: Host, number: signal.Signals, deadline: float) -> None:
    """Sends the signal to each and waits until they have ended, at most until the deadline."""
    namespace = _namespace_of(host)
    handles = []
    for process in processes_of(host):
        with suppress(OSError):
            handle = os.pidfd_open(process.pid)
            handles.append(handle)
            if _is_in(namespace, process.pid):  # the number can belong to a new process
                signal.pidfd_send_signal(handle, number)
    for handle in handles:
        select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
        os.close(handle)


def _namespace_of(host: Host) -> str:
    return host.call(os.readlink, "/proc/thread-self/ns/net")


def _is_in(namespace: str, pid: int) -> bool:
    """Raises OSError if it has ended."""
    return os.readlink(f"/proc/{pid}/ns/net") == namespace
