"""Grants with ``hours`` or ``until``: what they opened ends with them, to the second and with its flows."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE_IP, Clock, GatewayFixture, gateway_fixture
from upnp_gw.engine.environment import clock_change_s
from upnp_gw.gate.load import load_text
from upnp_gw.gate.schema import Policy
from upnp_gw.ledger.events import TableChanged
from upnp_gw.model.mapping import Instant, IPAddress, Transport, Via
from upnp_gw.model.request import PortChoice

TCP = Transport.TCP
BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
GRANT = """
[[grant]]
name = "console"
who = "console"
int_ports = ["1024-65535"]
"""
POLICY = """
version = 1
[device.console]
mac = ["ac:89:95:00:00:01"]
"""


def timed(*rules: str) -> Policy:
    """One grant for each of these lines."""
    grants = (GRANT.replace('"console"\nwho', f'"g{place}"\nwho') + rule for place, rule in enumerate(rules))
    return load_text(POLICY + "".join(grants), "timed", date.min).policy


def hours(text: str) -> str:
    return f'hours = "{text}"'


def wall(text: str) -> float:
    """The seconds of a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def at(text: str) -> Clock:
    clock = Clock()
    clock.now = Instant(1000.0, wall(text))
    return clock


async def move(home: GatewayFixture, text: str) -> None:
    """Time passes until this moment in UTC; what is due is done."""
    home.clock.pass_s(wall(text) - home.clock.now.wall)
    await home.sweep()


@pytest.fixture(autouse=True)
def _local_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tests say what the local time is; this process had another."""
    monkeypatch.setenv("TZ", "UTC0")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch, _local_time: None) -> None:
    monkeypatch.setenv("TZ", BERLIN)
    time.tzset()


@pytest.mark.parametrize(
    ("rule", "end"),
    [
        (hours("06:00-23:00"), "2027-01-15T23:00"),
        (hours("20:00-02:30"), "2027-01-16T02:30"),
        (hours("20:00-24:00"), "2027-01-16T00:00"),
        (hours("fri 20:00-02:30"), "2027-01-16T02:30"),
        ('hours = ["mon 06:00-07:00", "fri-sat 06:00-23:00"]', "2027-01-15T23:00"),
        (hours("fri"), "2027-01-16T00:00"),
        ("until = 2027-01-15T23:00:00Z", "2027-01-15T23:00"),
    ],
)
@pytest.mark.parametrize("via", [Via.IGD1, Via.NATPMP, Via.PCP])
async def test_a_mapping_ends_with_the_hours_of_its_grant_and_so_do_its_flows(
    tmp_path: Path, rule: str, end: str, via: Via
) -> None:
    choice = PortChoice.EXACT if via is Via.IGD1 else PortChoice.SUGGESTED
    async with gateway_fixture(tmp_path, timed(rule), at("2027-01-15T22:10:12.345")) as home:
        await home.granted(8080, via=via, lifetime=6 * 3600, choice=choice)
        while home.clock.now.wall + 3600 < wall(end):
            home.clock.pass_s(3600)
            await home.sweep()
        await move(home, datetime.fromtimestamp(wall(end) - 0.01, UTC).isoformat()[:-6])
        assert home.ports == {(TCP, 8080)}
        assert not home.firewall.cuts
        forward, until = next(iter(home.firewall.installed.values()))
        late = until - home.clock.now.boot - 0.01
        assert late <= 1, f"a kernel alone ends it {late} s late"
        home.present.clear()
        home.clock.pass_s(0.02)
        await home.sweep()
        assert home.ports == set()
        assert [cut.id for cut in home.firewall.cuts] == [forward.id], "its flows end now"
        removed = [why for event in home.events if isinstance(event, TableChanged) for _, why in event.removed]
        assert removed == ["policy"]
        assert home.decider.ledger.deadlines.next() is None


async def test_an_absent_device_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hourly look asks whether the device is there, which takes seconds; the hours end meanwhile."""
    async with gateway_fixture(tmp_path, timed(hours("06:00-23:00")), at("2027-01-15T21:59:59.5")) as home:
        await home.granted(8080, lifetime=None)
        probe_began, answer = asyncio.Event(), asyncio.Event()

        async def slow(address: IPAddress, interface: str) -> bool:
            probe_began.set()
            await answer.wait()
            return True

        monkeypatch.setattr(home.scheduler, "_probe", slow)
        home.clock.pass_s(3600)  # half a second before the end
        home.scheduler.sweep()
        await probe_began.wait()
        home.clock.pass_s(0.5)
        home.scheduler.sweep()
        await home.gateway.settled()
        assert home.ports == set()
        answer.set()
        await home.sweep()
        assert home.ports == set()
        assert not list(home.decider.ledger.table)


@pytest.mark.parametrize("rules", [(hours("00:00-24:00"),), (hours("06:00-23:00"), hours("22:00-24:00"))])
async def test_a_mapping_that_is_still_granted_continues(tmp_path: Path, rules: tuple[str, ...]) -> None:
    """Hours of a whole day have no end; another grant may take over. Nothing is interrupted by the look."""
    async with gateway_fixture(tmp_path, timed(*rules), at("2027-01-15T22:10:00")) as home:
        await home.granted(8080, lifetime=None)
        home.events.clear()
        await move(home, "2027-01-15T23:00:00")
        assert home.ports == {(TCP, 8080)}
        await move(home, "2027-01-16T00:00:00")
        assert home.ports == ({(TCP, 8080)} if len(rules) == 1 else set())


FORBID = """
[[forbid]]
name = "night"
hours = "{hours}"
{more}
"""


def forbidden(hours: str, more: str = "") -> Policy:
    """A grant of always, and a forbid with hours; Monday 2027-01-18 is a holiday."""
    text = f"holidays = [2027-01-18]{POLICY}{GRANT}{FORBID.format(hours=hours, more=more)}"
    return load_text(text, "timed", date.min).policy


@pytest.mark.parametrize(
    ("window", "begin"),
    [
        ("23:00-06:00", "2027-01-15T23:00"),
        ("sat", "2027-01-16T00:00"),
        ("holidays 08:00-09:00", "2027-01-18T08:00"),
        ("mon-sun 23:30-23:40", "2027-01-15T23:30"),
    ],
)
@pytest.mark.parametrize("via", [Via.IGD1, Via.PCP])
async def test_a_mapping_ends_when_the_hours_of_a_forbid_begin(
    tmp_path: Path, window: str, begin: str, via: Via
) -> None:
    choice = PortChoice.EXACT if via is Via.IGD1 else PortChoice.SUGGESTED
    async with gateway_fixture(tmp_path, forbidden(window), at("2027-01-15T22:10:12.345")) as home:
        lease = 80 * 3600 if via is Via.IGD1 else 3600
        await home.granted(8080, via=via, lifetime=lease, choice=choice)
        while home.clock.now.wall + 3000 < wall(begin):
            home.clock.pass_s(3000)
            await home.sweep()
            if via is Via.PCP:
                await home.granted(8080, via=via, lifetime=lease, choice=choice)
        await move(home, datetime.fromtimestamp(wall(begin) - 0.01, UTC).isoformat()[:-6])
        assert home.ports == {(TCP, 8080)}
        _, until = next(iter(home.firewall.installed.values()))
        assert until - home.clock.now.boot <= 1.01, "a kernel alone ends it in time"
        home.clock.pass_s(0.02)
        await home.sweep()
        assert home.ports == set()
        assert len(home.firewall.cuts) == 1
        assert (await home.refused(8080)).reason == "forbidden by rule night"


async def test_remote_hosts_are_kept_out_only_in_the_hours_of_a_forbid(tmp_path: Path) -> None:
    policy = forbidden("23:00-23:30", 'remote = ["203.0.113.0/24"]')
    async with gateway_fixture(tmp_path, policy, at("2027-01-15T22:59:00")) as home:
        await home.granted(8080, lifetime=None)

        def lets_in() -> list[bool]:
            hosts = map(ip_address, ("203.0.113.7", "198.51.100.7"))
            return [home.firewall.reach(TCP, 8080, host) is not None for host in hosts]

        assert lets_in() == [True, True]
        await move(home, "2027-01-15T23:00:00")
        assert lets_in() == [False, True]
        assert len(home.firewall.cuts) == 1
        await move(home, "2027-01-15T23:30:00")
        assert lets_in() == [True, True]


async def test_a_whole_day_shortens_no_lease(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, timed(hours("00:00-24:00")), at("2027-01-15T23:59:30")) as home:
        made = await home.granted(8080, via=Via.NATPMP, lifetime=7200, choice=PortChoice.SUGGESTED)
        assert made.lifetime_s == 7200


async def test_a_granted_lease_ends_with_the_hours(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, timed(hours("06:00-23:00")), at("2027-01-15T22:59:17.25")) as home:
        made = await home.granted(8080, via=Via.PCP, lifetime=7200, choice=PortChoice.SUGGESTED)
        assert made.lifetime_s == 43
        assert made.mapping.internal.address == ip_address(CONSOLE_IP)


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("window", "begin", "open_before", "shut"),
    [
        # 2027-03-28 01:00 UTC: 02:00 becomes 03:00
        ("20:00-02:30", "2027-03-28T00:10", "2027-03-28T00:59:59", "2027-03-28T01:00"),
        ("20:00-04:00", "2027-03-28T00:10", "2027-03-28T01:59:59", "2027-03-28T02:00"),
        # 2027-10-31 01:00 UTC: 03:00 becomes 02:00 again
        ("20:00-04:00", "2027-10-31T00:10", "2027-10-31T02:59:59", "2027-10-31T03:00"),
        ("02:30-04:00", "2027-10-31T00:40", "2027-10-31T00:59:59", "2027-10-31T01:00"),
        ("20:00-02:30", "2027-10-31T00:10", "2027-10-31T00:29:59", "2027-10-31T00:30"),
    ],
)
async def test_hours_are_the_local_clocks_when_it_is_set_forward_or_back(
    tmp_path: Path, window: str, begin: str, open_before: str, shut: str
) -> None:
    async with gateway_fixture(tmp_path, timed(hours(window)), at(begin)) as home:
        made = await home.granted(8080, lifetime=None)
        assert (await home.granted(9090, via=Via.PCP, lifetime=86400, choice=PortChoice.SUGGESTED)).lifetime_s <= (
            wall(shut) - wall(begin)
        ), "no client gets a lease beyond it"
        for _ in range(5):  # as the hourly looks come
            if (due := home.decider.ledger.deadlines.next()) is None or due > 1000 + wall(open_before) - wall(
                begin
            ):
                break
            home.clock.pass_s(due - home.clock.now.boot)
            await home.sweep()
        await move(home, open_before)
        assert (TCP, made.mapping.key.external_port) in home.ports
        await move(home, shut)
        assert home.ports == set()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        ("2027-03-27T01:00:01", 86399.0),
        ("2027-03-28T00:59:59.5", 0.5),
        ("2027-10-31T00:59:00", 60.0),
        ("2027-03-28T01:00:00", None),
        ("2027-07-01T12:00:00", None),
    ],
)
def test_the_next_change_of_the_local_clock(moment: str, seconds: float | None) -> None:
    assert clock_change_s(wall(moment)) == seconds


@pytest.mark.parametrize("jump", [3600.0, -20 * 3600.0])
async def test_setting_the_wall_clock_ends_mappings_outside_their_hours(tmp_path: Path, jump: float) -> None:
    async with gateway_fixture(tmp_path, timed(hours("10:00-23:00")), at("2027-01-15T22:10")) as home:
        await home.granted(8080, lifetime=None)
        home.clock.now = Instant(home.clock.now.boot + 1, home.clock.now.wall + 1 + jump)
        await home.sweep()
        assert home.ports == set()


async def test_a_wall_clock_that_is_set_forward_within_the_hours_moves_their_end(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, timed(hours("10:00-23:00")), at("2027-01-15T22:10")) as home:
        await home.granted(8080, lifetime=None)
        home.clock.now = Instant(home.clock.now.boot + 1, wall("2027-01-15T22:50"))
        await home.sweep()
        assert home.ports == {(TCP, 8080)}
        await move(home, "2027-01-15T23:00")
        assert home.ports == set()
