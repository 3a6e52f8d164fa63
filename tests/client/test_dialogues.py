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
FOUR, SIX = ip_address(CONSOLE_IP), ip_address(CONSOLE_IP6)
WISH = RequestedMapping(Transport.TCP, 8080, 8080, 3600)
WISH6 = RequestedMapping(Transport.TCP, 8080, 8080, 3600, 6)
NONCE, OTHER = b"n" * 12, b"o" * 12


def pcp(nonce: bytes = NONCE, six: bool = False) -> PcpDialogue:
    return PcpDialogue(SIX if six else FOUR, lambda requested: nonce)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[GatewayFixture]:
    async with gateway_fixture(tmp_path) as fixture:
        fixture.around.neighbours.learn(Neighbour(SIX, CONSOLE, "lan0"))
        yield fixture


async def converse(
    line: Line,
    dialogue: PcpDialogue | NatPmpDialogue,
    requested: RequestedMapping = WISH,
    got: MappingLease | None = None,
    lifetime: int = 3600,
) -> MappingLease:
    answer: MappingLease | bool = False
    client = CONSOLE_IP6 if requested.version == 6 else CONSOLE_IP
    for step, message in enumerate(dialogue.requests(requested, got, lifetime)):
        said = await line.said(message, client)
        answer = dialogue.read(step, said, requested, line.gateway_fixture.clock.now.boot)
        assert answer, "our own gateway's answer is no answer"
    assert isinstance(answer, MappingLease)
    return answer


@pytest.mark.parametrize("dialogue", [pcp(), NatPmpDialogue(FOUR)], ids=["pcp", "natpmp"])
async def test_asks_renews_and_lets_go(home: GatewayFixture, dialogue: PcpDialogue | NatPmpDialogue) -> None:
    line = Line(home)
    got = await converse(line, dialogue)
    assert got == MappingLease(dialogue.via, WISH.transport, Endpoint(EXTERNAL, 8080), Endpoint(FOUR, 8080), 3600)
    home.clock.pass_s(1800)
    assert await converse(line, dialogue, got=got) == got
    assert len(line.standing(8080)) == 1
    gone = await converse(line, dialogue, got=got, lifetime=0)
    assert gone.lifetime_s == 0
    assert line.standing(8080) == []


async def test_a_renewal_suggests_what_was_granted(home: GatewayFixture) -> None:
    taken = await home.granted(8080, "192.168.77.20")
    assert taken
    for dialogue in (pcp(), NatPmpDialogue(FOUR)):
        got = await converse(Line(home), dialogue)
        assert got.external.port != 8080
        again = await converse(Line(home), dialogue, got=got)
        assert again.external == got.external
        await converse(Line(home), dialogue, got=got, lifetime=0)


async def test_a_pinhole_over_pcp(home: GatewayFixture) -> None:
    got = await converse(Line(home), pcp(six=True), WISH6)
    assert got.external == got.internal == Endpoint(SIX, 8080)
    assert str(got) == f"[{SIX}]:8080 tcp via pcp 3600s"
    assert (await converse(Line(home), pcp(six=True), WISH6, got, 0)).lifetime_s == 0


async def test_refusals_carry_their_reason_and_time(home: GatewayFixture) -> None:
    low = RequestedMapping(Transport.TCP, 22, 22, 3600)
    for dialogue in (pcp(), NatPmpDialogue(FOUR)):
        with pytest.raises(RequestRefused, match="the gateway does not allow it") as caught:
            await converse(Line(home), dialogue, low)
        assert caught.value.via is dialogue.via
    await converse(Line(home), pcp())
    with pytest.raises(RequestRefused, match="not allow") as caught:
        await converse(Line(home), pcp(OTHER))
    assert caught.value.retry_s == 3600, "as long as the mapping of the other nonce lives"


async def test_a_gateway_that_speaks_the_other_protocol_alone_is_told_at_once(home: GatewayFixture) -> None:
    with pytest.raises(NoAnswer, match="only NAT-PMP"):
        await converse(Line(home, Port5351(pcp=ServiceMode.OFF)), pcp())
    with pytest.raises(NoAnswer):
        await converse(Line(home, Port5351(natpmp=ServiceMode.OFF)), NatPmpDialogue(FOUR))


async def test_answers_to_others_are_no_answers(home: GatewayFixture) -> None:
    line, mine = Line(home), pcp()
    (message,) = pcp(OTHER).requests(RequestedMapping(Transport.UDP, 9, 9, 60), None, 60)
    assert mine.read(0, await line.said(message), WISH, 0.0) is False
    dialogue = NatPmpDialogue(FOUR)
    asked = natpmp.build_request(natpmp.MappingRequest(Transport.UDP, 9, 9, 60))
    assert dialogue.read(1, await line.said(asked), WISH, 0.0) is False
    address = await line.said(natpmp.build_request(natpmp.AddressRequest()))
    assert dialogue.read(0, address, WISH, 0.0) is True
    assert dialogue.read(1, address, WISH, 0.0) is False, "late, and no answer to the second step"


@given(st.binary(max_size=120))
def test_any_bytes_are_no_answer_or_a_named_no(data: bytes) -> None:
    got = MappingLease(Via.PCP, Transport.TCP, Endpoint(EXTERNAL, 8080), Endpoint(FOUR, 8080), 60)
    for dialogue in (pcp(), NatPmpDialogue(FOUR)):
        dialogue.says_changed(data, got, WISH, 0.0)
        for step in (0, 1):
            try:
                answer = dialogue.read(step, data, WISH, 0.0)
            except (RequestRefused, NoAnswer):
                continue
            assert isinstance(answer, MappingLease | bool)


async def test_a_new_epoch_and_a_new_address_are_cause_to_ask_again(home: GatewayFixture) -> None:
    line, mine = Line(home), pcp()
    got = await converse(line, mine)
    now = home.clock.now.boot

    def announced(epoch_s: int) -> bytes:
        return codec.build_response(Response(ResultCode.SUCCESS, 0, epoch_s))

    assert not mine.says_changed(announced(line.epoch_s + 10), got, WISH, now + 10)
    assert mine.says_changed(announced(0), got, WISH, now + 1000)
    old = NatPmpDialogue(FOUR)
    got = await converse(line, old)
    epoch = line.epoch_s

    def address(epoch_s: int, shown: str) -> bytes:
        return natpmp.build_response(AddressResponse(NatPmpResult.SUCCESS, epoch_s, IPv4Address(shown)))

    assert not old.says_changed(address(epoch + 10, str(EXTERNAL)), got, WISH, now + 10)
    assert old.says_changed(address(epoch + 11, "11.22.33.99"), got, WISH, now + 11)
    assert old.says_changed(address(0, str(EXTERNAL)), got, WISH, now + 1000)
    assert not old.says_changed(natpmp.build_response(VersionResponse(5)), got, WISH, now)


def test_natpmp_asks_for_the_address_first() -> None:
    first, second = NatPmpDialogue(FOUR).requests(WISH, None, 3600)
    assert parse_request(first) == natpmp.AddressRequest()
    assert parse_request(second) == natpmp.MappingRequest(Transport.TCP, 8080, 8080, 3600)
    (only,) = NatPmpDialogue(FOUR).requests(WISH, None, 0)
    assert parse_request(only) == natpmp.MappingRequest(Transport.TCP, 8080, 0, 0)
