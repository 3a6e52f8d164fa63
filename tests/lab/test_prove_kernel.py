"""``policy prove --kernel`` and the doctor's check: with the daemon, without it, and beside what others let in."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import ROUTER, TCP, UDP, Home, pinhole, served_home
from tests.lab.office import BESIDE, WITHOUT_NAT, served_office
from tests.lab.test_closed_table import CLOSED
from upnp_gw.firewall.nftables import uninstall
from upnp_gw.lab.probe import EchoServer, dial
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

FOREIGN_DNAT = """
table ip foreign {{
  chain prerouting {{ type nat hook prerouting priority dstnat; policy accept;
    iifname "wan0" tcp dport 2222 dnat to {host}:22; }}
}}
"""


def proved(home: Home, *options: str, code: int = 0) -> dict[str, Any]:
    """The answer of the command, which ends with this code."""
    done = home.daemon.cli("policy", "prove", "--kernel", "--json", *options, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def asked(home: Home) -> dict[str, Any]:
    """The answer of the running daemon."""
    found: dict[str, Any] = home.ask("GET", "/v1/policy/kernel")
    return found


def checks(home: Home) -> dict[str, str]:
    """Finding -> outcome, of the doctor's check."""
    listed = json.loads(home.daemon.cli("doctor", "--json", check=False).stdout)
    return {check["finding"]: check["outcome"] for check in listed if check["name"] == "kernel"}


@pytest.fixture(scope="module")
def module_home(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with served_home(tmp_path_factory.mktemp("d"), *ROUTER) as home:
        yield home


def test_mappings_alone_let_packets_in(home: Home) -> None:
    point = home.point(igd_version=IgdVersion.IGD2)
    point.add(8080)
    point.add(8081, NewRemoteHost=home.peer.address)
    point.add(3074, UDP)
    pinhole(point, 8443)
    with EchoServer(home.console, TCP, 8080), dial(home.peer, TCP, home.external, 8080) as call:
        assert call.ask()
        found = asked(home)
    assert (found["verdict"], found["mappings"], found["shut"], found["flows"]) == ("proved", 4, [], 1)
    assert found["seconds"] < 5
    text = home.daemon.cli("policy", "prove", "--kernel").stdout
    assert text.startswith("proved: nothing from the WAN reaches a LAN host but by a mapping (4 active mappings, ")
    assert checks(home) == {"nothing from wan0 reaches a host of the LAN but through a mapping": "ok"}


def test_a_static_forward_of_another_table_is_named_and_is_its_operators_own(home: Home) -> None:
    home.gateway.nft(FOREIGN_DNAT.format(host=home.console.address))
    with EchoServer(home.console, TCP, 22):
        assert home.reach(2222).answered_by == "console"
        opening, flow = proved(home, code=1)["findings"]
        assert set(checks(home).values()) == {"warn"}
    home.gateway.nft("delete table ip foreign")
    assert flow["fault"] == "flow"
    home.gateway.run(["conntrack", "-F"])
    assert (opening["fault"], opening["packet"]["port"], opening["packet"]["host_port"]) == ("no-mapping", 2222, 22)
    assert opening["rules"][0].startswith("ip foreign prerouting, handle ")
    assert asked(home)["verdict"] == "proved"


def test_flows_of_ended_mappings_are_findings_only_while_they_should_not_go_on(home: Home) -> None:
    point = home.point()
    point.add(8080)
    with EchoServer(home.console, TCP, 8080), dial(home.peer, TCP, home.external, 8080) as call:
        assert call.ask()
        point.delete(8080)
        assert asked(home)["verdict"] == "proved", "a client may renew by delete and add"
        assert until(lambda: not call.ask(), 20)
        assert asked(home)["flows"] == 0


def test_it_is_checked_while_leases_come_and_go(home: Home) -> None:
    """Ledger and kernel are read at one moment, or again."""
    point = home.point(igd_version=IgdVersion.IGD2)
    for round in range(4):
        for port in range(8000, 8020):
            point.add(port, NewLeaseDuration=1 + port % 2)
        assert home.unproved() == "", round
    assert until(lambda: not home.rows(), 20)


def test_the_kernel_is_proved_while_no_daemon_runs(namespaces: None, tmp_path: Path) -> None:
    with served_home(tmp_path, *ROUTER) as home:
        point = home.point(igd_version=IgdVersion.IGD2)
        point.add(8080, NewLeaseDuration=3600)
        pinhole(point, 8443)
        options = ("--lan", "lan0", "--wan", "wan0", "--state-dir", str(home.daemon.state_dir))
        with EchoServer(home.console, TCP, 8080):
            home.daemon.kill()
            found = proved(home, *options)
            assert (found["verdict"], found["mappings"], found["shut"]) == ("proved", 2, [])
            assert home.reach(8080)
            home.gateway.nft("insert rule inet upnp_gw forward udp dport 9 accept")
            assert proved(home, *options, code=1)["findings"][0]["packet"]["port"] == 9
        home.daemon.start()
        home.daemon.stop()
        assert proved(home, *options)["verdict"] == "proved"
        assert home.gateway.call(uninstall)
        home.gateway.nft(CLOSED.read_text("utf-8").replace('"eth0"', '"wan0"'))
        home.gateway.sysctl("net/ipv4/ip_forward", "1")
        home.gateway.sysctl("net/ipv6/conf/all/forwarding", "1")
        found = proved(home, *options)
        assert (found["verdict"], len(found["shut"])) == ("proved", 2)
        home.gateway.nft("delete table inet upnp_gw")
        assert proved(home, *options, code=1)["verdict"] == "open"


@pytest.mark.parametrize("mode", [ROUTER, ()], ids=["router", "alongside"])
def test_several_lans_one_of_them_without_nat(namespaces: None, tmp_path: Path, mode: tuple[str, ...]) -> None:
    with served_office(tmp_path, *mode, topology=BESIDE, config=WITHOUT_NAT) as office, ExitStack() as stack:
        home = office.home
        for switch in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            home.gateway.sysctl(switch, "1")
        for host in (home.console, office.server):
            point = home.point(host.name, IgdVersion.IGD2)
            point.add(8080)
            if mode:  # alongside, nothing filters IPv6, and no pinhole is needed
                pinhole(point, 8443)
            stack.enter_context(EchoServer(host, TCP, 8080))
        assert home.reach(8080).answered_by == "console"
        assert office.reach(8080).answered_by == "server"
        found = asked(home)
        assert found["verdict"] == ("proved" if mode else "open")
        assert found["shut"] == []
        if not mode:  # nothing of this machine filters
            assert {finding["fault"] for finding in found["findings"]} >= {"no-mapping"}
            assert set(checks(home).values()) == {"warn"}
