"""Port 5351 with a gateway above: the outermost tuple, our own epoch, updates for what changes above."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.fixtures.gateway import Clock
from tests.fixtures.granting_above import ABOVE, BEHIND, OUTERMOST, REFUSED, FakeGatewayAbove
from tests.servers.port5351.test_server import CLIENT, NONCE, Client, Served, client, loopback_as_lan, serving
from upnp_gw.model.above import AboveGranted, AboveKey
from upnp_gw.model.mapping import Endpoint, Transport, Via
from upnp_gw.protocols.pcp import codec
from upnp_gw.protocols.pcp.messages import MapData, Opcode, PreferFailure, Request, ResultCode

__all__ = ["loopback_as_lan"]
MOVED = Endpoint(IPv4Address("198.51.100.77"), 50_000)


@dataclass
class Below:
    served: Served
    above: FakeGatewayAbove

    async def update(self, reply: object) -> None:
        """The gateway above changes the only mapping."""
        home = self.served.gateway_fixture
        assert home.leases_above is not None
        key = AboveKey(Transport.TCP, self.above.asked[0].internal)
        home.leases_above.on_mapping_update(key, reply)  # type: ignore[arg-type]
        await home.settle_above()

    async def map(self, one: Client, *options: PreferFailure) -> int:
        """The result of a PCP MAP of port 8080."""
        data = MapData(NONCE, 6, 8080, 8080, IPv4Address(0))
        answer = codec.parse_response(await one.ask(codec.build_request(Request(600, CLIENT, data, options))))
        await self.served.settled()
        return int(answer.result)


@pytest.fixture
async def below(tmp_path: Path) -> AsyncIterator[Below]:
    clock = Clock()
    above = FakeGatewayAbove(clock)
    async with serving(tmp_path, clock=clock, above=above, network=BEHIND) as served:
        home = served.gateway_fixture
        home.around.network = replace(BEHIND, lans=home.around.network.lans)
        yield Below(served, above)


@pytest.mark.spec("CAS-007", "CAS-008", "CAS-009")
async def test_the_answer_has_the_outermost_tuple_and_our_epoch(below: Below) -> None:
    below.above.most_s = 300
    below.served.gateway_fixture.clock.pass_s(77)
    async with client() as one:
        answer = await one.map(8080, 8080, 7200)
    assert answer.map is not None
    assert (answer.map.external_address, answer.map.external_port) == (OUTERMOST, 8080)
    assert answer.lifetime_s == 300
    assert answer.epoch_s == below.served.gateway_fixture.view.epoch_s() > 0


@pytest.mark.spec("CAS-022")
async def test_an_announce_is_answered_here(below: Below) -> None:
    async with client() as one:
        answer = codec.parse_response(await one.ask(codec.build_request(Request(0, CLIENT))))
        assert (answer.opcode, answer.result) == (Opcode.ANNOUNCE, ResultCode.SUCCESS)
        assert (await one.ask(b"\0\0"))[3] == 3, "NAT-PMP: no address outside is known yet"
    assert not below.above.asked


@pytest.mark.spec("CAS-013")
async def test_a_repeated_datagram_waits_for_the_same_question(below: Below) -> None:
    below.above.may_answer.clear()
    data = codec.build_request(Request(600, CLIENT, MapData(NONCE, 6, 8080, 8080, IPv4Address(0))))
    async with client() as one:
        one.send(data)
        await below.served.until(lambda: bool(below.above.asked))
        for _ in range(3):
            one.send(data)
        await below.served.until(lambda: below.served.server.drops["repeated"] == 3)
        below.above.may_answer.set()
        assert codec.parse_response(await one.receive()).result is ResultCode.SUCCESS
        assert one.inbox.empty()
    assert len(below.above.asked) == 1


@pytest.mark.spec("CAS-011", "CAS-015")
async def test_a_refusal_above_has_its_code_and_its_time(below: Below) -> None:
    below.above.answer = lambda request: REFUSED
    async with client() as one:
        answer = await one.map(8080, 8080)
        assert (answer.result, answer.lifetime_s) == (ResultCode.NOT_AUTHORIZED, REFUSED.retry_s)


@pytest.mark.spec("CAS-019", "CAS-020", "CAS-021")
async def test_a_client_is_told_of_another_tuple_and_of_nothing_else(below: Below) -> None:
    async with client() as one:
        assert await below.map(one) == 0
        same = Endpoint(OUTERMOST, 8080)
        await below.update(AboveGranted(Via.PCP, ABOVE, same, 600))
        await asyncio.sleep(0)
        assert one.inbox.empty()
        await below.update(AboveGranted(Via.PCP, ABOVE, MOVED, 600))
        update = codec.parse_response(await one.receive())
        assert update.map == MapData(NONCE, 6, 8080, MOVED.port, MOVED.address)
        assert update.result is ResultCode.SUCCESS


async def test_a_client_that_insists_gets_the_end_of_its_mapping(below: Below) -> None:
    async with client() as one:
        data = MapData(NONCE, 6, 8080, 8080, OUTERMOST)
        home = below.served.gateway_fixture
        home.around.network = replace(home.around.network, advertise=OUTERMOST)
        request = codec.build_request(Request(600, CLIENT, data, (PreferFailure(),)))
        assert codec.parse_response(await one.ask(request)).result is ResultCode.SUCCESS
        await below.served.settled()
        await below.update(AboveGranted(Via.PCP, ABOVE, MOVED, 600))
        assert codec.parse_response(await one.receive()).result is ResultCode.CANNOT_PROVIDE_EXTERNAL
        await below.served.settled()
        await home.settle_above()
    assert not home.ports
    assert not below.above.held


async def test_a_client_is_told_when_the_gateway_above_takes_its_mapping_back(below: Below) -> None:
    async with client() as one:
        assert await below.map(one) == 0
        await below.update(REFUSED)
        lost = codec.parse_response(await one.receive())
        assert lost.result is ResultCode.NETWORK_FAILURE
        assert lost.map is not None
        assert lost.map.internal_port == 8080
