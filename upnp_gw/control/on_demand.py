"""The control socket of a router whose operator gives no command: its code is loaded with the first connection.

The commands, their types and the HTTP library are a fifth of what the daemon would load otherwise. No LAN host can
connect here.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import upnp_gw
from upnp_gw.config.settings import Config
from upnp_gw.control.socket_path import Claim
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.evidence_collector import EvidenceCollector
from upnp_gw.engine.gateway import Gateway
from upnp_gw.engine.measurements import Measurements
from upnp_gw.engine.policy_reload import PolicyUpdates
from upnp_gw.engine.status_page import StatusPage
from upnp_gw.ledger.events import Events
from upnp_gw.model.above import AboveState
from upnp_gw.model.mapping import Instant, IPAddress
from upnp_gw.store.store import Store

if TYPE_CHECKING:
    from upnp_gw.api import Check
    from upnp_gw.control.server import ControlServer
    from upnp_gw.engine.kernel_proof import KernelReader

log = logging.getLogger(__name__)

PROGRAM = Path(upnp_gw.__file__)


@dataclass(frozen=True, slots=True)
class DaemonParts:
    """The parts of the daemon that commands ask or change."""

    config: Config
    detected: tuple[str, ...]
    """A sentence for each detected interface."""
    started: Instant
    gateway: Gateway
    decider: Decider
    events: Events
    store: Store
    policy_updates: PolicyUpdates
    evidence: EvidenceCollector
    measurements: Measurements
    count: Callable[[bool], Awaitable[None]]
    """Reads the kernel's counters; True: also the remote hosts."""
    recount: Callable[[], Awaitable[None]]
    """Reads the kernel's counters, at most once a second."""
    probe: Callable[[IPAddress, str], Awaitable[bool]]
    kernel: "KernelReader | None"
    """None: the backend opens nothing."""
    locations: Callable[[], Iterable[str]]
    obstacles: Callable[[], Iterable[str]]
    """Obstacles to mapped traffic, in sentences (``upnp_gw.engine.obstacles``)."""
    counters: Callable[[], dict[str, int]]
    doctor: Callable[[], Awaitable[list["Check"]]]
    status_page: StatusPage
    above: Callable[[], AboveState | None] = lambda: None
    """The gateway above; None: none is asked."""


class ControlOnDemand:
    """Serves the commands on a claimed socket."""

    def __init__(self, claim: Claim, parts: DaemonParts) -> None:
        self._claim = claim
        self._parts = parts
        self._program = _identity()
        self._loading: asyncio.Task[None] | None = None
        self._server: ControlServer | None = None

    def start(self) -> None:
        """Answers from now on, also clients that have connected since the claim."""
        asyncio.get_running_loop().add_reader(self._claim.listener, self._load)

    async def close(self) -> None:
        """Ends all streams and stops."""
        if self._loading is None:
            asyncio.get_running_loop().remove_reader(self._claim.listener)
        else:
            await asyncio.gather(self._loading, return_exceptions=True)
        if self._server is not None:
            await self._server.close()

    def _load(self) -> None:
        asyncio.get_running_loop().remove_reader(self._claim.listener)
        self._loading = asyncio.create_task(self._serve(), name="control")

    async def _serve(self) -> None:
        try:
            if _identity() == self._program:
                self._server = await self._started()
                return
            log.error("the program on the disk was replaced, so no command can be answered: restart the daemon")
        except Exception:
            log.exception("the control socket cannot be served: restart the daemon")
        self._claim.release()  # a command then says that nothing answers, and does not wait

    async def _started(self) -> "ControlServer":
        # in a thread: an import takes a tenth of a second, and the loop has to serve the LAN meanwhile
        build = await asyncio.to_thread(import_module, "upnp_gw.control.build")
        server: ControlServer = build.control_server(self._claim, self._parts)
        await server.start()
        return server


def _identity() -> tuple[int, int, int]:
    """Tells an installed program from another one: an upgrade under a running daemon must not mix two versions."""
    status = PROGRAM.stat()
    return status.st_dev, status.st_ino, status.st_mtime_ns
