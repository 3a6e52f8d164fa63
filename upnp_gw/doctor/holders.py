"""Processes that have ports of upnp-gw, with their names if we may read their open files."""

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

from upnp_gw.doctor.machine_state import DAEMON, PortHolder
from upnp_gw.model.mapping import Transport
from upnp_gw.system.listening_ports import read_bound

PROC = Path("/proc")


def holders(ports: Collection[tuple[Transport, int]], proc: Path = PROC) -> tuple[PortHolder, ...]:
    """The sockets on these ports, one for each process and port; also those of our daemon."""
    bound = [socket for socket in read_bound(proc / "net") if (socket.transport, socket.port) in ports]
    owners = _owners(proc) if bound else {}
    found: dict[tuple[Transport, int, int | str], PortHolder] = {}
    for socket in bound:
        pid, name = owners.get(socket.inode, (None, None))
        holder = PortHolder(socket.transport, socket.port, str(socket.address), name, pid)
        found.setdefault((socket.transport, socket.port, pid or str(socket.address)), holder)
    return tuple(found.values())


def _owners(proc: Path) -> dict[int, tuple[int, str]]:
    """Inode of a socket -> (pid, name), for every process that we may read."""
    found: dict[int, tuple[int, str]] = {}
    for process in proc.iterdir():
        if not process.name.isdecimal():
            continue
        try:
            name = _name(process)
            descriptors = os.listdir(process / "fd")
        except OSError:
            continue  # it has ended, or belongs to another user
        for descriptor in descriptors:
            with contextlib.suppress(OSError):  # closed meanwhile
                target = os.readlink(process / "fd" / descriptor)
                if target.startswith("socket:["):
                    found[int(target[8:-1])] = int(process.name), name
    return found


def _name(process: Path) -> str:
    """The name of a process; ``upnp-gw`` for a daemon that an interpreter runs. Raises OSError."""
    name = (process / "comm").read_text("utf-8", "replace").strip()
    with contextlib.suppress(OSError):  # the command line says more, if it can be read
        words = (process / "cmdline").read_text("utf-8", "replace").split("\0")
        if "run" in words and ("upnp_gw" in words[:4] or any(word.endswith("/upnp-gw") for word in words[:2])):
            return DAEMON
    return name
