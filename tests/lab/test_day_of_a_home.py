"""A home from its first days to its own policy: observed, suggested, enforced. Packets prove every step.

A console, a NAS and a torrent client are used; a PC is infected: its port carries traffic too, and it asks for
everything; a guest asks as well. Days pass between runs of the daemon: the store is made older by that much.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from tests.lab.end_to_end import ROUTER, TCP, UDP, Home, served_home
from tests.lab.igd_control_point import refused
from upnp_gw.lab import CONSOLE, GUEST, PC, Lan, LanHost, Topology
from upnp_gw.lab.probe import EchoServer
from upnp_gw.model.mapping import Transport

pytestmark = pytest.mark.lab

NAS = LanHost("nas", 30, "00:11:32:00:00:02")
TORRENT = LanHost("torrent", 40, "00:25:90:00:00:04")
HOUSEHOLD = Lan(
    interface="lan0",
    network=IPv4Network("192.168.77.0/24"),
    network6=IPv6Network("2a11:2233:0:77::/64"),
    ula=IPv6Network("fd77:7777:7777:77::/64"),
    hosts=(CONSOLE, NAS, TORRENT, PC),
)
POLICY = f"""
# the policy of this home
version = 1
mode = "observe"
default = "deny"
[device.console]
mac = ["{CONSOLE.mac}"]
[device.nas]
mac = ["{NAS.mac}"]
[device.torrent]
mac = ["{TORRENT.mac}"]
[device.pc]
mac = ["{PC.mac}"]
[zone]
guests = ["{GUEST.network}"]
[[forbid]]
name = "guests-open-nothing"
zone = "guests"
[[forbid]]
name = "never-admin-ports"
int_ports = [22, 23, 135, "137-139", 445, 3389, 5900]
"""
USED: tuple[tuple[str, Transport, int, tuple[str, ...]], ...] = (
    ("console", UDP, 3074, ("peer1", "peer2", "peer3", "peer4", "peer5")),
    ("nas", TCP, 8443, ("peer1",)),
    ("torrent", TCP, 51413, ("peer1", "peer2", "peer3", "peer4", "peer5")),
    ("torrent", UDP, 51413, ("peer1", "peer2", "peer3", "peer4", "peer5")),
    ("pc", TCP, 4444, ("peer2",)),
)
"""The mappings in use, and their remote hosts. The last one is no service that anybody wants."""
DAYS_BETWEEN = 4


@dataclass
class Household:
    """The home, the services of its hosts, and what it learnt."""

    home: Home
    policy: Path

    def device(self, name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.home.ask("GET", "/v1/evidence")
        return [row for row in rows if row["device_name"] == name]

    def a_day(self) -> None:
        """Everybody asks for what they use, and it is used."""
        for name, transport, port, peers in USED:
            self.home.point(name).add(port, transport)
            for peer in peers:
                assert self.home.reach(port, transport, peer), (name, transport, port, peer)
        self.home.ask("GET", "/v1/evidence")  # and the counters are read

    def night(self) -> None:
        """The daemon stops, days pass, it starts again."""
        self.home.daemon.stop()
        with closing(sqlite3.connect(self.home.daemon.state_dir / "ledger.db")) as database, database:
            older = DAYS_BETWEEN * 86_400
            for table, *moments in (
                ("evidence", "first_asked", "last_asked", "last_used"),
                ("evidence_devices", "first_seen", "last_seen", "last_incident"),
                ("evidence_rules", "since", "last_in_force", "last_matched", "last_used"),
            ):
                database.execute(f"UPDATE {table} SET {', '.join(f'{m} = {m} - {older}' for m in moments)}")
            for rowid, days in database.execute(
                "SELECT (device || transport || port), days FROM evidence"
            ).fetchall():
                moved = " ".join(str(int(day) - DAYS_BETWEEN) for day in days.split())
                database.execute(
                    "UPDATE evidence SET days = ? WHERE (device || transport || port) = ?", (moved, rowid)
                )
        self.home.daemon.start()
        self.home.points.clear()

    def infection(self) -> None:
        """The PC asks for 27 ports that nobody should reach."""
        for port in range(20, 47):
            with refused(606):
                self.home.point("pc").add(port)


@contextmanager
def served(made: Home) -> Iterator[None]:
    with ExitStack() as stack:
        for name, transport, port, _ in USED:
            stack.enter_context(EchoServer(made.lab.hosts[name], transport, port))
        yield


@pytest.fixture(scope="module")
def learnt(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    """Three days of a home that is observed, and the policy that is suggested, in force."""
    directory = tmp_path_factory.mktemp("d")
    peers = tuple(f"peer{n}" for n in range(1, 6))
    with served_home(
        directory, *ROUTER, topology=Topology(lans=(HOUSEHOLD, GUEST), peers=peers), policy=POLICY
    ) as home:
        household = Household(home, directory / "policy.toml")
        with served(home):
            household.a_day()
            household.infection()
            home.point("torrent").add(6889)  # asked for, never used
            with refused(606):
                home.point("guest").add(8080)
            for _ in range(2):
                household.night()
                household.a_day()
            yield household


@pytest.fixture(scope="module")
def enforced(learnt: Household) -> Household:
    """The suggested policy is in force, and nothing of it was written by hand."""
    marked = [row for row in learnt.home.rows() if row["rule"] == "observe"]
    assert {(row["device_name"], row["internal_port"]) for row in marked} >= {("console", 3074), ("pc", 4444)}
    suggested = learnt.home.daemon.cli("policy", "suggest").stdout
    learnt.policy.write_text(suggested)
    learnt.home.gateway.run([*learnt.home.daemon.argv[:3], "policy", "check", str(learnt.policy)])
    learnt.home.ask("POST", "/v1/reload")
    return learnt


def test_traffic_is_known_by_days_and_remote_hosts(learnt: Household) -> None:
    (console,) = learnt.device("console")
    assert (console["days"], len(console["remotes"]), console["ungranted"]) == (3, 5, 3)
    (nas,) = learnt.device("nas")
    assert nas["remotes"] == [str(learnt.home.lab.hosts["peer1"].address)]
    never = [row["internal_port"] for row in learnt.device("torrent") if not row["days"]]
    assert never == [6889]
    assert [row["days"] for row in learnt.device("pc") if row["internal_port"] == 4444] == [3]


@pytest.mark.spec("SR-7")
def test_the_burst_was_one_incident(learnt: Household) -> None:
    incidents = learnt.home.ask("GET", "/v1/incidents")
    assert [(i["device_name"], i["action"]) for i in incidents] == [("pc", "freeze")]


def test_the_suggested_policy_covers_used_ports_and_nothing_of_the_pc(enforced: Household) -> None:
    text = enforced.policy.read_text()
    assert "# the policy of this home" in text
    assert 'who = "pc"' not in text
    assert "pc: it had an incident, so its traffic does not count" in text.replace("\n#   ", " ")
    grants = enforced.home.ask("GET", "/v1/status")["policy"]
    assert (grants["grants"], grants["mode"]) == (3, "enforce")


def test_ports_with_traffic_still_work(enforced: Household) -> None:
    for name, transport, port, peers in USED[:-1]:
        assert enforced.home.point(name).add(port, transport) == {}
        for peer in peers:
            assert enforced.home.reach(port, transport, peer).answered_by == name
    enforced.home.agree()


def test_the_nas_is_reached_by_its_peer_alone(enforced: Household) -> None:
    assert enforced.home.shut(8443, TCP, "peer2")


def test_observed_ports_are_closed_and_refused_with_a_reason(enforced: Household) -> None:
    home = enforced.home
    assert home.shut(4444, TCP, "peer2"), "the infected PC lost what it had"
    assert "torrent" not in {row["device_name"] for row in home.rows() if row["internal_port"] == 6889}
    for name, port in (("pc", 4444), ("pc", 9999), ("torrent", 6889), ("guest", 8080)):
        with refused(606):
            home.point(name).add(port)
    reasons = {
        (d["device_name"] or "guest", d["internal_port"]): d
        for d in home.ask("GET", "/v1/decisions?verdict=deny&limit=4")
    }
    assert reasons["pc", 4444]["reasons"][-1] == "this device is frozen after an incident"
    assert reasons["pc", 9999]["reasons"][-1] == "this device is frozen after an incident"
    assert reasons["torrent", 6889]["reasons"][-1] == "no grant covers this request"
    assert reasons["guest", 8080]["rule"] == "guests-open-nothing"
    for reason in reasons.values():
        explained = home.daemon.cli("explain", reason["id"]).stdout
        assert reason["reasons"][-1] in " ".join(explained.split())


def test_the_log_marks_requests_allowed_by_observing(enforced: Household) -> None:
    log = enforced.home.daemon.cli("log", "--device", "console", "--limit", "1000").stdout
    assert "[observe] allowed: the gateway is in observe mode" in log
    assert len(enforced.home.ask("GET", "/v1/incidents")) == 1, "still one"
