"""A host that asks in a loop for what it may not delete neither fills the audit log nor pushes others out of it."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE_IP, PC, PC_IP, GatewayFixture, gateway_fixture
from upnp_gw.engine.refusal_counter import WINDOW_S
from upnp_gw.gate.schema import Limits
from upnp_gw.model.mapping import Transport, Via
from upnp_gw.model.records import DecisionRecord, RecordFilter
from upnp_gw.model.request import Refusal, Refused, ReleaseRequest, Reply, Source

LIMIT = Limits().requests_per_minute
TIMES = 5 * LIMIT


async def of_pc(home: GatewayFixture) -> list[DecisionRecord]:
    return await home.store.decisions(RecordFilter(devices=(PC,), limit=1000))


async def recorded_counts(home: GatewayFixture) -> list[int]:
    """The counts of what is written down once the minute is over."""
    home.clock.pass_s(WINDOW_S)
    await home.gateway.submit(home.reevaluation.record_counted_refusals)
    return sorted(r.count for r in await of_pc(home))


@pytest.mark.spec("SR-5", "SR-22", "SR-25")
async def test_over_igd(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8000)
        replies = [await home.unmap(8000, PC_IP) for _ in range(TIMES)]
        assert refusals(replies) == [*[Refusal.NOT_AUTHORIZED] * (LIMIT - 1), *[Refusal.RATE] * (TIMES - LIMIT + 1)]
        written = await of_pc(home)
        assert len(written) == LIMIT
        assert {reply.decision for reply in replies if isinstance(reply, Refused)} == {r.id for r in written}
        assert await recorded_counts(home) == [*[1] * (LIMIT - 1), TIMES - LIMIT + 1]
        await home.unmap(8000)
        assert home.ports == set(), "whoever holds it is not concerned"


@pytest.mark.spec("SR-5", "SR-22", "SR-26")
async def test_over_pcp(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8000, PC_IP, via=Via.PCP, nonce=b"a" * 12)
        source = Source(ip_address(PC_IP), "lan0")
        wrong, right = (
            ReleaseRequest(Via.PCP, source, Transport.TCP, source.address, 8000, nonce * 12)
            for nonce in (b"b", b"a")
        )
        before = len(await of_pc(home))
        replies = [await home.gateway.handle(wrong) for _ in range(TIMES)]
        assert set(refusals(replies)) == {Refusal.BAD_NONCE, Refusal.RATE}
        assert len(await of_pc(home)) - before < LIMIT
        assert not isinstance(await home.gateway.handle(right), Refused), "a delete that is allowed closes a port"
        assert home.ports == set()
        await home.granted(8001, PC_IP, via=Via.IGD1)


async def test_each_has_its_own_count(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8000)
        for _ in range(TIMES):
            await home.unmap(8000, PC_IP)
        await home.granted(8001, CONSOLE_IP)
        assert (await home.refused(8002, PC_IP)).refusal is Refusal.RATE
        assert len(await of_pc(home)) == LIMIT, "one flood, whatever it asks for"


def refusals(replies: list[Reply]) -> list[Refusal]:
    return [reply.refusal for reply in replies if isinstance(reply, Refused)]
