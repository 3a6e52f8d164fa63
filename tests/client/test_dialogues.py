"""The client's dialogues against the gateway's own path of a request, datagram by datagram; and any bytes."""

from collections.abc import AsyncIterator
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, GatewayFixture, gateway_fixture
from tests.fixtures.port5351 import CONSOLE_IP6, Line
from upnp_gw.client.mapping_request import MappingLease, NoAnswer, RequestedMapping, RequestRefused
from upnp_gw.client.natpmp import NatPmpDialogue
from upnp_gw.client.pcp import PcpDialogue
from upnp_gw.model.mapping import Endpoint, Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.protocols.mode import ServiceMode
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.natpmp.codec import AddressResponse, NatPmpResult, VersionResponse, parse_request
from upnp_gw.protocols.pcp import codec
from upnp_gw.protocols.pcp.messages import Response, ResultCode
from upnp_gw.protocols.port5351 import Port5351

EXTERNAL = IPv4Address("11.22.33.44")
CLIENT4, CLIENT6 = ip_address(CONSOLE_IP), ip_address(CONSOLE_IP6)
REQUEST = RequestedMapping(Transport.TCP, 8080, 8080, 3600)
REQUEST6 = RequestedMapping(Transport.TCP, 8080, 8080, 3600, 6)
NONCE, OTHER = b"n" * 12, b"o" * 12


def pcp(nonce: bytes = NONCE, six: bool = False) -> PcpDialogue:
    return PcpDialogue(CLIENT6 if six else CLIENT4, lambda request: nonce)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[GatewayFixture]:
    async with gateway_fixture(tmp_path) as fixture:
        fixture.around.neighbours.learn(Neighbour(CLIENT6, CONSOLE, "lan0"))
        yield fixture


async def exchange(
    line: Line,
    dialogue: PcpDialogue | NatPmpDialogue,
    request: RequestedMapping = REQUEST,
    lease: MappingLease | None = None,
    lifetime: int = 3600,
) -> MappingLease:
    answer: MappingLease | bool = False
    client = CONSOLE_IP6 if request.version == 6 else CONSOLE_IP
    for step, message in enumerate(dialogue.requests(request, lease, lifetime)):
        reply = await line.answer(message, client)
        answer = dialogue.read(step, reply, request, line.gateway_fixture.clock.now.boot)
        assert answer, "our own gateway's answer is no answer"
    assert isinstance(answer, MappingLease)
    return answer


@pytest.mark.parametrize("dialogue", [pcp(), NatPmpDialogue(CLIENT4)], ids=["pcp", "natpmp"])
async def test_a_mapping_is_requested_renewed_and_released(
    home: GatewayFixture, dialogue: PcpDialogue | NatPmpDialogue
) -> None:
    line = Line(home)
    lease = await exchange(line, dialogue)
    assert lease == MappingLease(
        dialogue.via, REQUEST.transport, Endpoint(EXTERNAL, 8080), Endpoint(CLIENT4, 8080), 3600
    )
    home.clock.pass_s(1800)
    assert await exchange(line, dialogue, lease=lease) == lease
    assert len(line.mappings_to(8080)) == 1
    released = await exchange(line, dialogue, lease=lease, lifetime=0)
    assert released.lifetime_s == 0
    assert line.mappings_to(8080) == []


async def test_a_renewal_suggests_the_granted_port(home: GatewayFixture) -> None:
    taken = await home.granted(8080, "192.168.77.20")
    assert taken
    for dialogue in (pcp(), NatPmpDialogue(CLIENT4)):
        lease = await exchange(Line(home), dialogue)
        assert lease.external.port != 8080
        again = await exchange(Line(home), dialogue, lease=lease)
        assert again.external == lease.external
        await exchange(Line(home), dialogue, lease=lease, lifetime=0)


async def test_a_pinhole_over_pcp(home: GatewayFixture) -> None:
    lease = await exchange(Line(home), pcp(six=True), REQUEST6)
    assert lease.external == lease.internal == Endpoint(CLIENT6, 8080)
    assert str(lease) == f"[{CLIENT6}]:8080 tcp via pcp 3600s"
    assert (await exchange(Line(home), pcp(six=True), REQUEST6, lease, 0)).lifetime_s == 0


async def test_refusals_carry_their_reason_and_time(home: GatewayFixture) -> None:
    low = RequestedMapping(Transport.TCP, 22, 22, 3600)
    for dialogue in (pcp(), NatPmpDialogue(CLIENT4)):
        with pytest.raises(RequestRefused, match="the gateway does not allow it") as caught:
            await exchange(Line(home), dialogue, low)
        assert caught.value.via is dialogue.via
    await exchange(Line(home), pcp())
    with pytest.raises(RequestRefused, match="not allow") as caught:
        await exchange(Line(home), pcp(OTHER))
    assert caught.value.retry_s == 3600, "as long as the mapping of the other nonce lives"


async def test_a_gateway_with_only_the_other_protocol_is_no_answer(home: GatewayFixture) -> None:
    with pytest.raises(NoAnswer, match="only NAT-PMP"):
        await exchange(Line(home, Port5351(pcp=ServiceMode.OFF)), pcp())
    with pytest.raises(NoAnswer):
        await exchange(Line(home, Port5351(natpmp=ServiceMode.OFF)), NatPmpDialogue(CLIENT4))


async def test_answers_to_other_clients_are_ignored(home: GatewayFixture) -> None:
    line, client = Line(home), pcp()
    (message,) = pcp(OTHER).requests(RequestedMapping(Transport.UDP, 9, 9, 60), None, 60)
    assert client.read(0, await line.answer(message), REQUEST, 0.0) is False
    dialogue = NatPmpDialogue(CLIENT4)
    request = natpmp.build_request(natpmp.MappingRequest(Transport.UDP, 9, 9, 60))
    assert dialogue.read(1, await line.answer(request), REQUEST, 0.0) is False
    address = await line.answer(natpmp.build_request(natpmp.AddressRequest()))
    assert dialogue.read(0, address, REQUEST, 0.0) is True
    assert dialogue.read(1, address, REQUEST, 0.0) is False, "late, and no answer to the second step"


@given(st.binary(max_size=120))
def test_any_bytes_are_ignored_or_a_typed_refusal(data: bytes) -> None:
    lease = MappingLease(Via.PCP, Transport.TCP, Endpoint(EXTERNAL, 8080), Endpoint(CLIENT4, 8080), 60)
    for dialogue in (pcp(), NatPmpDialogue(CLIENT4)):
        dialogue.announces_change(data, lease, REQUEST, 0.0)
        for step in (0, 1):
            try:
                answer = dialogue.read(step, data, REQUEST, 0.0)
            except (RequestRefused, NoAnswer):
                continue
            assert isinstance(answer, MappingLease | bool)


async def test_a_new_epoch_and_a_new_address_cause_a_renewal(home: GatewayFixture) -> None:
    line, client = Line(home), pcp()
    lease = await exchange(line, client)
    now = home.clock.now.boot

    def announced(epoch_s: int) -> bytes:
        return codec.build_response(Response(ResultCode.SUCCESS, 0, epoch_s))

    assert not client.announces_change(announced(line.epoch_s + 10), lease, REQUEST, now + 10)
    assert client.announces_change(announced(0), lease, REQUEST, now + 1000)
    old = NatPmpDialogue(CLIENT4)
    lease = await exchange(line, old)
    epoch = line.epoch_s

    def address(epoch_s: int, shown: str) -> bytes:
        return natpmp.build_response(AddressResponse(NatPmpResult.SUCCESS, epoch_s, IPv4Address(shown)))

    assert not old.announces_change(address(epoch + 10, str(EXTERNAL)), lease, REQUEST, now + 10)
    assert old.announces_change(address(epoch + 11, "11.22.33.99"), lease, REQUEST, now + 11)
    assert old.announces_change(address(0, str(EXTERNAL)), lease, REQUEST, now + 1000)
    assert not old.announces_change(natpmp.build_response(VersionResponse(5)), lease, REQUEST, now)


def test_natpmp_requests_the_external_address_first() -> None:
    first, second = NatPmpDialogue(CLIENT4).requests(REQUEST, None, 3600)
    assert parse_request(first) == natpmp.AddressRequest()
    assert parse_request(second) == natpmp.MappingRequest(Transport.TCP, 8080, 8080, 3600)
    (only,) = NatPmpDialogue(CLIENT4).requests(REQUEST, None, 0)
    assert parse_request(only) == natpmp.MappingRequest(Transport.TCP, 8080, 0, 0)
