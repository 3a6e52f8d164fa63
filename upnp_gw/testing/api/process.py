"""An emulator and its control API, until a signal comes."""

import asyncio
import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address
from typing import Any

from upnp_gw.model.errors import ConfigError
from upnp_gw.testing.api.bodies import State
from upnp_gw.testing.api.operations import Operations
from upnp_gw.testing.api.server import HOST, ApiServer
from upnp_gw.testing.emulator import Emulator

STDIN = 0


async def serve(
    options: Mapping[str, Any],
    faults: tuple[str, ...],
    control_port: int,
    started: Callable[[State], None],
    until_eof: bool = False,
    control_address: IPv4Address = HOST,
) -> None:
    """Returns after SIGINT, SIGTERM or the operation ``stop``; with ``until_eof`` also when standard input ends.

    ``options``: of ``Emulator``; ``faults``: as text; ``control_port``: 0 is any free one; ``control_address``: of
    this machine; ``started`` is called when everything answers. Raises ConfigError, also for a port that is taken.
    """
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        with suppress(RuntimeError):  # the loop is closed: it has stopped already
            loop.call_soon_threadsafe(stopping.set)

    with _on_signals(stop):
        emulator = Emulator(**options)
        await asyncio.to_thread(emulator.start)  # in a thread of its own: its clock can be moved, that of here not
        try:
            operations = Operations(emulator, faults, stop)
            server = ApiServer(operations)
            try:
                await _listen(server, control_port, control_address)
                started(await asyncio.to_thread(operations.state))
                if until_eof:
                    threading.Thread(target=_read_to_the_end, args=(stop,), daemon=True).start()
                await stopping.wait()
            finally:
                await server.close()
        finally:
            await asyncio.to_thread(emulator.stop)


async def _listen(server: ApiServer, port: int, address: IPv4Address) -> None:
    try:
        await server.start(port, address)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            problem = "not an address of this machine; accepted: one of them, or 0.0.0.0 for all"
            raise ConfigError("control_address", str(address), problem) from None
        reason = os.strerror(error.errno) if error.errno else "it is taken"
        problem = f"cannot listen on this port ({reason}); accepted: a free port"
        raise ConfigError("control_port", str(port), problem) from None


@contextmanager
def _on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """By ``signal.signal``: on Windows an event loop has no signal handlers."""
    before = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _read_to_the_end(stop: Callable[[], None]) -> None:
    with suppress(OSError):  # there is no standard input
        while os.read(STDIN, 65536):
            pass
    stop()
