"""A PCP FILTER and a grant for some remote hosts: what is answered with success, and listed, is in force."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.engine.test_narrowed import policy
from tests.fixtures.gateway import CONSOLE_IP, gateway_fixture
from tests.fixtures.policy_reload import reload_home
from tests.fixtures.port5351 import CONSOLE_IP6, Line
from upnp_gw.control.serialize import Serializer
from upnp_gw.model.records import RecordFilter
from upnp_gw.protocols.pcp import codec
from upnp_gw.protocols.pcp.mapping import build_update
from upnp_gw.protocols.pcp.messages import ANY_IPV6, PcpFilter, ResultCode

GRANT = '[[grant]]\nname = "{}"\nwho = "*"\nint_ports = ["1024-65535"]\next = "same-or-any"\nremote = {}\n'
NET, NET6 = "203.0.113.0/24", "2001:db8:5::/48"
POLICY = policy("version = 1\n" + GRANT.format("ours", [NET, NET6]))
OUTSIDE, INSIDE = PcpFilter(128, 0, ip_address("198.51.100.7")), PcpFilter(128, 5000, ip_address("203.0.113.5"))
WIDE = PcpFilter(96 + 8, 443, ip_address("203.0.0.0"))
CLEAR = PcpFilter(0, 0, ANY_IPV6)


def reached(line: Line) -> list[tuple[str, int]]:
    """The remote hosts that may connect, by the kernel."""
    forwards = (forward for forward, _ in line.gateway_fixture.firewall.installed.values())
    return [(str(forward.remote), forward.remote_port) for forward in forwards]


def listed(line: Line) -> list[str | None]:
    """The remote hosts that may connect, as ``upnp-gw list`` shows them."""
    serializer = Serializer(line.gateway_fixture.decider)
    return [serializer.mapping(row).remote_host for row in line.gateway_fixture.decider.ledger.table]


@pytest.mark.spec("PCP-111", "PCP-124")
@pytest.mark.parametrize(
    ("requested", "client"),
    [
        ((OUTSIDE,), CONSOLE_IP),
        ((INSIDE, OUTSIDE), CONSOLE_IP),
        ((CLEAR, OUTSIDE, INSIDE), CONSOLE_IP),
        ((PcpFilter(64, 0, ip_address("2001:db8:6::")),), CONSOLE_IP6),
    ],
)
async def test_a_filter_outside_the_grant_is_not_authorized_and_changes_nothing(
    tmp_path: Path, requested: tuple[PcpFilter, ...], client: str
) -> None:
    async with gateway_fixture(tmp_path, POLICY) as home:
        line = Line(home)
        refused = await line.map(8000, 8000, 3600, *requested, client=client)
        assert refused.result is ResultCode.NOT_AUTHORIZED
        assert (reached(line), listed(line)) == ([], [])
        (record,) = await home.store.decisions(RecordFilter())
        assert record.verdict != "allow"


@pytest.mark.spec("PCP-111", "PCP-124")
async def test_a_refresh_with_one_changes_nothing(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, POLICY) as home:
        line = Line(home)
        assert (await line.map(8000, 8000, 3600, INSIDE)).options == (INSIDE,)
        assert (await line.map(8000, 8000, 3600, OUTSIDE)).result is ResultCode.NOT_AUTHORIZED
        assert (await line.map(8000, 8000, 3600, CLEAR, OUTSIDE)).result is ResultCode.NOT_AUTHORIZED
        assert reached(line) == [("203.0.113.5/32", 5000)]
        assert listed(line) == ["203.0.113.5:5000"]


@pytest.mark.spec("PCP-111")
async def test_a_wider_filter_is_narrowed_to_the_grant_in_answer_and_list(tmp_path: Path) -> None:
    """Deviation: the option in the answer is not the one that was asked for, but the one that is in force."""
    async with gateway_fixture(tmp_path, POLICY) as home:
        line = Line(home)
        answer = await line.map(8000, 8000, 3600, WIDE, INSIDE)
        assert answer.options == (PcpFilter(120, 443, ip_address("203.0.113.0")), INSIDE)
        assert sorted(reached(line)) == [("203.0.113.0/24", 443), ("203.0.113.5/32", 5000)]
        assert listed(line) == ["203.0.113.0/24:443 203.0.113.5:5000"]
        six = await line.map(8000, 8000, 3600, PcpFilter(32, 0, ip_address("2001:db8::")), client=CONSOLE_IP6)
        assert six.options == (PcpFilter(48, 0, ip_address("2001:db8:5::")),)
        (_, pinhole) = home.decider.ledger.table
        update = build_update(pinhole, 60, 1, pinhole.internal.address)
        assert update is not None
        assert codec.parse_response(update).options == six.options
        assert listed(line)[1] == NET6


async def test_a_filter_is_granted_by_the_grant_that_has_its_hosts(tmp_path: Path) -> None:
    both = "version = 1\n" + GRANT.format("a", ["198.51.100.0/24"]) + GRANT.format("b", [NET])
    async with reload_home(tmp_path, both) as home:
        line = Line(home.gateway_fixture)
        assert (await line.map(8000, 8000, 3600, INSIDE)).options == (INSIDE,)
        home.file.write_text(both + "# read again\n")
        assert not (await home.policy_updates.reload()).revoked
        assert reached(line) == [("203.0.113.5/32", 5000)]


@pytest.mark.parametrize("way", ["reload", "restart", "renewal", "refresh"])
async def test_a_mapping_whose_filters_a_new_policy_excludes_ends_or_is_refused(tmp_path: Path, way: str) -> None:
    """The grant is for other hosts now than the FILTER. The row stayed active, and was listed for the FILTER's."""
    before, after = (f"version = 1\n{GRANT.format('ours', nets)}" for nets in ([NET], ["198.51.100.0/24"]))
    async with reload_home(tmp_path, before) as home:
        line = Line(home.gateway_fixture)
        assert (await line.map(8000, 8000, 7200, INSIDE)).options == (INSIDE,)
        if way == "reload":
            home.file.write_text(after)
            (revoked_mapping,) = (await home.policy_updates.reload()).revoked
            assert "no grant covers this request" in revoked_mapping.reason
        elif way != "restart":
            home.gateway_fixture.policy = policy(after)
            if way == "renewal":
                home.gateway_fixture.clock.pass_s(3601)
                await home.gateway_fixture.sweep()
            else:
                assert (await line.map(8000, 8000, 3600)).result is ResultCode.NOT_AUTHORIZED
                assert listed(line) == ["203.0.113.5:5000"], "the lease that it has goes on as it was"
                return
        if way != "restart":
            assert (reached(line), listed(line)) == ([], [])
    async with reload_home(tmp_path, after) as home:
        assert (reached(Line(home.gateway_fixture)), listed(Line(home.gateway_fixture))) == ([], [])


async def test_a_mapping_kept_under_a_new_policy_is_unchanged(tmp_path: Path) -> None:
    before, after = (f"version = 1\n{GRANT.format('ours', nets)}" for nets in ([NET], ["198.51.100.0/24"]))
    async with reload_home(tmp_path, before, on_reload="keep") as home:
        line = Line(home.gateway_fixture)
        await line.map(8000, 8000, 7200, INSIDE)
        home.file.write_text(after)
        (revoked_mapping,) = (await home.policy_updates.reload()).revoked
        assert revoked_mapping.kept
        assert reached(line) == [("203.0.113.5/32", 5000)]
