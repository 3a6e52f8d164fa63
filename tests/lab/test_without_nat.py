"""A LAN without NAT beside one with it: its hosts' own addresses and ports, open and shut, proved by packets."""

import re
import socket
from collections.abc import Iterator
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import REACHED_S, ROUTER, SHUT_S, TCP, UDP, ended, pinhole
from tests.lab.igd_control_point import Subscriber, refused
from tests.lab.office import (
    ALONE,
    NO_NAT_AT_ALL,
    PORT,
    WAYS,
    WITHOUT_NAT,
    Office,
    listening,
    natpmpc,
    pcp,
    served_office,
)
from tests.lab.test_port5351 import listening as port5350
from upnp_gw.lab import OFFICE, Lab
from upnp_gw.lab.lab import FORWARDING
from upnp_gw.lab.probe import EchoServer, dial, reach
from upnp_gw.lab.topology import INTERNET, WAN_NETWORK6
from upnp_gw.model.mapping import Transport
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp.messages import PcpFilter, PreferFailure, ResultCode, ThirdParty

pytestmark = pytest.mark.lab

FLOW_S = 1.0
CUT_S = 12.0
"""A deleted mapping's flows are cut after 5 s; and a loaded machine."""
V2 = IgdVersion.IGD2
POLICY = """
version = 1
default = "deny"
[limits]
per_device = 400
requests_per_minute = 6000
incident_after = 1000
[[grant]]
name = "everyone"
who = "*"
max_mappings = 400
[[grant]]
name = "web"
who = "*"
zone = "office"
int_ports = [443]
ext_ports = [443]
proto = "tcp"
[[grant]]
name = "the-desk-asks-for-the-server"
who = "desk"
for = ["11.60.77.10"]
[zone]
office = ["11.60.77.0/24"]
[device.desk]
mac = ["3c:52:82:00:00:05"]
lan = "lan1"
"""


@pytest.fixture(scope="module")
def module_office(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with served_office(tmp_path_factory.mktemp("d"), *ROUTER, policy=POLICY) as office:
        yield office


@pytest.fixture
def office(module_office: Office) -> Iterator[Office]:
    yield module_office
    try:
        module_office.home.agree()
    finally:
        module_office.home.clear()


@pytest.mark.parametrize("transport", list(Transport))
def test_that_port_of_that_host_alone(office: Office, transport: Transport) -> None:
    """At its own address; nothing is translated."""
    server, desk, other = office.server, office.desk, UDP if transport is TCP else TCP
    with listening((server, transport, PORT), (server, other, PORT), (desk, transport, PORT)):
        office.home.point("server", V2).add(PORT, transport)
        proof = office.reach(PORT, transport)
        assert (proof.answered_by, proof.seen_from) == ("server", office.home.peer.address)
        assert office.shut(PORT, other)
        assert office.shut(PORT, transport, address=desk.address)
        assert office.home.shut(PORT, transport), "the gateway's own address has no such port"
        (row,) = office.home.rows()
        place = (row["external_address"], row["external_port"], row["internal_client"], row["internal_port"])
        assert place == (str(server.address), PORT, str(server.address), PORT)


@pytest.mark.spec("IGD-205", "IGD-206", "PMP-082", "PCP-190")
@pytest.mark.parametrize("way", WAYS)
def test_closed_open_closed_over_udp(office: Office, way: str) -> None:
    ask, let_go = WAYS[way]
    with listening((office.server, UDP, PORT)):
        assert office.shut(PORT, UDP)
        ask(office, office.server, PORT, UDP)
        assert office.reach(PORT, UDP).answered_by == "server"
        let_go(office, office.server, PORT, UDP)
        assert office.shut(PORT, UDP)
    assert office.home.rows() == []


@pytest.mark.spec("IGD-207")
@pytest.mark.parametrize("way", WAYS)
def test_two_hosts_hold_443_and_each_ends_its_own(office: Office, way: str) -> None:
    ask, let_go = WAYS[way]
    hosts = (office.server, office.desk)
    with listening(*((host, TCP, 443) for host in hosts)):
        for host in hosts:
            ask(office, host, 443, TCP)
        for host in hosts:
            assert office.reach(443, address=host.address).answered_by == host.name
        let_go(office, office.server, 443, TCP)
        assert office.shut(443)
        assert office.reach(443, address=office.desk.address).answered_by == "desk"
        let_go(office, office.desk, 443, TCP)
        assert office.shut(443, address=office.desk.address)


@pytest.mark.spec("IGD-205")
@pytest.mark.parametrize(("igd_version", "code"), [(IgdVersion.IGD1, 724), (IgdVersion.IGD2, 718)])
def test_igd_refuses_another_external_port(office: Office, igd_version: IgdVersion, code: int) -> None:
    point = office.home.point("server", igd_version)
    with listening((office.server, TCP, PORT)):
        with refused(code):
            point.add(9090, NewInternalPort=PORT)
        assert office.shut(9090)
        assert office.shut(PORT)
    assert office.home.rows() == []


@pytest.mark.spec("IGD-202", "IGD-207")
def test_igd_reads_are_of_the_askers_own_address(office: Office) -> None:
    """Two hosts hold one port: each control point finds its own, and its own address as the external one."""
    for name in ("server", "desk"):
        office.home.point(name, V2).add(PORT, NewPortMappingDescription=name)
    office.home.point("console").add(PORT)
    for name in ("server", "desk"):
        point, address = office.home.point(name, V2), str(office.home.lab.hosts[name].address)
        assert point.external_address() == address
        found = point.specific(PORT)
        assert (found["NewInternalClient"], found["NewPortMappingDescription"]) == (address, name)
        assert point.generic(0)["NewInternalClient"] == address
        with refused(713):
            point.generic(1)
    console = office.home.point("console")
    assert console.external_address() == str(office.home.external)
    assert console.specific(PORT)["NewInternalClient"] == str(office.home.console.address)


@pytest.mark.spec("IGD-202", "IGD-203")
@pytest.mark.parametrize("igd_version", list(IgdVersion))
def test_events_have_the_subscribers_own_address(office: Office, igd_version: IgdVersion) -> None:
    for name, external in (("server", office.server.address), ("console", office.home.external)):
        with Subscriber(office.home.point(name, igd_version)) as subscriber:
            assert subscriber.next()["ExternalIPAddress"] == str(external)
    nat = {name: office.home.point(name, igd_version).call("GetNATRSIPStatus") for name in ("server", "console")}
    assert [status["NewNATEnabled"] for status in nat.values()] == ["0", "1"]


@pytest.mark.spec("PCP-190", "PCP-192")
def test_pcp_assigns_the_hosts_own_address_and_port(office: Office) -> None:
    server = office.server
    with listening((server, TCP, PORT)):
        answer = pcp(server, PORT, suggested=9090, suggested_address=office.home.external)
        assert answer.map is not None
        assert (answer.result, answer.map.external_address, answer.map.external_port) == (0, server.address, PORT)
        assert office.reach()
        assert office.shut(9090)
        pcp(server, PORT, 0)
        answer = pcp(server, PORT, 600, PreferFailure(), suggested=9090, suggested_address=server.address)
        assert answer.result is ResultCode.CANNOT_PROVIDE_EXTERNAL
        assert office.shut()
        answer = pcp(server, PORT, 600, PreferFailure(), suggested=PORT, suggested_address=server.address)
        assert answer.result is ResultCode.SUCCESS
        assert office.reach()


@pytest.mark.spec("PMP-081", "PMP-082")
def test_natpmp_answers_the_askers_own_address(office: Office) -> None:
    assert f"Public IP address : {office.server.address}" in natpmpc(office.server)
    with listening((office.server, TCP, PORT)):
        output = natpmpc(office.server, "-a", 9090, PORT, "tcp", 600)
        assert f"Mapped public port {PORT} protocol TCP to local port {PORT}" in output, output
        assert office.reach()
        assert office.shut(9090)


# -- the end of a lease, of the daemon, of a flow


@pytest.mark.parametrize("transport", list(Transport))
def test_the_end_of_a_lease_shuts_the_port(office: Office, transport: Transport) -> None:
    with listening((office.server, transport, PORT)), office.home.watch() as watch:
        office.home.point("server", V2).add(PORT, transport, NewLeaseDuration=2)
        assert office.reach(PORT, transport)
        watch.wait("removed", external_port=PORT, why="expired")
        assert office.shut(PORT, transport)


def test_a_delete_ends_its_flow_and_a_delete_with_an_add_keeps_it(office: Office) -> None:
    """Ports of their own: a cut just ordered may still be under way."""
    point, address = office.home.point("server", V2), office.server.address
    with (
        listening((office.server, TCP, 8090), (office.server, TCP, 8091)),
        dial_after(office, 8090) as ends,
        dial_after(office, 8091) as stays,
    ):
        for port in (8090, 8091):
            point.delete(port)
        point.add(8091)
        assert until(lambda: ended(ends), CUT_S)
        assert stays.ask()
        assert office.shut(8090)
        assert office.reach(8091, address=address)
        office.home.daemon.cli("delete", office.home.row(8091)["id"])
        assert until(lambda: ended(stays), CUT_S), "the operator cuts at once"


def dial_after(office: Office, port: int):  # type: ignore[no-untyped-def]
    office.home.point("server", V2).add(port)
    return dial(office.home.peer, TCP, office.server.address, port, timeout=FLOW_S)


def test_a_kill_keeps_what_stands_and_the_new_daemon_ends_it(office: Office) -> None:
    server, home = office.server, office.home
    home.point("desk", V2).add(PORT)
    with (
        listening((server, TCP, PORT), (server, UDP, PORT), (office.desk, TCP, PORT)),
        dial_after(office, PORT) as call,
    ):
        assert call.ask()
        before = [row["id"] for row in home.rows()]
        home.daemon.kill()
        assert office.reach(), "the kernel goes on alone"
        assert office.shut(PORT, UDP), "and drops the rest"
        home.daemon.start()
        home.points.clear()
        assert [row["id"] for row in home.rows()] == before
        assert call.ask()
        home.point("server", V2).delete(PORT)
        assert office.shut()
        assert office.reach(address=office.desk.address)


# -- who may connect, and when


def test_a_remote_host_keeps_others_out(office: Office) -> None:
    first = office.home.lab.hosts["peer1"]
    with listening((office.server, TCP, PORT)):
        office.home.point("server", V2).add(PORT, NewRemoteHost=first.address)
        assert office.reach(peer="peer1").seen_from == first.address
        assert office.shut(peer="peer2")


def test_a_pcp_filter_is_in_force(office: Office) -> None:
    server, one, other = office.server, office.home.lab.hosts["peer1"], office.home.lab.hosts["peer2"]
    with listening((server, TCP, PORT)):
        filters = PcpFilter(120, 0, one.address), PcpFilter(128, 5000, other.address)
        assert pcp(server, PORT, 600, *filters).result == 0
        assert office.reach(peer="peer1")
        assert office.shut(peer="peer2")
        assert office.reach(peer="peer2", source_port=5000)


def test_the_desk_may_ask_for_the_server_and_not_the_other_way_round(office: Office) -> None:
    server, desk = office.server, office.desk
    with listening((server, TCP, PORT), (desk, TCP, PORT)):
        office.home.point("desk", V2).add(PORT, NewInternalClient=server.address)
        assert office.reach()
        with refused(606):
            office.home.point("server", V2).add(PORT, NewInternalClient=desk.address)
        assert office.shut(address=desk.address)
        office.home.clear()
        answer = pcp(desk, PORT, 600, ThirdParty(server.address))
        assert answer.map is not None
        assert (answer.result, answer.map.external_address) == (0, server.address)
        assert office.reach()
        refusal = pcp(server, PORT, 600, ThirdParty(desk.address))
        assert refusal.result is ResultCode.UNSUPP_OPTION, "nobody delegates to the server"
        assert office.shut(address=desk.address)


HOURS = """
version = 1
default = "deny"
[[grant]]
name = "in-hours"
who = "*"
hours = "{}"
"""


def test_the_hours_of_a_grant_open_and_shut(office: Office) -> None:
    """They begin and end with a reload: the clock of a lab cannot be set."""
    hour = datetime.now().hour  # noqa: DTZ005  # hours of a policy are local time
    always, never = "00:00-24:00", f"{(hour + 2) % 24:02}:00-{(hour + 3) % 24:02}:30"
    server, home = office.server, office.home
    file = home.daemon.state_dir.parent / "policy.toml"
    before = file.read_text()

    def put(hours: str) -> None:
        file.write_text(HOURS.format(hours))
        home.ask("POST", "/v1/reload")

    try:
        put(always)
        with listening((server, TCP, PORT)), home.watch() as watch, dial_after(office, PORT) as call:
            assert call.ask()
            put(never)
            watch.wait("removed", external_port=PORT)
            assert office.shut()
            assert until(lambda: ended(call), CUT_S)
            with refused(606):
                home.point("server", V2).add(PORT)
            assert office.shut()
    finally:
        file.write_text(before)
        home.ask("POST", "/v1/reload")


# -- traffic that no mapping is about


def test_what_the_office_begins_is_untouched_and_what_nobody_asked_for_is_dropped(office: Office) -> None:
    """Router mode: no port is translated, a mapped one neither, and a mapping's end leaves flows outward alone."""
    server, peer = office.server, office.home.peer
    with (
        EchoServer(peer, UDP, 5000),
        EchoServer(peer, TCP, 5000),
        EchoServer(server, UDP, PORT) as game,
        dial(server, TCP, peer.address, 5000, timeout=REACHED_S, source_port=4000) as outward,
    ):
        assert outward.ask().seen_from == server.address
        assert outward.ask().seen_port == 4000
        for port, transport in ((4000, TCP), (22, TCP), (9, UDP)):
            proof = reach(peer, transport, server.address, port, timeout=SHUT_S)
            assert proof.how == "timeout", "dropped without an answer, also at the port of a flow outward"
        for opened in (False, True):
            if opened:
                office.home.point("server", V2).add(PORT, UDP)
            proof = game.reach(peer.address, 5000, timeout=REACHED_S)
            assert (proof.seen_from, proof.seen_port) == (server.address, PORT)
        office.home.point("server", V2).delete(PORT, UDP)
        assert outward.ask()


def test_the_home_beside_it_has_its_nat(office: Office) -> None:
    """The same port on both: at the gateway's address it is the console's, at the server's own the server's."""
    home, server = office.home, office.server
    home.point("console").add(PORT)
    home.point("server", V2).add(PORT)
    with listening((home.console, TCP, PORT), (server, TCP, PORT)), EchoServer(home.peer, TCP, 5000):
        assert home.reach(PORT).answered_by == "console"
        assert office.reach().answered_by == "server"
        assert reach(home.console, TCP, home.peer.address, 5000, timeout=REACHED_S).seen_from == home.external
        assert reach(server, TCP, home.peer.address, 5000, timeout=REACHED_S).seen_from == server.address
        inside = reach(home.console, TCP, server.address, PORT, timeout=REACHED_S)
        assert (inside.answered_by, inside.seen_from) == ("server", home.console.address), "LANs reach each other"
        assert reach(server, TCP, home.external, PORT, timeout=REACHED_S).answered_by == "console"
        home.point("console").delete(PORT)
        assert home.shut(PORT)
        assert office.reach()


def test_ipv6_pinholes_are_as_they_were(office: Office) -> None:
    server, point = office.server, office.home.point("server", V2)
    with listening((server, TCP, PORT)):
        assert office.shut(address=server.address6)
        number = pinhole(point, PORT)
        assert office.reach(address=server.address6).answered_by == "server"
        assert office.shut(), "IPv4 has not been asked for"
        point.call("DeletePinhole", "WANIPv6FirewallControl", UniqueID=number)
        assert office.shut(address=server.address6)


def test_traffic_is_counted(office: Office) -> None:
    office.home.point("server", V2).add(PORT)
    with listening((office.server, TCP, PORT)):
        for _ in range(3):
            assert office.reach()
        assert until(lambda: office.home.row(PORT)["connections"] >= 3), office.home.row(PORT)
    assert office.home.row(PORT)["bytes"] > 3 * 40 * 5


def test_a_forged_source_of_the_office_stays_outside(office: Office) -> None:
    """The internet cannot send as a host of the LAN, to an open port neither."""
    home, server, peer, forged = office.home, office.server, office.home.peer, office.desk.address
    home.point("server", V2).add(PORT, UDP)
    peer.ip(f"addr add {forged}/32 dev eth0")
    try:
        with EchoServer(server, UDP, PORT) as service:
            with peer.inside():
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with sender:
                sender.bind((str(forged), 0))
                sender.sendto(b"? forged\n", (str(server.address), PORT))
            assert office.reach(PORT, UDP), "a packet after it"
            assert [seen.address for seen in service.seen] == [peer.address]
    finally:
        peer.ip(f"addr del {forged}/32 dev eth0")


@pytest.mark.spec("PMP-083")
def test_no_announcement_names_the_gateways_address(office: Office) -> None:
    """NAT-PMP's multicast has one address for all hosts: on a LAN without NAT it can name none."""
    with port5350(office.server, 4) as ear:
        office.home.daemon.stop()
        office.home.daemon.start()
        office.home.points.clear()
        data, source = ear.recvfrom(100)
        while data[0] == 0:
            response = natpmp.parse_response(data)
            assert isinstance(response, natpmp.AddressResponse)
            assert response.address != office.home.external
            data, source = ear.recvfrom(100)
        assert ip_address(source[0]) == OFFICE.network[1]


# -- without NAT at all; changes of the setting; alongside another firewall


@pytest.mark.spec("IGD-204", "PMP-081", "PCP-190")
def test_a_firewall_alone_needs_no_external_address(namespaces: None, tmp_path: Path) -> None:
    """[firewall] nat = false for all: the WAN may have no IPv4 address of its own."""

    def without_an_address(lab: Lab) -> None:
        """Next hops are IPv6 addresses (RFC 8950)."""
        lab.internet.ip(f"route replace {OFFICE.network} via inet6 {lab.external6} dev gateway")
        lab.gateway.ip(
            f"addr del {lab.external[0]}/24 dev wan0",
            f"route add 0.0.0.0/0 via inet6 {WAN_NETWORK6[INTERNET]} dev wan0",
        )

    with served_office(
        tmp_path, *ROUTER, topology=ALONE, config=NO_NAT_AT_ALL, before=without_an_address
    ) as office:
        server = office.server
        point = office.home.point("server")
        assert point.external_address() == str(server.address)
        assert point.call("GetStatusInfo")["NewConnectionStatus"] == "Connected"
        with listening((server, TCP, PORT)):
            for ask, let_go in (WAYS["igd1"], WAYS["nat-pmp"], WAYS["pcp"]):
                assert office.shut()
                ask(office, server, PORT, TCP)
                assert office.reach().answered_by == "server"
                let_go(office, server, PORT, TCP)
            assert office.shut()


def test_a_change_of_the_setting_ends_mappings_that_no_longer_fit(namespaces: None, tmp_path: Path) -> None:
    with served_office(tmp_path, *ROUTER) as office:
        home, server = office.home, office.server
        home.point("server", V2).add(PORT)
        home.point("console").add(8081)
        with listening((server, TCP, PORT), (home.console, TCP, 8081)):
            assert office.reach()
            home.daemon.stop()
            (tmp_path / "config.toml").write_text(
                WITHOUT_NAT.replace("lan0", "x").replace("lan1", "lan0").replace("x", "lan1")
            )
            home.daemon.start()
            home.points.clear()
            assert until(lambda: home.rows() == []), home.rows()
            assert office.shut()
            assert home.shut(8081)


FOREIGN = """
table inet fw {
  chain forward { type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname { "lan0", "lan1" } accept
  }
}
"""


def test_alongside_another_firewall_the_doctor_names_the_line(namespaces: None, tmp_path: Path) -> None:
    def standing(lab: Lab) -> None:
        for key in FORWARDING:
            lab.gateway.sysctl(key, "1")
        lab.gateway.nft(FOREIGN)

    with served_office(tmp_path, before=standing) as office, listening((office.server, TCP, PORT)):
        home = office.home
        WAYS["pcp"][0](office, office.server, PORT, TCP)
        assert office.shut(), "an accept of ours does not overrule a drop of theirs"
        found = [check for check in home.ask("GET", "/v1/doctor") if "pinhole" in check["finding"]]
        assert found
        assert all(check["outcome"] == "fail" for check in found)
        lines = {
            line for check in found for line in re.findall(r"nft (insert rule inet fw .*)$", check["remedy"], re.M)
        }
        assert lines
        for line in lines:
            home.gateway.nft(line)
        assert office.reach().answered_by == "server"
        assert office.shut(8081), "their firewall still drops what no pinhole lets in"
        assert not [check for check in home.ask("GET", "/v1/doctor") if "pinhole" in check["finding"]]
        WAYS["pcp"][1](office, office.server, PORT, TCP)
        assert office.shut()
