"""NAT-PMP over the real path of a request: requests of a client and their answers (RFC 6886)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC_IP, Clock, GatewayFixture, asks, gateway_fixture
from tests.fixtures.policies import policy_of
from tests.fixtures.port5351 import NONCE, TCP, UDP, Line
from upnp_gw.model.mapping import Endpoint, Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.request import Granted, MapRequest, PortChoice, Refusal, Removed, Source
from upnp_gw.protocols.mode import ServiceMode
from upnp_gw.protocols.natpmp import mapping as natpmp_mapping
from upnp_gw.protocols.natpmp.codec import NatPmpResult
from upnp_gw.protocols.pcp.messages import ResultCode
from upnp_gw.protocols.port5351 import Port5351

OPEN = """
default = "deny"
[limits]
per_device = 2000
requests_per_minute = 5000
total_mappings = 3000
[[grant]]
name = "all"
who = "*"
int_ports = ["1024-65535"]
owner = "me"
reason = "test"
"""


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    async with gateway_fixture(tmp_path) as fixture:
        yield Line(fixture)


def operators(
    gateway_fixture: GatewayFixture, internal: int, external: int, transport: Transport = TCP
) -> MapRequest:
    source = Source(ip_address(CONSOLE_IP), "")
    client = Endpoint(ip_address(CONSOLE_IP), internal)
    return MapRequest(
        Via.OPERATOR, source, transport, client, external, PortChoice.EXACT, 3600, permanent=True, description="op"
    )


@pytest.mark.spec("PMP-001", "PMP-055")
async def test_the_external_address(line: Line) -> None:
    line.gateway_fixture.clock.pass_s(7)
    assert (await line.answer(b"\0\0")).hex() == "00800000" + "00000007" + "0b16212c"
    assert await line.answer(b"\0\0\0") == await line.answer(b"\0\0")


@pytest.mark.spec("PMP-081", "PMP-082")
async def test_without_nat_each_host_has_its_own_address_and_ports(line: Line) -> None:
    """Deviation: RFC 6886 section 3.8 wants no answer from a gateway that does not translate."""
    for external in (line.gateway_fixture.around.network.external, ()):
        line.gateway_fixture.around.network = replace(
            line.gateway_fixture.around.network, external=external, without_nat=frozenset({"lan0"})
        )
        for client in (CONSOLE_IP, PC_IP):
            response = await line.address(client)
            assert (response.result, str(response.address)) == (NatPmpResult.SUCCESS, client)
            mapped = await line.natpmp(8080, 9090, client=client)
            assert (mapped.result, mapped.external_port) == (NatPmpResult.SUCCESS, 8080)
    assert len(line.gateway_fixture.decider.ledger.table) == 2
    ended = await line.natpmp(8080, lifetime=0)
    assert (ended.result, ended.external_port, ended.lifetime_s) == (NatPmpResult.SUCCESS, 0, 0)
    [left] = line.gateway_fixture.decider.ledger.table
    assert str(left.internal.address) == PC_IP


@pytest.mark.spec("PMP-003", "PCP-079")
async def test_without_an_external_address(line: Line) -> None:
    line.gateway_fixture.around.network = replace(line.gateway_fixture.around.network, external=())
    assert (await line.answer(b"\0\0")).hex() == "00800003" + "00000000" + "00000000"
    assert (await line.natpmp(8080)).result is NatPmpResult.NETWORK_FAILURE
    answer = await line.map(8080)
    assert (answer.result, answer.lifetime_s) == (ResultCode.NETWORK_FAILURE, 30)
    assert not line.gateway_fixture.ports


@pytest.mark.spec("PMP-006", "PMP-008", "PMP-009", "PMP-011", "PMP-013")
async def test_a_free_port_is_granted_as_suggested(line: Line) -> None:
    answer = await line.natpmp(8080, 8080, 7200)
    assert (answer.result, answer.external_port, answer.lifetime_s) == (NatPmpResult.SUCCESS, 8080, 7200)
    assert line.gateway_fixture.ports == {(TCP, 8080)}
    (row,) = line.mappings_to(8080)
    assert (str(row.internal), row.device) == (f"{CONSOLE_IP}:8080", CONSOLE)


@pytest.mark.spec("PMP-007")
async def test_udp_opens_udp_alone(line: Line) -> None:
    assert (await line.natpmp(5000, 5000, transport=UDP)).external_port == 5000
    assert line.gateway_fixture.ports == {(UDP, 5000)}


@pytest.mark.spec("PMP-012", "PMP-014")
async def test_no_suggestion_is_some_port(line: Line) -> None:
    ports = {(await line.natpmp(port)).external_port for port in range(2000, 2008)}
    assert len(ports) == 8
    assert 0 not in ports


@pytest.mark.spec("PMP-015", "PMP-016")
@pytest.mark.parametrize(("client", "internal"), [(PC_IP, 8080), (CONSOLE_IP, 8081)])
async def test_a_taken_port_gives_another(line: Line, client: str, internal: int) -> None:
    await line.natpmp(8080, 8080)
    answer = await line.natpmp(internal, 8080, client=client)
    assert answer.result is NatPmpResult.SUCCESS
    assert answer.external_port not in (0, 8080)


@pytest.mark.spec("PMP-017", "PMP-018", "PMP-019", "PMP-075", "PCP-041", "PCP-080", "PCP-083", "PCP-030")
async def test_requests_that_the_policy_forbids(tmp_path: Path) -> None:
    narrow = OPEN + 'ext_ports = ["5000-5001"]\n'
    async with gateway_fixture(tmp_path, policy_of(narrow)) as fixture:
        line = Line(fixture)
        first = await line.natpmp(8080, 9999)
        assert (first.result, first.external_port in (5000, 5001)) == (NatPmpResult.SUCCESS, True)
        second = await line.map(8081, 9999)
        assert second.map is not None
        assert {first.external_port, second.map.external_port} == {5000, 5001}
        full = await line.natpmp(8082)
        assert (full.result, full.external_port, full.lifetime_s) == (NatPmpResult.OUT_OF_RESOURCES, 0, 0)
        also = await line.map(8082)
        assert (also.result, also.lifetime_s) == (ResultCode.NO_RESOURCES, 30)
        denied = await line.natpmp(80)
        assert (denied.result, denied.external_port, denied.lifetime_s) == (NatPmpResult.REFUSED, 0, 0)
        also = await line.map(80)
        assert (also.result, also.lifetime_s) == (ResultCode.NOT_AUTHORIZED, 1800)
        assert len(fixture.ports) == 2


@pytest.mark.spec("PMP-020", "PMP-021", "PCP-042", "SR-24")
async def test_the_gateways_own_ports_are_nobodys(line: Line) -> None:
    line.gateway_fixture.policy = policy_of(OPEN)  # the built-in one forbids UDP port 5351
    line.gateway_fixture.reserved_ports((UDP, 6000))
    for port in (5350, 5351, 6000):
        assert (await line.natpmp(7000, port, transport=UDP)).external_port not in (0, 5350, 5351, 6000)
        answer = await line.map(7000, port, protocol=17, client=PC_IP)
        assert answer.map is not None
        assert answer.map.external_port not in (0, 5350, 5351, 6000)


@pytest.mark.spec("PMP-022", "PMP-023", "PMP-024", "PCP-077")
async def test_the_companion_is_the_holders_deviation(line: Line) -> None:
    """The freed port waits for the cut of its flows, not for a fixed quarantine (deviation PMP-024, PCP-077)."""
    await line.natpmp(8080, 8080)
    assert (await line.natpmp(9000, 8080, transport=UDP, client=PC_IP)).external_port != 8080
    assert (await line.natpmp(8080, 8080, transport=UDP)).external_port == 8080
    await line.natpmp(8080, 0, 0)
    assert (await line.natpmp(9001, 8080, client=PC_IP)).external_port != 8080
    line.gateway_fixture.clock.pass_s(6)
    await line.gateway_fixture.sweep()
    await line.natpmp(8080, 0, 0, transport=UDP)
    line.gateway_fixture.clock.pass_s(6)
    await line.gateway_fixture.sweep()
    assert (await line.natpmp(9002, 8080, client=PC_IP)).external_port == 8080


@pytest.mark.spec("PMP-025", "PMP-026", "PMP-029", "PMP-030")
async def test_a_refresh_keeps_the_port_and_sets_the_lifetime(line: Line) -> None:
    first = await line.natpmp(8080, 8080, 600)
    line.gateway_fixture.clock.pass_s(300)
    again = await line.natpmp(8080, 8080, 600)
    assert (again.external_port, again.lifetime_s) == (8080, 600)
    other = await line.natpmp(8080, 9999, 7200)
    assert (first.external_port, other.external_port, other.lifetime_s) == (8080, 8080, 7200)
    await line.natpmp(8080, 8080, 60)
    (row,) = line.mappings_to(8080)
    assert row.until == line.gateway_fixture.clock.now.boot + 60


@pytest.mark.spec("PMP-027", "PMP-041", "PCP-053", "PCP-054", "PCP-072")
async def test_the_operators_mapping_is_returned_and_unchanged(line: Line) -> None:
    assert isinstance(await line.gateway_fixture.gateway.handle(operators(line.gateway_fixture, 22, 2222)), Granted)
    before = line.mappings_to(22)
    answer = await line.natpmp(22, 22, 600)
    assert (answer.result, answer.external_port, answer.lifetime_s) == (NatPmpResult.SUCCESS, 2222, 600)
    for nonce in (NONCE, b"x" * 12):
        reply = await line.map(22, 22, nonce=nonce)
        assert reply.map is not None
        assert (reply.result, reply.map.external_port, reply.lifetime_s) == (0, 2222, 2**32 - 1)
    deletion = await line.natpmp(22, 0, 0)
    assert (deletion.result, deletion.lifetime_s) == (NatPmpResult.REFUSED, 0)
    assert (await line.map(22, 0, 0)).result is ResultCode.NOT_AUTHORIZED
    assert line.mappings_to(22) == before


@pytest.mark.spec("PMP-028", "PCP-187", "PCP-188", "PCP-186")
async def test_one_mapping_for_all_protocols_of_a_device(line: Line) -> None:
    await line.gateway_fixture.granted(8080, internal=8081)
    assert (await line.natpmp(8081, 9999)).external_port == 8080
    answer = await line.map(8081, 9999)
    assert answer.map is not None
    assert answer.map.external_port == 8080
    (row,) = line.mappings_to(8081)
    assert {hold.via for hold in row.holds} == {Via.IGD1, Via.NATPMP, Via.PCP}
    assert (await line.natpmp(8081, 0, 0)).result is NatPmpResult.SUCCESS
    assert (await line.natpmp(8081, 0, 0)).result is NatPmpResult.REFUSED, "what is left is other protocols'"
    assert (await line.map(8081, 0, 0)).result is ResultCode.SUCCESS
    (row,) = line.mappings_to(8081)
    assert {hold.via for hold in row.holds} == {Via.IGD1}


@pytest.mark.spec("PCP-188")
async def test_natpmp_does_not_end_a_lease_with_a_nonce(line: Line) -> None:
    await line.map(8080)
    assert (await line.natpmp(8080, 0, 0)).result is NatPmpResult.REFUSED
    assert (await line.natpmp(0, 0, 0)).result is NatPmpResult.SUCCESS, "all of its own: none"
    assert line.mappings_to(8080)


@pytest.mark.spec("PMP-031", "PMP-032")
async def test_lifetimes_are_cut_and_never_raised(line: Line) -> None:
    assert (await line.natpmp(8080, 0, 60)).lifetime_s == 60
    assert (await line.natpmp(8080, 0, 2**32 - 1)).lifetime_s == 86400


@pytest.mark.spec("PMP-033", "PCP-066")
async def test_it_ends_by_itself(line: Line) -> None:
    await line.natpmp(8080, 8080, 60)
    await line.map(8081, 8081, 120)
    line.gateway_fixture.clock.pass_s(61)
    await line.gateway_fixture.sweep()
    assert line.gateway_fixture.ports == {(TCP, 8081)}
    line.gateway_fixture.clock.pass_s(60)
    await line.gateway_fixture.sweep()
    assert not line.gateway_fixture.ports


@pytest.mark.spec("PMP-034")
async def test_internal_port_0_maps_nothing(line: Line) -> None:
    answer = await line.natpmp(0, 80, 600)
    assert (answer.result, answer.external_port) == (NatPmpResult.REFUSED, 0)
    assert not line.gateway_fixture.ports


@pytest.mark.spec("PMP-035", "PMP-036", "PMP-037", "PMP-038", "PMP-039", "PMP-040")
async def test_delete_again_and_again(line: Line) -> None:
    await line.natpmp(8080, 9999)
    await line.natpmp(8080, 9999, transport=UDP)
    for suggested in (0, 1234):
        answer = await line.natpmp(8080, suggested, 0)
        assert (answer.result, answer.external_port, answer.lifetime_s) == (NatPmpResult.SUCCESS, 0, 0)
        assert line.gateway_fixture.ports == {(UDP, 9999)}
    assert (await line.natpmp(7777, 0, 0)).result is NatPmpResult.SUCCESS


@pytest.mark.spec("PMP-042", "PMP-043", "PMP-044", "PMP-045", "PMP-046", "PMP-047")
@pytest.mark.parametrize(("deleted", "stays"), [(UDP, TCP), (TCP, UDP)])
async def test_delete_all(line: Line, deleted: Transport, stays: Transport) -> None:
    for port in (2000, 2001):
        for transport in (TCP, UDP):
            await line.natpmp(port, port, transport=transport)
    await line.natpmp(3000, 3000, transport=deleted, client=PC_IP)
    answer = await line.natpmp(0, 0, 0, transport=deleted)
    assert (answer.result, answer.external_port, answer.lifetime_s) == (NatPmpResult.SUCCESS, 0, 0)
    assert line.gateway_fixture.ports == {(stays, 2000), (stays, 2001), (deleted, 3000)}
    assert (await line.natpmp(0, 0, 0, transport=deleted)).result is NatPmpResult.SUCCESS
    await line.natpmp(2000, 2000, transport=deleted)
    await line.gateway_fixture.gateway.handle(operators(line.gateway_fixture, 22, 2222, deleted))
    assert (await line.natpmp(0, 0, 0, transport=deleted)).result is NatPmpResult.REFUSED
    assert line.gateway_fixture.ports == {(stays, 2000), (stays, 2001), (deleted, 3000), (deleted, 2222)}


@pytest.mark.spec("PMP-048", "PMP-050", "PMP-051", "PMP-052")
async def test_invalid_mapping_requests(line: Line) -> None:
    assert (await line.answer(b"\0\3" + bytes(10))).hex() == "00830005" + "00" * 8
    for silent in (b"", b"\0", b"\0\x80", b"\0\xff" + bytes(10), b"\0\1", b"\0\2" + bytes(9)):
        assert await line.answer_or_none(silent) is None
    assert not line.gateway_fixture.ports


@pytest.mark.spec("PMP-053", "PMP-054", "PMP-074", "PCP-016", "PCP-017")
async def test_one_protocol_alone(line: Line) -> None:
    v6 = "2001:db8:77::10"
    line.dialogue = Port5351(pcp=ServiceMode.OFF)
    for version in (1, 2, 3, 255):
        assert (await line.answer(bytes((version, 1)) + bytes(58))).hex() == "00800001" + "00000000"
        assert await line.answer_or_none(bytes((version, 1)) + bytes(58), v6) is None
    assert (await line.natpmp(8080, 8080)).external_port == 8080
    line.dialogue = Port5351(natpmp=ServiceMode.OFF)
    assert (await line.answer(b"\0\0")).hex() == "0280000100000708" + "00" * 16
    assert (await line.answer(b"\0\1" + bytes(10))).hex() == "0281000100000708" + "00" * 16
    for dialogue in (Port5351(), Port5351(natpmp=ServiceMode.OFF)):
        line.dialogue = dialogue
        assert (await line.answer(b"\0\0", v6)).hex()[:8] == "02800001"


@pytest.mark.spec("PMP-004", "PMP-073", "PCP-027")
async def test_switched_off_by_the_user(line: Line) -> None:
    line.dialogue = Port5351(natpmp=ServiceMode.REFUSE, pcp=ServiceMode.REFUSE)
    assert (await line.address()).result is NatPmpResult.REFUSED
    assert (await line.natpmp(8080)).result is NatPmpResult.REFUSED
    assert (await line.map(8080)).result is ResultCode.UNSUPP_OPCODE
    announce = bytes.fromhex("020000000000000000000000000000000000ffffc0a84d0a")
    assert (await line.answer(announce))[3] == ResultCode.SUCCESS
    assert not line.gateway_fixture.ports


@pytest.mark.spec("PMP-056", "PMP-059", "PMP-061", "PCP-166")
async def test_one_epoch_for_both(line: Line) -> None:
    line.gateway_fixture.clock.pass_s(10)
    line.gateway_fixture.clock.now = line.gateway_fixture.clock.now._replace(wall=5.0)
    assert (await line.address()).epoch_s == 10
    assert (await line.map(8080)).epoch_s == 10


@pytest.mark.spec("PMP-076", "PCP-085")
async def test_a_fault_of_the_kernel_leaves_nothing(line: Line) -> None:
    line.gateway_fixture.firewall.fail_next = ["no", "no"]
    assert (await line.natpmp(8080)).result is NatPmpResult.OUT_OF_RESOURCES
    answer = await line.map(8081)
    assert (answer.result, answer.lifetime_s) == (ResultCode.NO_RESOURCES, 30)
    assert not len(line.gateway_fixture.decider.ledger.table)
    assert not line.gateway_fixture.ports
    assert (await line.natpmp(8080)).result is NatPmpResult.SUCCESS


@pytest.mark.spec("PMP-077", "SR-5", "SR-22")
async def test_a_thousand_requests_end_at_the_quota(line: Line) -> None:
    line.gateway_fixture.policy = policy_of(OPEN.replace("per_device = 2000", "per_device = 32"))
    results = [(await line.natpmp(2000 + n)).result for n in range(200)]
    assert results == [NatPmpResult.SUCCESS] * 32 + [NatPmpResult.OUT_OF_RESOURCES] * 168
    assert (await line.natpmp(2000, client=PC_IP)).result is NatPmpResult.SUCCESS


@pytest.mark.spec("SR-26")
async def test_forged_packets_leave_the_victim_as_it_was(line: Line) -> None:
    """A thousand datagrams in the console's name: no incident, no rate used up, its mappings stay and renew."""
    made = line.gateway_fixture
    await made.granted(9000)
    await line.natpmp(9001, 9001, transport=UDP)
    await line.map(9002, 9002)
    random = Random(1)
    for _ in range(1000):
        await line.natpmp(random.randrange(1, 1024), random.randrange(65536), 600, random.choice((TCP, UDP)))
    assert not made.decider.history.incidents(made.clock.now)
    assert made.ports == {(TCP, 9000), (UDP, 9001), (TCP, 9002)}
    assert (await made.granted(9000)).refreshed
    assert not (await made.granted(9003)).refreshed
    assert (await line.natpmp(9001, 9001, transport=UDP)).result is NatPmpResult.SUCCESS
    assert (await line.map(9002, 9002)).result is ResultCode.SUCCESS


@pytest.mark.spec("SR-26")
async def test_forged_mappings_stay_and_the_device_itself_may_delete_them(line: Line) -> None:
    """Eight forged mappings fill the console's quota. Nobody can tell them from its own, so each stays for its
    lifetime; over IGD the console lists and deletes them."""
    made = line.gateway_fixture
    for n in range(8):
        assert (await line.natpmp(2000 + n)).result is NatPmpResult.SUCCESS
    assert (await line.natpmp(2008)).result is NatPmpResult.OUT_OF_RESOURCES
    assert (await made.refused(9000)).refusal is Refusal.QUOTA
    assert made.ports == {(TCP, line.mappings_to(2000 + n)[0].key.external_port) for n in range(8)}
    assert isinstance(await made.unmap(line.mappings_to(2000)[0].key.external_port), Removed)
    assert not (await made.granted(9000)).refreshed
    assert (await line.natpmp(2009)).result is NatPmpResult.OUT_OF_RESOURCES


def test_every_refusal_has_its_result() -> None:
    assert set(natpmp_mapping.RESULTS) == set(Refusal)
    assert NatPmpResult.SUCCESS not in natpmp_mapping.RESULTS.values()


async def test_two_devices_have_their_own_internal_ports(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, clock=Clock()) as fixture:
        line = Line(fixture)
        one, other = await line.natpmp(8080, 8080), await line.natpmp(8080, 8080, client=PC_IP)
        assert one.external_port != other.external_port
        fixture.around.neighbours.learn(Neighbour(ip_address(PC_IP), CONSOLE, "lan0"))
        assert isinstance(await fixture.gateway.handle(asks(9000)), Granted)
