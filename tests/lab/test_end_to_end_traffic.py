"""Traffic through mappings: consoles with one port number, hairpin, deletes, several addresses, other tables.

Everything twice: as the whole router, and beside a masquerade of somebody else.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.lab_firewall import masquerading
from tests.fixtures.waiting import until
from tests.lab.end_to_end import ROUTER, TCP, UDP, Home, ended, served_home
from upnp_gw.lab import GUEST, HOME, Lab, Topology
from upnp_gw.lab.daemon import DaemonFailed
from upnp_gw.lab.probe import EchoServer, dial, reach
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

WIDE = Topology(lans=(HOME, GUEST), external=2)
FLOW_S = 2.0
CUT_S = 12.0
"""A deleted mapping's flows are cut after 5 s; and a loaded machine."""


@pytest.fixture(scope="module", params=["router", "alongside"])
def module_home(
    namespaces: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Home]:
    router = request.param == "router"
    before: Callable[[Lab], None] = (lambda lab: None) if router else masquerading
    with served_home(
        tmp_path_factory.mktemp("d"), "--firewall", request.param, topology=WIDE, before=before
    ) as home:
        yield home


def test_two_consoles_with_one_internal_port_are_two_to_the_internet(home: Home) -> None:
    """Each leaves from its own external port, and a third peer that calls back there reaches the right one."""
    first, second = home.point("console"), home.point("pc", IgdVersion.IGD2)
    first.add(3074, UDP)
    second.add(3075, UDP, NewInternalPort=3074)
    with (
        EchoServer(home.console, UDP, 3074) as game1,
        EchoServer(home.pc, UDP, 3074) as game2,
        EchoServer(home.peer, UDP, 3074),
    ):
        for _ in range(2):
            endpoints = [game.reach(home.peer.address, 3074, timeout=3) for game in (game1, game2)]
            assert [(proof.seen_from, proof.seen_port) for proof in endpoints] == [
                (home.external, 3074),
                (home.external, 3075),
            ]
        assert home.reach(3074, UDP, "peer2").answered_by == "console"
        assert home.reach(3075, UDP, "peer2").answered_by == "pc"


@pytest.mark.parametrize("name", ["console", "pc", "guest"])
def test_a_mapped_port_is_reached_from_every_lan(home: Home, name: str) -> None:
    """Also by the console itself, as games test their own port."""
    home.point().add(8080)
    home.point().add(3074, UDP)
    with EchoServer(home.console, TCP, 8080), EchoServer(home.console, UDP, 3074):
        for transport, port in ((TCP, 8080), (UDP, 3074)):
            assert reach(home.lab.hosts[name], transport, home.external, port, timeout=3).answered_by == "console"
        assert reach(home.lab.hosts[name], TCP, home.external, 8081, timeout=3).how in ("reset", "timeout")


# Each of these has a port of its own: a cut just ordered by the clean-up may still be under way.


def test_a_deleted_mapping_loses_its_flow_and_one_that_comes_back_keeps_it(home: Home) -> None:
    """Clients renew by delete and add."""
    point = home.point()
    for port in (8090, 8091):
        point.add(port)
    with (
        EchoServer(home.console, TCP, 8090),
        EchoServer(home.console, TCP, 8091),
        dial(home.peer, TCP, home.external, 8090, timeout=FLOW_S) as ends,
        dial(home.peer, TCP, home.external, 8091, timeout=FLOW_S) as stays,
    ):
        assert ends.ask()
        assert stays.ask()
        for port in (8090, 8091):
            point.delete(port)
        assert not until(lambda: ended(stays), 1.0), "cut after a second already"
        point.add(8091)
        assert ends.ask()
        assert until(lambda: ended(ends), CUT_S)
        assert stays.ask()
        assert home.shut(8090)
        assert home.reach(8091)


def test_the_operator_cuts_at_once(home: Home) -> None:
    home.point().add(8092)
    with EchoServer(home.console, TCP, 8092), dial(home.peer, TCP, home.external, 8092, timeout=FLOW_S) as call:
        assert call.ask()
        home.daemon.cli("delete", home.row(8092)["id"])
        assert until(lambda: ended(call), CUT_S)
        assert home.shut(8092)


def test_a_mapping_moved_to_another_port_takes_no_old_flow_along(home: Home) -> None:
    point = home.point()
    point.add(8093, NewInternalPort=8000)
    with (
        EchoServer(home.console, TCP, 8000),
        EchoServer(home.console, TCP, 8001) as after,
        dial(home.peer, TCP, home.external, 8093, timeout=FLOW_S) as call,
    ):
        assert call.ask()
        point.add(8093, NewInternalPort=8001)
        assert until(lambda: ended(call), CUT_S)
        assert home.reach(8093)
        assert len(after.seen) == 1


def test_several_external_addresses(home: Home) -> None:
    """A control point's mapping is on all of them; the operator can name one."""
    first, second = home.lab.external
    home.point().add(8080)
    added = {"transport": "tcp", "external_port": 8081, "internal_client": str(home.pc.address)}
    made = home.ask("POST", "/v1/mappings", {**added, "external_address": str(second)})
    assert made["external_address"] == str(second)
    with EchoServer(home.console, TCP, 8080), EchoServer(home.pc, TCP, 8081):
        assert all(home.reach(8080, address=address).answered_by == "console" for address in (first, second))
        assert home.reach(8081, address=second).answered_by == "pc"
        assert home.shut(8081)


def test_passed_traffic_is_counted(home: Home) -> None:
    home.point().add(8080)
    with EchoServer(home.console, TCP, 8080):
        for _ in range(3):
            assert home.reach(8080)
        assert until(lambda: home.row(8080)["connections"] >= 3, 30), home.row(8080)
    row = home.row(8080)
    assert row["bytes"] > 3 * 40 * 5
    assert row["last_used"] is not None


# -- another table that filters

FILTER = """
table inet strict {
  chain forwarding { type filter hook forward priority 10; policy drop;
    ct state established,related accept
    iifname "lan0" oifname "wan0" accept
  }
}
"""


def filtering(lab: Lab) -> None:
    masquerading(lab)
    lab.gateway.nft(FILTER)


def strict_of(home: Home) -> list[dict[str, str]]:
    """The doctor's findings about the other table."""
    return [check for check in home.ask("GET", "/v1/doctor") if "strict" in check["finding"]]


def test_the_doctor_names_the_chain_that_drops_and_the_line_that_helps(namespaces: None, tmp_path: Path) -> None:
    with served_home(tmp_path, before=filtering) as home:
        home.point().add(8080)
        with EchoServer(home.console, TCP, 8080):
            assert home.shut(8080), "an accept of ours does not overrule a drop of theirs"
            found = {check["finding"].rpartition(" drops ")[2]: check for check in strict_of(home)}
            assert all(check["outcome"] == "fail" for check in found.values())
            assert "inet strict forwarding" in found["mapped traffic"]["finding"]
            for check in found.values():
                (line,) = re.findall(r"nft (insert rule .*)$", check["remedy"])
                home.gateway.nft(line)
            assert home.reach(8080)
            assert reach(home.pc, TCP, home.external, 8080, timeout=3), "hairpin passes that chain too"
            assert strict_of(home) == []


def test_a_whole_router_refuses_to_start_beside_another_filter(namespaces: None, tmp_path: Path) -> None:
    with pytest.raises(DaemonFailed, match="strict"), served_home(tmp_path, *ROUTER, before=filtering):
        pass
