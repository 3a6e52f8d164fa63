"""``python -m tests.soak.daemon_with_faults run ...``: upnp-gw with fault points. The daemon itself has none.

Its calls of the kernel and the disk are wrapped. Files in the directory that FAULTS names set the faults, so that
nothing on the network can reach a fault point:

    kill    the name of a point: SIGKILL when it is reached next
    kernel  a complaint of the kernel: every transaction is refused with it
    disk    a complaint of SQLite: every write fails with it
    slow    seconds that a write takes longer
    library the name of a library that is looked for instead of libnftables

The points of a request, in their order: asked, decided, kernel, written, stored, replied.
"""

import asyncio
import errno
import faulthandler
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.memory import inside
from upnp_gw.cli import main
from upnp_gw.daemon import process
from upnp_gw.engine import build
from upnp_gw.engine.gateway import Gateway
from upnp_gw.firewall import libnftables as library
from upnp_gw.firewall import netlink
from upnp_gw.firewall.base import Change
from upnp_gw.firewall.nftables import NftablesFirewall, element_writer
from upnp_gw.model.mapping import Instant
from upnp_gw.model.request import ChangeRequest, Reply
from upnp_gw.store.store import Batch, Store

FAULTS = "UPNP_GW_TEST_FAULTS"
POINTS = ("asked", "decided", "kernel", "written", "stored", "replied")
"""In the writer's queue; before the transaction of the kernel; after it; rows written and not committed; committed;
the reply is on its way to the socket."""


def fault_text(name: str) -> str:
    """The content of a fault's file; empty: no such fault."""
    try:
        return (Path(os.environ[FAULTS]) / name).read_text()
    except FileNotFoundError:
        return ""


def reached(point: str) -> None:
    if fault_text("kill") == point:
        os.kill(os.getpid(), signal.SIGKILL)


class FaultyGateway(Gateway):
    async def handle(self, request: ChangeRequest) -> Reply:
        reached("asked")
        reply = await super().handle(request)
        reached("replied")
        return reply


class FaultyFirewall(NftablesFirewall):
    async def apply(self, changes: Sequence[Change], then: Callable[[], None] | None = None) -> None:
        def after_kernel() -> None:
            reached("kernel")
            if then is not None:
                then()

        reached("decided")
        await super().apply(changes, after_kernel)


class FaultyStore(Store):
    async def write(self, batch: Batch, now: Instant) -> None:
        await asyncio.sleep(float(fault_text("slow") or 0))
        await super().write(batch, now)
        reached("stored")

    def write_blocking(self, batch: Batch, now: Instant) -> None:
        time.sleep(float(fault_text("slow") or 0))
        super().write_blocking(batch, now)
        reached("stored")

    def _in_transaction(self, write: Callable[[sqlite3.Connection], object]) -> None:
        if complaint := fault_text("disk"):
            raise sqlite3.OperationalError(complaint)

        def and_then(db: sqlite3.Connection) -> None:
            write(db)
            reached("written")

        super()._in_transaction(and_then)


class FaultyBatches(netlink.BatchSocket):
    """Batches of elements, as long as the kernel is said to be well."""

    def send_batch(self, batch: bytes) -> list[netlink.Failure]:
        if complaint := fault_text("kernel"):
            (number,) = (number for number in errno.errorcode if os.strerror(number) == complaint)
            return [netlink.Failure(1, number, None)]
        return super().send_batch(batch)


class FaultyLibrary:
    """libnftables, as long as the kernel is said to be well."""

    def __init__(self, real: library.Library) -> None:
        self._real = real

    def cmd(self, cmdline: str) -> tuple[int, Any, str]:
        complaint = "" if cmdline.startswith("list ") else fault_text("kernel")
        if complaint:
            return 1, "", f"Error: Could not process rule: {complaint}\n"
        return self._real.cmd(cmdline)

    def set_json_output(self, val: bool) -> Any:
        return self._real.set_json_output(val)


def install() -> None:
    """Puts the fault points into this process."""
    load = library.load_library
    if elsewhere := fault_text("library"):
        load = partial(library.LoadedLibrary, elsewhere)
    for module, name, made in (
        (build, "Gateway", FaultyGateway),
        (process, "NftablesFirewall", FaultyFirewall),
        (process, "Store", FaultyStore),
        (element_writer, "BatchSocket", FaultyBatches),
    ):
        assert hasattr(module, name)
        setattr(module, name, made)
    setattr(library, "load_library", lambda: FaultyLibrary(load()))  # noqa: B010


def print_tasks(number: int, frame: object) -> None:
    """Prints where each task of the event loop waits."""
    for task in asyncio.all_tasks():
        task.print_stack()


if __name__ == "__main__":
    # for a test that waits in vain: where each task waits, and where each thread is
    signal.signal(signal.SIGUSR1, print_tasks)
    faulthandler.register(signal.SIGUSR1, chain=True)
    inside.install()
    install()
    main()
