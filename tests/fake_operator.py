"""An ``Operator`` that answers from lists, for tests of the control socket and of the command line."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from upnp_gw import api
from upnp_gw.model import DecisionId, Kind, Transport, Via
from upnp_gw.request import Refusal, Refused
from upnp_gw.servers.control import ControlServer

NOW = datetime.now(UTC).replace(microsecond=0)


def mapping(number: int, **changes: object) -> api.Mapping:
    """A TCP mapping of a NAS, one hour old."""
    made = api.Mapping(
        id=f"m{number}",
        kind=Kind.PORT_MAPPING,
        transport=Transport.TCP,
        external_address="198.51.100.7",
        external_port=51412 + number,
        internal_client="192.168.1.23",
        internal_port=51413,
        remote_host=None,
        via=Via.IGD1,
        device="00:11:32:00:00:02",
        description="Transmission",
        granted_at=NOW - timedelta(hours=1),
        expires_at=NOW + timedelta(hours=4),
        lease_left_s=14390,
        connections=12,
        bytes=1_234_567,
        last_used=NOW - timedelta(seconds=185),
        rule="home",
        decision=f"d{number}",
        state="active",
    )
    return msgspec.structs.replace(made, **changes)


def decision(number: int, **changes: object) -> api.Decision:
    """A refused TCP 445 of an infected PC."""
    made = api.Decision(
        id=f"d{number}",
        at=NOW + timedelta(seconds=number),
        verdict="deny",
        action="map",
        via=Via.IGD2,
        device="02:00:00:00:00:66",
        address="192.168.1.77",
        transport=Transport.TCP,
        external_port=445,
        internal_client="192.168.1.77",
        internal_port=445,
        remote_host=None,
        lease_s=3600,
        description="",
        refusal="not-authorized",
        rule="never-admin-ports",
        reasons=["floor: holds", "forbid never-admin-ports: internal port 445"],
    )
    return msgspec.structs.replace(made, **changes)


STATUS = api.Status(
    version="0.1.0",
    pid=4711,
    started_at=NOW - timedelta(hours=2),
    uptime_s=7200,
    firewall="alongside",
    backend="nftables",
    wan=api.WanState(
        interface="eth0", up=True, external_addresses=["100.64.3.4"], address_kind="shared", connected_s=7100
    ),
    lan=[api.LanState(interface="br-lan", up=True, addresses=["192.168.1.1/24", "fe80::1/64"])],
    locations=["http://192.168.1.1:5000/igd1.xml"],
    mappings=api.MappingCount(active=2, parked=1, disabled=0, limit=1024),
    policy=api.PolicyState(source="built-in home policy", hash="0123456789ab", grants=1, default="deny"),
    warnings=["no policy file: the built-in home policy limits an infected device, it does not stop it"],
    counters={"ssdp.search": 12},
    detected=["WAN eth0: it holds the default route"],
)

SUGGESTION = api.Suggestion(toml="# a \\ b\nversion = 1\n", grants=1, tests=2, notes=["left out: grant all"])

DEVICE = api.Device(
    device="02:00:00:00:00:66",
    name=None,
    addresses=["192.168.1.77", "fe80::66"],
    first_seen=NOW - timedelta(days=2),
    last_seen=NOW - timedelta(seconds=10),
    holds=0,
    granted=0,
    refused=27,
    last_refusal="forbid never-admin-ports: internal port 445",
    frozen=True,
)


class FakeOperator:
    """Mappings and decisions are lists that a test sets; a change is told to every watcher."""

    def __init__(self) -> None:
        self.held: list[api.Mapping] = []
        self.decided: list[api.Decision] = []
        self.checks: list[api.Check] = [api.Check(name="forwarding", outcome="ok", finding="IPv4 is forwarded")]
        self.refuse: Refused | None = None
        self.makes: Literal["active", "parked", "contested"] = "active"
        """The state of what ``add`` makes."""
        self.asked: list[object] = []
        self.open_incidents: list[api.Incident] = []
        self.questions: list[api.Question] = []
        self.seen: list[api.Evidence] = []
        self.found_stale: list[api.Stale] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.watchers: list[asyncio.Queue[api.Event | None]] = []

    async def mappings(self) -> list[api.Mapping]:
        return self.held

    async def evidence(self) -> list[api.Evidence]:
        return self.seen

    async def suggest(self, asked: api.AskSuggestion) -> api.Suggestion:
        self.asked.append(asked)
        return SUGGESTION

    async def stale(self, asked: api.StaleFilter) -> list[api.Stale]:
        self.asked.append(asked)
        return self.found_stale

    async def incidents(self) -> list[api.Incident]:
        return self.open_incidents

    async def queue(self) -> list[api.Question]:
        return self.questions

    async def mapping(self, mapping_id: str) -> api.Mapping | None:
        return next((m for m in self.held if m.id == mapping_id), None)

    async def add(self, asked: api.AddMapping) -> api.Mapping | Refused:
        self.asked.append(asked)
        await self.gate.wait()
        if self.refuse:
            return self.refuse
        made = mapping(
            len(self.held) + 1,
            transport=asked.transport,
            external_port=asked.external_port,
            internal_client=str(asked.client),
            internal_port=asked.target_port,
            remote_host=asked.remote_host,
            via=Via.OPERATOR,
            description=asked.description,
            lease_left_s=None if asked.permanent else asked.lease_s or 86400,
            expires_at=None if asked.permanent else NOW,
            state=self.makes,
        )
        self.held.append(made)
        self.tell(api.Event(event="added", at=NOW, mapping=made))
        return made

    async def delete(self, mapping_id: str) -> api.Mapping | Refused:
        gone = await self.mapping(mapping_id)
        if gone is None:
            return Refused(Refusal.NO_SUCH, "there is no mapping with this id", DecisionId("d9"))
        self.held.remove(gone)
        self.tell(api.Event(event="removed", at=NOW, mapping=gone, why="revoked"))
        return gone

    async def status(self) -> api.Status:
        return STATUS

    async def decisions(self, wanted: api.DecisionFilter) -> list[api.Decision]:
        self.asked.append(wanted)
        fits = [d for d in self.decided if wanted.verdict in (None, d.verdict)]
        return fits[::-1][: wanted.limit]

    async def devices(self) -> list[api.Device]:
        return [DEVICE]

    async def doctor(self) -> list[api.Check]:
        return self.checks

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[api.Event]]:
        queue: asyncio.Queue[api.Event | None] = asyncio.Queue()
        self.watchers.append(queue)

        async def stream() -> AsyncIterator[api.Event]:
            while (event := await queue.get()) is not None:
                yield event

        try:
            yield stream()
        finally:
            self.watchers.remove(queue)

    def tell(self, event: api.Event | None) -> None:
        """None ends every stream."""
        for queue in self.watchers:
            queue.put_nowait(event)


class ServedOperator:
    """The operator on a real control socket, its loop on another thread: the command line blocks."""

    def __init__(self, operator: FakeOperator, runtime_dir: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.operator = operator
        self.runtime_dir = runtime_dir
        self._loop = loop

    def tell(self, event: api.Event | None) -> None:
        self._loop.call_soon_threadsafe(self.operator.tell, event)


async def settle() -> None:
    """Lets the loop accept and end a client that only looked whether somebody answers.

    CPython 3.11 leaves a transport half made where a connection is accepted while its server closes.
    """
    for _ in range(10):
        await asyncio.sleep(0)


@contextmanager
def served(runtime_dir: Path, operator: FakeOperator | None = None) -> Iterator[ServedOperator]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fake daemon")
    thread.start()

    def run(work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(10)  # type: ignore[arg-type]

    operator = operator or FakeOperator()
    server = ControlServer(operator, runtime_dir)
    try:
        run(server.start())
        try:
            yield ServedOperator(operator, runtime_dir, loop)
        finally:
            run(settle())
            run(server.close())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
