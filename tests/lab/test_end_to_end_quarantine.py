"""Quarantine, proved by packets: what the device held is shut, its live flows are cut, and nobody else notices."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import ROUTER, TCP, UDP, Home, ended, served_home
from tests.lab.igd_control_point import Fault, refused
from tests.lab.test_pinholes import at, pinhole
from upnp_gw.lab.probe import EchoServer, OpenConnection, dial
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

INCIDENT_AFTER = 5
POLICY = f"""
version = 1
default = "deny"
[limits]
requests_per_minute = 600
incident_after = {INCIDENT_AFTER}
on_incident = "quarantine"
[[grant]]
name = "games"
who = "*"
family = ["ip4", "ip6"]
int_ports = [3074, "8080-8099"]
max_mappings = 8
owner = "the test"
reason = "what everybody may have"
review_by = 2099-01-01
"""
LOCKED = Path(__file__).parents[2] / "examples" / "policies" / "locked.toml"
QAKBOT = tuple(range(20_000, 20_027))
"""As many ports as it asked for in one minute."""


@pytest.fixture
def home(namespaces: None, tmp_path: Path) -> Iterator[Home]:
    with served_home(tmp_path, *ROUTER, policy=POLICY) as home:
        yield home


def burst(home: Home, ports: tuple[int, ...], host: str = "pc") -> list[int]:
    """Asks for every port; the error codes, in order."""
    codes = []
    for port in ports:
        try:
            home.point(host).add(port)
        except Fault as fault:
            codes.append(fault.code)
    return codes


@pytest.mark.spec("SR-7")
def test_quarantine_cuts_live_flows_and_closes_ports_until_released(home: Home) -> None:
    pc, console, peer = home.pc, home.console, home.peer
    home.point("pc").add(8080)
    home.point("pc").add(3074, UDP)
    pinhole(home.point("pc", IgdVersion.IGD2), 8090)
    home.point().add(8081)
    pinhole(home.point(igd_version=IgdVersion.IGD2), 8091)
    with ExitStack() as stack:
        for host, transport, port in (
            *((pc, TCP, 8080), (pc, UDP, 3074), (pc, TCP, 8090), (pc, TCP, 8085)),
            *((console, TCP, 8081), (console, TCP, 8091)),
        ):
            stack.enter_context(EchoServer(host, transport, port))

        def live(host: str) -> list[OpenConnection]:
            """Flows from the internet through everything that a host has open: TCP, UDP and a pinhole."""
            port, hole = {"pc": (8080, 8090), "console": (8081, 8091)}[host]
            address6 = home.lab.hosts[host].address6
            calls = [dial(peer, TCP, home.external, port), dial(peer, TCP, address6, hole)]
            if host == "pc":
                calls.append(dial(peer, UDP, home.external, 3074))
            made = [stack.enter_context(call) for call in calls]
            assert [call.ask().answered_by for call in made] == [host] * len(made)
            return made

        infected, others = live("pc"), live("console")
        with home.watch() as watch:
            home.point("pc").add(8085, NewLeaseDuration=1)
            infected.append(stack.enter_context(dial(peer, TCP, home.external, 8085)))
            assert infected[-1].ask()
            watch.wait("removed", why="expired", external_port=8085)
            assert infected[-1].ask(), "an expired mapping's flows live for another minute"
            assert burst(home, tuple(range(100, 100 + INCIDENT_AFTER))) == [606] * INCIDENT_AFTER
            for port in (8080, 3074):
                watch.wait("removed", why="quarantine", external_port=port)
        assert until(lambda: all(ended(call) for call in infected))
        assert home.shut(8080)
        assert home.shut(3074, UDP)
        assert not at(peer, pc.address6, 8090)
        assert [call.ask().answered_by for call in others] == ["console"] * 2, "the flows of another device live on"
        assert home.reach(8081).answered_by == "console"
        assert at(peer, console.address6, 8091).answered_by == "console"
        assert {(row["device"], row["external_port"]) for row in home.rows()} == {
            (console.mac, 8081),
            (console.mac, 8091),
        }
        assert {element[1] for element in home.installed().values()} == {8081, 8091}

        with refused(606):
            home.point("pc").add(8080)  # inside its grant, and it is in quarantine
        (incident,) = home.ask("GET", "/v1/incidents")
        assert (incident["device"], incident["action"]) == (pc.mac, "quarantine")
        assert "is in quarantine until" in home.daemon.cli("list", columns=200).stdout.splitlines()[0]

        output = home.daemon.cli("release", str(pc.address)).stdout
        assert pc.mac in output or str(pc.address) in output
        assert home.ask("GET", "/v1/incidents") == []
        assert home.shut(8080), "what was taken away does not come back by itself"
        assert all(ended(call) for call in infected)
        home.point("pc").add(8080)
        home.point("pc").add(3074, UDP)
        pinhole(home.point("pc", IgdVersion.IGD2), 8090)
        live("pc")
        assert [call.ask().answered_by for call in others] == ["console"] * 2


@pytest.mark.spec("SR-6", "SR-7")
def test_27_requests_in_a_minute_without_a_grant_open_nothing_and_are_one_incident(
    namespaces: None, tmp_path: Path
) -> None:
    with served_home(tmp_path, *ROUTER, policy=LOCKED.read_text("utf-8")) as home, home.watch() as watch:
        assert burst(home, QAKBOT) == [606] * len(QAKBOT)
        watch.wait("incident")
        assert home.rows() == []
        assert home.installed() == {}
        (incident,) = home.ask("GET", "/v1/incidents")
        assert incident["device"] == home.pc.mac
        with EchoServer(home.pc, TCP, QAKBOT[0]):
            assert home.shut(QAKBOT[0])
        home.point("console", IgdVersion.IGD2).external_address()
        assert [event["event"] for event in watch.events].count("incident") == 1, "one alarm, not 27"
        alarms = [line for line in home.daemon.output if line.startswith("WARNING") and "incident" in line]
        assert len(alarms) == 1
