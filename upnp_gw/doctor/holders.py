"""Which other processes hold our ports, by name where we may look at their open files."""

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

from upnp_gw.doctor.scene import PortHolder
from upnp_gw.model import Transport
from upnp_gw.servers.listeners import read_bound

PROC = Path("/proc")


def holders(wanted: Collection[tuple[Transport, int]], own_pid: int, proc: Path = PROC) -> tuple[PortHolder, ...]:
    """The sockets of other processes on these ports, each process once a port."""
    bound = [socket for socket in read_bound(proc / "net") if (socket.transport, socket.port) in wanted]
    owners = _owners(proc) if bound else {}
    found: dict[tuple[Transport, int, int | str], PortHolder] = {}
    for socket in bound:
        pid, name = owners.get(socket.inode, (None, None))
        if pid != own_pid:
            holder = PortHolder(socket.transport, socket.port, str(socket.address), name)
            found.setdefault((socket.transport, socket.port, pid or str(socket.address)), holder)
    return tuple(found.values())


def _owners(proc: Path) -> dict[int, tuple[int, str]]:
    """Inode -> (pid, name) of the sockets of every process that we may look at."""
    found: dict[int, tuple[int, str]] = {}
    for process in proc.iterdir():
        if not process.name.isdecimal():
            continue
        try:
            name = (process / "comm").read_text("utf-8", "replace").strip()
            descriptors = os.listdir(process / "fd")
        except OSError:
            continue  # it has ended, or it is another user's
        for descriptor in descriptors:
            with contextlib.suppress(OSError):  # closed meanwhile
                target = os.readlink(process / "fd" / descriptor)
                if target.startswith("socket:["):
                    found[int(target[8:-1])] = int(process.name), name
    return found
