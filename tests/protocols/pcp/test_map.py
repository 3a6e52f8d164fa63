"""PCP MAP over the real path of a request: requests of a client and their answers (RFC 6887 section 11)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC, PC_IP, Clock, gateway_fixture
from tests.fixtures.policies import policy_of
from tests.fixtures.port5351 import CONSOLE_IP6, NONCE, OTHER_NONCE, TCP, UDP, Line
from upnp_gw.model.mapping import RemotePeers
from upnp_gw.model.network import Neighbour
from upnp_gw.model.request import Refusal
from upnp_gw.protocols.pcp import mapping as pcp_mapping
from upnp_gw.protocols.pcp.messages import (
    ANY_IPV6,
    Description,
    PcpFilter,
    PreferFailure,
    ResultCode,
    ThirdParty,
    UnknownOption,
)
from upnp_gw.protocols.port5351 import Port5351

EXTERNAL = IPv4Address("11.22.33.44")
LETS_IN = PcpFilter(120, 0, IPv4Address("198.51.100.0"))
ONE = PcpFilter(128, 5000, IPv4Address("203.0.113.7"))
CLEAR = PcpFilter(0, 0, ANY_IPV6)
DELEGATED = f"""
default = "deny"
[device.pc]
mac = ["{PC}"]
[[grant]]
name = "own"
who = "*"
int_ports = ["1024-65535"]
owner = "me"
reason = "test"
[[grant]]
name = "for-others"
who = "pc"
for = ["192.168.77.10"]
int_ports = ["1024-65535"]
owner = "me"
reason = "test"
"""


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    async with gateway_fixture(tmp_path) as fixture:
        fixture.around.neighbours.learn(Neighbour(ip_address(CONSOLE_IP6), CONSOLE, "lan0"))
        yield Line(fixture)


@pytest.mark.spec("PCP-001", "PCP-005", "PCP-006")
async def test_announce(line: Line) -> None:
    line.gateway_fixture.clock.pass_s(1000)
    request = bytes.fromhex("0200000000000e10" + "00" * 10 + "ffffc0a84d0a")
    assert (await line.answer(request)).hex() == "0280000000000000" + "000003e8" + "00" * 12
    assert not line.gateway_fixture.decider.ledger.numbers.decision


@pytest.mark.spec("PCP-007", "PCP-009", "PCP-037", "PCP-056", "PCP-063")
async def test_a_free_port_is_granted_as_suggested(line: Line) -> None:
    answer = await line.map(8080, 8080, 3600)
    assert answer.map is not None
    assert (answer.result, answer.lifetime_s, answer.options) == (0, 3600, ())
    assert (answer.map.external_port, answer.map.external_address) == (8080, EXTERNAL)
    assert line.gateway_fixture.ports == {(TCP, 8080)}


@pytest.mark.spec("PCP-010")
async def test_reserved_bytes_are_ignored_and_zero_in_a_success(line: Line) -> None:
    head = "0201beef00000e10" + "00" * 10 + "ffffc0a84d0a"
    answer = await line.answer(bytes.fromhex(head + "6e" * 12 + "06ffffff" + "1f901f90" + "00" * 16))
    assert (answer[:4].hex(), answer[37:40]) == ("02810000", bytes(3))


@pytest.mark.spec("PCP-034", "PCP-035", "PCP-036", "PCP-039", "PCP-040")
@pytest.mark.parametrize("suggested", ["::", "0.0.0.0", "198.51.100.77", "127.0.0.1", "224.0.0.1", "2001:db8::1"])
async def test_a_suggested_address_is_a_hint(line: Line, suggested: str) -> None:
    answer = await line.map(8080, 0, address=ip_address(suggested))
    assert answer.map is not None
    assert answer.map.external_port
    assert answer.map.external_address == EXTERNAL


@pytest.mark.spec("PCP-038", "PCP-043", "PCP-044", "PCP-045", "PCP-086", "PCP-087")
async def test_a_taken_port_and_a_refresh(line: Line) -> None:
    await line.map(8080, 8080)
    other = await line.map(8080, 8080, client=PC_IP)
    assert other.map is not None
    assert other.map.external_port not in (0, 8080)
    line.gateway_fixture.clock.pass_s(100)
    for suggested, lifetime in ((8080, 3600), (9999, 7200), (8080, 600)):
        again = await line.map(8080, suggested, lifetime)
        assert again.map is not None
        assert (again.result, again.map.external_port, again.lifetime_s) == (0, 8080, lifetime)
    (row,) = line.mappings_to(8080)
    assert row.until == line.gateway_fixture.clock.now.boot + 600


@pytest.mark.spec("PCP-046", "PCP-047", "SR-26")
async def test_another_nonce_is_refused_for_the_rest_of_the_lease(line: Line) -> None:
    await line.map(8080, 8080, 3600)
    line.gateway_fixture.clock.pass_s(600)
    before = line.mappings_to(8080)
    for lifetime in (3600, 0):
        answer = await line.map(8080, 8080, lifetime, nonce=OTHER_NONCE)
        assert (answer.result, answer.lifetime_s) == (ResultCode.NOT_AUTHORIZED, 3000)
    assert line.mappings_to(8080) == before


@pytest.mark.spec("PCP-048", "PCP-049")
async def test_nonces_are_opaque_and_each_hosts_own(line: Line) -> None:
    for client in (CONSOLE_IP, PC_IP):
        assert (await line.map(8080, nonce=bytes(12), client=client)).result == 0
    assert (await line.map(8080, 0, 0, nonce=bytes(12))).result == 0
    assert not line.mappings_to(8080)
    assert line.mappings_to(8080, client=PC_IP)


@pytest.mark.spec("PCP-050", "PCP-167")
async def test_a_new_epoch_lets_a_nonce_change_once(line: Line) -> None:
    await line.map(8080, 8080)
    line.gateway_fixture.clock.pass_s(50)
    line.gateway_fixture.around.network = replace(
        line.gateway_fixture.around.network, external=(IPv4Address("11.22.33.55"),)
    )
    assert await line.gateway_fixture.gateway.follow_external_address()
    assert line.epoch_s == 0
    assert (await line.map(8080, 0, 0, nonce=OTHER_NONCE)).result is ResultCode.NOT_AUTHORIZED, "no delete by it"
    again = await line.map(8080, 8080, nonce=OTHER_NONCE)
    assert again.map is not None
    assert (again.result, again.map.external_port) == (0, 8080)
    assert again.map.external_address == IPv4Address("11.22.33.55")
    assert (await line.map(8080, nonce=NONCE)).result is ResultCode.NOT_AUTHORIZED


@pytest.mark.spec("PCP-050")
async def test_the_holder_itself_ends_the_chance(line: Line) -> None:
    await line.map(8080, 8080)
    line.gateway_fixture.around.network = replace(
        line.gateway_fixture.around.network, external=(IPv4Address("11.22.33.55"),)
    )
    await line.gateway_fixture.gateway.follow_external_address()
    await line.map(8080, 8080)
    assert (await line.map(8080, nonce=OTHER_NONCE)).result is ResultCode.NOT_AUTHORIZED


@pytest.mark.spec("PCP-167", "PMP-057")
async def test_lost_mappings_begin_a_new_epoch_that_outlives_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as fixture:
        clock.pass_s(500)
        await fixture.gateway.begin_epoch()
        clock.pass_s(5)
        assert Line(fixture).epoch_s == 5
    async with gateway_fixture(tmp_path, clock=clock) as fixture:
        assert Line(fixture).epoch_s == 5


@pytest.mark.spec("PCP-051")
async def test_lenient_nonces(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, lenient_nonces=True) as fixture:
        line = Line(fixture)
        await line.map(8080, 8080)
        assert (await line.map(8080, nonce=OTHER_NONCE)).result == 0
        assert (await line.map(8080, 0, 0, nonce=OTHER_NONCE, client=PC_IP)).result == 0
        assert line.mappings_to(8080)
        assert (await line.map(8080, 0, 0, nonce=b"z" * 12)).result == 0
        assert not line.mappings_to(8080)


@pytest.mark.spec("PCP-052", "PCP-114", "PCP-168", "PMP-057", "PMP-058")
async def test_a_restart_keeps_nonces_filters_and_the_epoch(tmp_path: Path) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as fixture:
        await Line(fixture).map(8080, 8080, 3600, LETS_IN)
    clock.pass_s(100)
    async with gateway_fixture(tmp_path, clock=clock) as fixture:
        line = Line(fixture)
        assert line.epoch_s == 100
        assert (await line.map(8080, nonce=OTHER_NONCE)).result is ResultCode.NOT_AUTHORIZED
        assert (await line.map(8080)).result == 0
        (row,) = line.mappings_to(8080)
        assert row.requested_filters == (RemotePeers(ip_network("198.51.100.0/24")),)
    clock.pass_s(100)
    async with gateway_fixture(tmp_path, clock=clock, boot="boot-2") as fixture:
        line = Line(fixture)
        assert line.epoch_s == 0, "the machine booted"
        assert (await line.map(8080, nonce=OTHER_NONCE)).result == 0
    (tmp_path / "ledger.db").unlink()
    async with gateway_fixture(tmp_path, clock=clock, boot="boot-2") as fixture:
        assert Line(fixture).epoch_s == 0


@pytest.mark.spec("PCP-057", "PCP-058", "PCP-059", "PCP-060", "PCP-074", "PCP-075", "PCP-076")
@pytest.mark.parametrize(
    ("protocol", "port", "lifetime", "result"),
    [
        (132, 8080, 600, ResultCode.UNSUPP_PROTOCOL),
        (6, 0, 600, ResultCode.UNSUPP_PROTOCOL),
        (0, 0, 600, ResultCode.UNSUPP_PROTOCOL),
        (0, 8080, 600, ResultCode.MALFORMED_REQUEST),
        (0, 8080, 0, ResultCode.MALFORMED_REQUEST),
        (132, 8080, 0, ResultCode.SUCCESS),
        (6, 0, 0, ResultCode.SUCCESS),
        (0, 0, 0, ResultCode.SUCCESS),
    ],
)
async def test_protocols_and_ports_that_cannot_be_mapped(
    line: Line, protocol: int, port: int, lifetime: int, result: ResultCode
) -> None:
    await line.map(9000, 9000)
    answer = await line.map(port, 0, lifetime, protocol=protocol)
    assert (answer.result, answer.lifetime_s) == (result, 1800 if result else 0)
    assert line.gateway_fixture.ports == {(TCP, 9000)}


@pytest.mark.spec("PCP-061", "PCP-062", "PCP-063", "PCP-064")
async def test_lifetimes(line: Line) -> None:
    lifetimes = [(await line.map(8080, 0, requested)).lifetime_s for requested in (1, 120, 86400, 2**32 - 1)]
    assert lifetimes == [120, 120, 86400, 86400]
    line.dialogue = Port5351(pcp_least_s=300)
    line.gateway_fixture.policy = replace(
        line.gateway_fixture.decider.in_force.policy,
        limits=replace(line.gateway_fixture.decider.in_force.policy.limits, max_ttl_s=900),
    )
    assert [(await line.map(8080, 0, requested)).lifetime_s for requested in (1, 2**32 - 1)] == [300, 900]


@pytest.mark.spec("PCP-068", "PCP-069", "PCP-070", "PCP-071", "PCP-073")
async def test_delete_again_and_again(line: Line) -> None:
    await line.map(8080, 8080)
    await line.map(8080, 8080, protocol=17)
    for suggested, address in ((0, "0.0.0.0"), (1234, "198.51.100.7")):
        answer = await line.map(8080, suggested, 0, address=ip_address(address))
        assert answer.map is not None
        assert (answer.result, answer.lifetime_s) == (0, 0)
        assert (answer.map.external_port, str(answer.map.external_address)) == (suggested, address)
        assert line.gateway_fixture.ports == {(UDP, 8080)}


@pytest.mark.spec("PCP-077", "PCP-078")
async def test_a_freed_port_waits_for_its_flows_deviation(line: Line) -> None:
    """Until its flows are cut, not for the idle time of RFC 6887 (deviation PCP-077)."""
    await line.map(8080, 8080)
    await line.map(8080, 0, 0)
    other = await line.map(9000, 8080, client=PC_IP)
    same = await line.map(8080, 8080)
    assert other.map is not None
    assert same.map is not None
    assert other.map.external_port != 8080
    assert same.map.external_port == 8080


@pytest.mark.spec("PCP-081", "PCP-082", "PCP-030")
async def test_the_quota(line: Line) -> None:
    for port in range(2000, 2008):
        assert (await line.map(port)).result == 0
    answer = await line.map(2008)
    assert (answer.result, answer.lifetime_s) == (ResultCode.USER_EX_QUOTA, 30)
    assert (await line.map(2000)).result == 0


@pytest.mark.spec("PCP-088", "PCP-089", "PCP-098", "PCP-099")
async def test_prefer_failure(line: Line) -> None:
    answer = await line.map(8080, 8080, 3600, PreferFailure(), address=EXTERNAL)
    assert (answer.result, answer.options) == (0, (PreferFailure(),))
    assert (await line.map(8080, 8080, 3600, PreferFailure())).result == 0
    before = line.mappings_to(8080)
    refused = await line.map(8080, 9999, 3600, PreferFailure())
    assert (refused.result, refused.lifetime_s) == (ResultCode.CANNOT_PROVIDE_EXTERNAL, 30)
    taken = await line.map(9000, 8080, 3600, PreferFailure(), client=PC_IP)
    assert taken.result is ResultCode.CANNOT_PROVIDE_EXTERNAL
    assert line.mappings_to(8080) == before
    assert not line.mappings_to(9000, client=PC_IP)


@pytest.mark.spec("PCP-090", "PCP-091", "PCP-092")
async def test_prefer_failure_for_an_impossible_mapping(line: Line) -> None:
    line.gateway_fixture.reserved_ports((TCP, 8443))
    own = await line.map(8080, 8443, 600, PreferFailure())
    low = await line.map(8080, 80, 600, PreferFailure())
    foreign = await line.map(8080, 8080, 600, PreferFailure(), address=IPv4Address("198.51.100.7"))
    assert {own.result, low.result, foreign.result} == {ResultCode.CANNOT_PROVIDE_EXTERNAL}
    denied = await line.map(80, 8080, 600, PreferFailure())
    assert denied.result is ResultCode.NOT_AUTHORIZED
    assert not line.gateway_fixture.ports


def without_nat(line: Line) -> None:
    fixture = line.gateway_fixture
    fixture.around.network = replace(fixture.around.network, without_nat=frozenset({"lan0"}))


@pytest.mark.spec("PCP-190")
async def test_without_nat_the_hosts_own_address_and_port_are_assigned(line: Line) -> None:
    without_nat(line)
    for client in (CONSOLE_IP, PC_IP):
        for suggested, address in ((0, None), (9999, EXTERNAL), (8080, ip_address(client))):
            answer = await line.map(8080, suggested, 600, client=client, address=address)
            assert (answer.result, answer.lifetime_s) == (0, 600)
            assert answer.map is not None
            assert (answer.map.external_address, answer.map.external_port) == (ip_address(client), 8080)
    assert len(line.gateway_fixture.decider.ledger.table) == 2
    network = line.gateway_fixture.around.network
    line.gateway_fixture.around.network = replace(network, external=())
    assert (await line.map(8081)).result == 0
    assert (await line.map(8080, 0, 0, client=PC_IP)).result == 0
    assert not line.mappings_to(8080, client=PC_IP)
    assert line.mappings_to(8080)


@pytest.mark.spec("PCP-192")
async def test_without_nat_prefer_failure_accepts_only_the_hosts_own_address_and_port(line: Line) -> None:
    without_nat(line)
    own = ip_address(CONSOLE_IP)
    for suggested, address in ((8081, own), (8080, EXTERNAL), (8080, ip_address(PC_IP)), (8081, None)):
        refused = await line.map(8080, suggested, 600, PreferFailure(), address=address)
        assert (refused.result, refused.lifetime_s) == (ResultCode.CANNOT_PROVIDE_EXTERNAL, 30)
    assert not line.gateway_fixture.ports
    for address in (None, own):
        granted = await line.map(8080, 8080, 600, PreferFailure(), address=address)
        assert granted.result == 0
        assert granted.map is not None
        assert granted.map.external_address == own


@pytest.mark.spec("PCP-093", "PCP-094", "PCP-095", "PCP-120")
@pytest.mark.parametrize(
    ("suggested", "lifetime", "option", "address"),
    [
        (0, 600, PreferFailure(), EXTERNAL),
        (0, 600, PreferFailure(), IPv4Address(0)),
        (8080, 0, PreferFailure(), EXTERNAL),
        (8080, 0, LETS_IN, EXTERNAL),
    ],
)
async def test_options_that_make_no_sense(
    line: Line, suggested: int, lifetime: int, option: PreferFailure | PcpFilter, address: IPv4Address
) -> None:
    await line.map(8080, 8080)
    answer = await line.map(8080, suggested, lifetime, option, address=address)
    assert (answer.result, answer.lifetime_s) == (ResultCode.MALFORMED_OPTION, 1800)
    assert line.gateway_fixture.ports == {(TCP, 8080)}


@pytest.mark.spec("PCP-102", "PCP-103", "PCP-104")
async def test_third_party_without_a_grant(line: Line) -> None:
    pc = ThirdParty(ip_address(PC_IP))
    for lifetime in (600, 0):
        answer = await line.map(8080, 0, lifetime, pc)
        assert (answer.result, answer.lifetime_s) == (ResultCode.UNSUPP_OPTION, 1800)
    own = await line.map(8080, 0, 600, ThirdParty(ip_address(CONSOLE_IP)))
    assert own.result is ResultCode.MALFORMED_REQUEST
    assert not line.gateway_fixture.ports


@pytest.mark.spec("PCP-103", "PCP-105", "PCP-107", "SR-2")
async def test_third_party_by_a_grant(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy_of(DELEGATED)) as fixture:
        line = Line(fixture)
        console = ThirdParty(ip_address(CONSOLE_IP))
        answer = await line.map(8080, 8080, 600, console, client=PC_IP)
        assert (answer.result, answer.options) == (0, (console,))
        (row,) = line.mappings_to(8080)
        assert (row.device, row.delegated) == (PC, True)
        for other in ("192.168.77.30", "8.8.8.8", "11.22.33.1"):
            refused = await line.map(8080, 0, 600, ThirdParty(ip_address(other)), client=PC_IP)
            assert refused.result is ResultCode.UNSUPP_OPTION
        assert (await line.map(8080, 0, 0, console, client=PC_IP)).result == 0
        assert (await line.map(8080, 0, 0, console, client=PC_IP)).result == 0
        assert not fixture.ports


@pytest.mark.spec("PCP-190", "PCP-192")
async def test_third_party_without_nat_is_assigned_the_internal_clients_address(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy_of(DELEGATED)) as fixture:
        line, own = Line(fixture), ip_address(CONSOLE_IP)
        without_nat(line)
        wrong = await line.map(
            8080, 8080, 600, ThirdParty(own), PreferFailure(), client=PC_IP, address=ip_address(PC_IP)
        )
        assert wrong.result is ResultCode.CANNOT_PROVIDE_EXTERNAL
        for suggested, options in ((9999, ()), (8080, (PreferFailure(),))):
            answer = await line.map(8080, suggested, 600, ThirdParty(own), *options, client=PC_IP, address=own)
            assert answer.result == 0
            assert answer.map is not None
            assert (answer.map.external_address, answer.map.external_port) == (own, 8080)
        assert len(line.mappings_to(8080)) == 1


def reaches(line: Line) -> set[tuple[str, int]]:
    """The remote hosts that may connect, in the firewall."""
    opened = [forward for forward, _ in line.gateway_fixture.firewall.installed.values()]
    return {(str(forward.remote), forward.remote_port) for forward in opened}


@pytest.mark.spec("PCP-111", "PCP-112", "PCP-113", "PCP-114", "PCP-115", "PCP-116", "PCP-134")
async def test_filters_add_up_and_are_cleared(line: Line) -> None:
    answer = await line.map(8080, 8080, 600, LETS_IN)
    assert answer.options == (LETS_IN,)
    assert reaches(line) == {("198.51.100.0/24", 0)}
    await line.map(8080, 8080, 600, ONE)
    both = {("198.51.100.0/24", 0), ("203.0.113.7/32", 5000)}
    assert reaches(line) == both
    await line.map(8080, 8080, 600)
    assert reaches(line) == both
    await line.map(8080, 8080, 600, CLEAR, ONE)
    assert reaches(line) == {("203.0.113.7/32", 5000)}
    await line.map(8080, 8080, 600, ONE, CLEAR)
    assert reaches(line) == {("None", 0)}
    await line.map(8081, 8081, 600, ONE, LETS_IN, client=PC_IP)
    assert reaches(line) == {("None", 0), *both}


@pytest.mark.spec("PCP-118", "PCP-122", "PCP-123", "PCP-124")
async def test_filters_that_are_refused_change_nothing(line: Line) -> None:
    await line.map(8080, 8080, 600, LETS_IN)
    before = line.mappings_to(8080)
    family = await line.map(8080, 8080, 600, PcpFilter(128, 0, IPv6Address("2001:db8::1")))
    assert family.result is ResultCode.MALFORMED_OPTION
    many = [PcpFilter(128, 0, IPv4Address(f"203.0.113.{n}")) for n in range(20)]
    for again in (line.map(8080, 8080, 600, *many), line.map(9000, 9000, 600, *many)):
        answer = await again
        assert (answer.result, answer.lifetime_s) == (ResultCode.EXCESSIVE_REMOTE_PEERS, 1800)
    assert line.mappings_to(8080) == before
    assert not line.mappings_to(9000)
    assert (await line.map(8080, 8080, 600, PcpFilter(96, 0, IPv4Address(0)))).result == 0
    assert reaches(line) == {("None", 0)}


async def test_narrowing_a_mapping_ends_its_flows(line: Line) -> None:
    await line.map(8080, 8080, 600)
    await line.map(8080, 8080, 600, LETS_IN)
    await line.gateway_fixture.sweep()
    assert [cut.external_port for cut in line.gateway_fixture.firewall.cuts] == [8080]
    await line.map(8080, 8080, 600, ONE)
    await line.gateway_fixture.sweep()
    assert len(line.gateway_fixture.firewall.cuts) == 1


@pytest.mark.spec("PCP-127", "PCP-141")
async def test_options_that_are_overlooked_do_not_come_back(line: Line) -> None:
    port_set = UnknownOption(130, bytes.fromhex("00101f9000"))
    answer = await line.map(8080, 8080, 600, UnknownOption(200, b"x"), port_set)
    assert (answer.result, answer.options) == (0, ())
    assert line.gateway_fixture.ports == {(TCP, 8080)}


@pytest.mark.spec("PCP-136", "PCP-137", "PCP-138", "PCP-139", "PCP-140", "SR-21")
async def test_descriptions(line: Line) -> None:
    assert (await line.map(8080, 8080, 600, Description("cam"))).options == (Description("cam"),)
    assert line.mappings_to(8080)[0].description == "cam"
    assert (await line.map(8080, 8080, 600)).options == ()
    assert line.mappings_to(8080)[0].description == "cam"
    assert (await line.map(8080, 8080, 600, UnknownOption(128, b"\xff"))).options == ()
    long = Description("ä" * 300)
    assert (await line.map(8080, 8080, 600, long)).options == (Description("ä" * 256),)
    hostile = Description('\x1b[2J"\r\n\x00\u202e')
    assert (await line.map(8080, 8080, 600, hostile)).options == (hostile,)
    assert (await line.map(8080, 8080, 600, Description(""))).options == (Description(""),)
    assert line.mappings_to(8080)[0].description == ""


@pytest.mark.spec("PCP-154", "PCP-155", "PCP-156", "PCP-157", "PCP-162", "PCP-164", "PCP-165")
async def test_a_pinhole_is_external_as_internal(line: Line) -> None:
    own, other = ip_address(CONSOLE_IP6), ip_address("2001:db8:77::11")
    line.gateway_fixture.around.neighbours.learn(Neighbour(other, CONSOLE, "lan0"))
    for suggested, address in ((0, None), (1234, None), (0, IPv4Address(0))):
        answer = await line.map(5000, suggested, protocol=17, client=CONSOLE_IP6, address=address)
        assert answer.map is not None
        assert (answer.result, answer.map.external_port, answer.map.external_address) == (0, 5000, own)
    wrong = await line.map(5000, protocol=17, client=CONSOLE_IP6, nonce=OTHER_NONCE)
    assert wrong.result is ResultCode.NOT_AUTHORIZED
    await line.map(5000, protocol=17, client=str(other))
    assert len(line.gateway_fixture.decider.ledger.table) == 2
    assert (await line.map(5000, 0, 0, protocol=17, client=CONSOLE_IP6)).result == 0
    assert not line.mappings_to(5000, UDP, CONSOLE_IP6)
    assert line.mappings_to(5000, UDP, str(other))


@pytest.mark.spec("PCP-158", "PCP-159", "PCP-161", "PCP-163")
async def test_a_pinhole_passes_the_same_gate(line: Line) -> None:
    for suggested, address in ((1234, CONSOLE_IP6), (5000, "2001:db8:77::99")):
        refused = await line.map(
            5000, suggested, 600, PreferFailure(), client=CONSOLE_IP6, address=ip_address(address)
        )
        assert refused.result is ResultCode.CANNOT_PROVIDE_EXTERNAL
    exact = await line.map(5000, 5000, 600, PreferFailure(), client=CONSOLE_IP6, address=ip_address(CONSOLE_IP6))
    assert exact.result == 0
    for port in (22, 5900):
        six, four = await line.map(port, client=CONSOLE_IP6), await line.map(port)
        assert (six.result, four.result) == (ResultCode.NOT_AUTHORIZED, ResultCode.NOT_AUTHORIZED)
    for outside in ("fe80::10", "fd00::10"):
        assert (await line.map(5000, client=outside)).result is ResultCode.NOT_AUTHORIZED
    six_filter = PcpFilter(64, 0, IPv6Address("2001:db8:ff::"))
    assert (await line.map(5001, 0, 600, six_filter, client=CONSOLE_IP6)).result == 0
    assert ("2001:db8:ff::/64", 0) in reaches(line)


@pytest.mark.spec("PCP-182")
async def test_no_host_reaches_the_mapping_of_another(line: Line) -> None:
    await line.map(8080, 8080)
    before = line.mappings_to(8080)
    assert (await line.map(8080, 0, 0, client=PC_IP)).result == 0
    assert (await line.map(8080, 8080, client=PC_IP)).result == 0
    assert line.mappings_to(8080) == before


@pytest.mark.spec("PCP-103", "PCP-182", "SR-25", "SR-26")
async def test_visibility_for_all_allows_no_delete_of_another_devices_lease(tmp_path: Path) -> None:
    """Also not the device that now has the holder's address: it neither sees nor ends what it does not hold."""
    async with gateway_fixture(tmp_path, visibility="all") as fixture:
        line = Line(fixture)
        await line.map(8080, 8080)
        await line.natpmp(8081, 8081)
        before = (*line.mappings_to(8080), *line.mappings_to(8081))
        third = await line.map(8080, 0, 0, ThirdParty(ip_address(CONSOLE_IP)), client=PC_IP)
        assert third.result is ResultCode.UNSUPP_OPTION
        fixture.around.neighbours.learn(Neighbour(ip_address(CONSOLE_IP), PC, "lan0"))
        assert (await line.map(8080, 0, 0)).result == 0
        assert (await line.natpmp(8081, 0, 0)).result == 0
        assert (await line.natpmp(0, 0, 0)).result == 0
        assert (*line.mappings_to(8080), *line.mappings_to(8081)) == before


def test_every_refusal_has_its_result() -> None:
    assert set(pcp_mapping.RESULTS) == set(Refusal)
    assert ResultCode.SUCCESS not in pcp_mapping.RESULTS.values()
    cannot = {r for r, code in pcp_mapping.RESULTS.items() if code is ResultCode.CANNOT_PROVIDE_EXTERNAL}
    assert cannot == {Refusal.SAME_PORT}
