"""A frozen device over restarts, absences and reloads: what is reachable was so, or was to come back, before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from tests.engine.test_refresh import (
    CONSOLE_IP6,
    PC_IP6,
    PEERS,
    RELOADS,
    REMOTE_PORTS,
    Reached,
    Step,
    ends,
    freeze,
    map_requests,
    policy,
    reachable,
    take,
)
from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC, Clock, GatewayFixture, gateway_fixture, source_of
from upnp_gw.ledger.forwards import forwards_of
from upnp_gw.model.mapping import Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.request import UnmapPortRequest, UnmapRangeRequest

HERE = (ip_address(CONSOLE_IP), ip_address(CONSOLE_IP6))


@dataclass(frozen=True)
class Restart:
    """The gateway is stopped, and started so many seconds later."""

    after_s: float


@dataclass(frozen=True)
class Sleep:
    """The device does not answer any more, or it is back."""

    back: bool


Event = Step | Restart | Sleep
DELETES = st.sampled_from(
    [
        UnmapRangeRequest(Via.IGD2, source_of(CONSOLE_IP), Transport.TCP, 1, 65535, True),
        UnmapPortRequest(Via.IGD1, source_of(CONSOLE_IP), 5000, None),
    ]
)
RESTARTS = st.builds(Restart, st.sampled_from((0.0, 100.0, 4000.0)))
EVENTS = map_requests() | map_requests() | ends() | DELETES | RESTARTS | st.builds(Sleep, st.booleans()) | RELOADS


class RestartableGateway:
    """A gateway that can be started again."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.clock, self.policy = directory, Clock(), policy()
        self.home: GatewayFixture
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        self.home = await self._stack.enter_async_context(gateway_fixture(self.directory, self.policy, self.clock))
        for address, mac in ((CONSOLE_IP6, CONSOLE), (PC_IP6, PC)):
            self.home.around.neighbours.learn(Neighbour(ip_address(address), mac, "lan0"))
            self.home.present.add(ip_address(address))

    async def stop(self) -> None:
        await self._stack.aclose()

    async def happen(self, event: Event) -> None:
        if isinstance(event, Restart):
            await self.stop()
            self.clock.pass_s(event.after_s)
            await self.start()
        elif isinstance(event, Sleep):
            self.sleep(event)
            await self.home.sweep()
        else:
            await take(self.home, event)
            self.policy = self.home.decider.in_force.policy

    def sleep(self, event: Sleep) -> None:
        home = self.home
        for address in HERE:
            if event.back:
                home.present.add(address)
                home.scheduler.device_seen(Neighbour(address, CONSOLE, "lan0"))
            else:
                home.present.discard(address)
                home.gateway.submit(partial(park, home, address))

    def promised(self) -> set[Reached]:
        """Reachable now, or as soon as a device is back."""
        table = self.home.decider.ledger.table
        return {
            (forward.transport, peer, port, forward.external_port, forward.internal)
            for mapping in table
            if mapping.enabled
            for forward in forwards_of(replace(mapping, parked=False), table, self.clock.now)
            for peer in map(ip_address, PEERS[forward.internal.address.version])
            for port in REMOTE_PORTS
            if (forward.remote is None or peer in forward.remote) and forward.remote_port in (0, port)
        }


def park(home: GatewayFixture, address: object, transaction: object) -> None:
    home.reevaluation.park(transaction, CONSOLE, address)  # type: ignore[arg-type]


@asynccontextmanager
async def fixture() -> AsyncIterator[RestartableGateway]:
    with TemporaryDirectory() as directory:
        made = RestartableGateway(Path(directory))
        await made.start()
        try:
            yield made
        finally:
            await made.stop()


@given(st.lists(EVENTS, max_size=5), st.lists(EVENTS, min_size=1, max_size=5))
def test_nothing_becomes_reachable_for_a_frozen_device(before: list[Event], after: list[Event]) -> None:
    async def run() -> None:
        async with fixture() as there:
            for event in before:
                await there.happen(event)
            allowed = there.promised()
            freeze(there.home, CONSOLE)
            there.home.decider.history.requeue((), (CONSOLE,))
            for event in after:
                await there.happen(event)
                assert there.home.decider.history.frozen(CONSOLE, there.clock.now)
                assert reachable(there.home) <= allowed, event
                allowed &= there.promised()

    asyncio.run(run())
