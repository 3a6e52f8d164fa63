"""Other firewalls beside ours: their effect on our traffic is read when they change, and reported."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.fixtures.lab_firewall import masquerading
from tests.fixtures.waiting import until
from tests.lab.end_to_end import REACHED_S, TCP, Home, served_home
from tests.lab.igd_control_point import Fault
from upnp_gw.lab import CONSOLE, HOME, OFFICE, Lab, Topology
from upnp_gw.lab.probe import REFUSED_S, EchoServer, reach

pytestmark = pytest.mark.lab

AT_ONCE_S = 8.0
"""Much less than the 30 s after which other tables are read anyway."""
PRIVATE = IPv4Address("192.168.9.44")
PUBLISHED = 8443
CONTAINER_PORT = f"""
table ip containers {{
  chain prerouting {{ type nat hook prerouting priority dstnat; policy accept;
    iifname "wan0" tcp dport {PUBLISHED} dnat to {HOME.network[CONSOLE.number]}:{PUBLISHED};
  }}
}}
"""
CLOSED = """
table inet closed {
  chain forward { type filter hook forward priority filter; policy drop;
    ct state established,related accept;
    iifname "lan0" accept;
  }
}
"""


@pytest.fixture(scope="module")
def home(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """It starts behind another router."""

    def behind_a_router(lab: Lab) -> None:
        masquerading(lab)
        lab.gateway.ip(f"addr add {PRIVATE}/24 dev wan0", f"addr del {lab.external[0]}/24 dev wan0")

    with served_home(tmp_path_factory.mktemp("d"), before=behind_a_router) as home:
        yield home


def logged(home: Home, *words: str) -> list[str]:
    return [line for line in home.daemon.output if all(word in line for word in words)]


def test_a_private_wan_address_is_logged_at_the_start(home: Home) -> None:
    assert until(lambda: len(logged(home, "WARNING", f"{PRIVATE} is not public (private (RFC 1918))")) == 1, 5)
    assert f"{PRIVATE} is not public" in " ".join(home.daemon.json("status")["warnings"])
    home.renumber_wan(home.external)
    assert until(lambda: bool(logged(home, "no longer", f"{PRIVATE} is not public")), AT_ONCE_S)
    assert f"{PRIVATE} is not public" not in " ".join(home.daemon.json("status")["warnings"])


@pytest.mark.spec("SR-24")
def test_a_port_that_is_published_a_moment_ago_is_not_granted(home: Home) -> None:
    pc = home.point("pc")

    def grantable() -> bool:
        try:
            pc.add(PUBLISHED)
        except Fault:
            return False
        pc.delete(PUBLISHED)
        return True

    assert grantable()
    home.gateway.nft(CONTAINER_PORT)
    try:
        assert until(lambda: not grantable(), AT_ONCE_S)
        with EchoServer(home.console, TCP, PUBLISHED):
            assert home.reach(PUBLISHED).answered_by == "console"
    finally:
        home.gateway.nft("delete table ip containers")
    assert until(grantable, AT_ONCE_S)


def test_a_dropping_forward_chain_is_logged_when_it_appears_and_disappears(home: Home) -> None:
    def warned() -> list[str]:
        return [line for line in home.daemon.json("status")["warnings"] if "inet closed forward" in line]

    home.point().add(8080)
    with EchoServer(home.console, TCP, 8080):
        assert home.reach(8080)
        home.gateway.nft(CLOSED)
        try:
            assert until(lambda: len(warned()) == 2, AT_ONCE_S), "mappings, and pinholes"
            assert len(logged(home, "WARNING", "chain inet closed forward", "drops mapped traffic")) == 1
            assert home.shut(8080)
            home.point("pc").add(8081)  # granted all the same: decision 25
            (line,) = [
                check["remedy"].partition(": ")[2]
                for check in home.ask("GET", "/v1/doctor")
                if "drops mapped traffic" in check["finding"]
            ]
            home.gateway.run(line.split())
            assert home.reach(8080), "by the line that the doctor prints"
            assert until(lambda: len(warned()) == 1, AT_ONCE_S), "pinholes are still dropped"
        finally:
            home.gateway.nft("delete table inet closed")
    assert until(lambda: not warned(), AT_ONCE_S)
    assert logged(home, "INFO", "no longer: chain inet closed forward", "drops traffic to pinholes")
    assert len(logged(home, "WARNING", "inet closed forward")) == 2, "each once"


INPUT_CHAINS = {
    "nft": """nft -f - <<'EOF'
table inet home {
  chain input { type filter hook input priority filter; policy drop;
    ct state established,related accept;
    iifname "lo" accept;
    meta l4proto ipv6-icmp accept;
    iifname "lan0" tcp dport 22 accept;
    iifname "lan0" udp dport { 53, 67 } accept;
  }
}
EOF""",
    "iptables": "".join(
        f"""
{program} -P INPUT DROP
{program} -A INPUT -i lo -j ACCEPT
{program} -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
{program} -A INPUT -p {icmp} -j ACCEPT
{program} -A INPUT -i lan0 -p tcp --dport 22 -j ACCEPT
{program} -A INPUT -i lan0 -p udp -m multiport --dports 53,67 -j ACCEPT
"""
        for program, icmp in (("iptables", "icmp"), ("ip6tables", "ipv6-icmp"))
    ),
}
CLEAN_UP = """
nft delete table inet home 2>/dev/null || true
for program in iptables ip6tables; do $program -P INPUT ACCEPT; $program -F INPUT; done
"""
SEARCH = 'M-SEARCH * HTTP/1.1\r\nHOST: {}:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: upnp:rootdevice\r\n\r\n'


def answered(home: Home, to: str, port: int, datagram: bytes, seconds: float) -> bool:
    """True if the gateway answers a datagram of the PC."""
    version = socket.AF_INET6 if ":" in to else socket.AF_INET
    with home.pc.inside():
        asking = socket.socket(version, socket.SOCK_DGRAM)
        scope = socket.if_nametoindex(home.pc.interface)
    with asking:
        asking.settimeout(seconds)
        asking.sendto(datagram, (to, port) if version == socket.AF_INET else (to, port, 0, scope))
        try:
            return bool(asking.recv(2048))
        except TimeoutError:
            return False


def served(home: Home, seconds: float) -> dict[str, bool]:
    """Tells for each server of the gateway, over both families, whether LAN hosts reach it."""
    gateway, gateway6 = home.gateway.address, home.gateway.address6
    pcp_announce = bytes([2, 0]) + bytes(6)
    return {
        "search": answered(home, "239.255.255.250", 1900, SEARCH.format("239.255.255.250").encode(), seconds),
        "search6": answered(home, "ff02::c", 1900, SEARCH.format("[FF02::C]").encode(), seconds),
        "unicast search": answered(home, str(gateway), 1900, SEARCH.format(gateway).encode(), seconds),
        "NAT-PMP": answered(home, str(gateway), 5351, bytes(2), seconds),
        "PCP6": answered(home, str(gateway6), 5351, pcp_announce + bytes(4) + home.pc.address6.packed, seconds),
        "HTTP": reach(home.pc, TCP, gateway, 5000, timeout=seconds).how == "closed",
        "HTTP6": reach(home.pc, TCP, gateway6, 5000, timeout=seconds).how == "closed",
    }


@pytest.mark.parametrize("program", INPUT_CHAINS)
def test_a_dropping_input_chain_is_reported_and_the_lines_of_the_doctor_fix_it(home: Home, program: str) -> None:
    def warnings_of() -> list[str]:
        return [line for line in home.daemon.json("status")["warnings"] if "packets from hosts on lan0 to" in line]

    assert all(served(home, REACHED_S).values())
    home.gateway.run(["sh", "-e"], text=INPUT_CHAINS[program])
    try:
        assert until(lambda: bool(warnings_of()), AT_ONCE_S)
        assert not any(served(home, 0.3).values())
        found = [c for c in home.ask("GET", "/v1/doctor") if "packets from hosts on lan0 to" in c["finding"]]
        assert found
        assert {c["outcome"] for c in found} == {"fail"}
        for check in found:
            assert "udp/1900, udp/5351, tcp/5000" in check["finding"]
            home.gateway.run(["sh", "-e"], text=check["remedy"].partition(": ")[2])
        assert all(served(home, REACHED_S).values())
        assert until(lambda: not warnings_of(), AT_ONCE_S)
    finally:
        home.gateway.run(["sh", "-e"], text=CLEAN_UP)


def test_the_doctor_names_a_bridge_whose_hosts_do_not_reach_mappings_by_the_external_address(
    namespaces: None, tmp_path: Path
) -> None:
    """The line that it prints is followed, and they do."""
    bridged = replace(HOME, interface="br0")

    def by_bridge(lab: Lab) -> None:
        masquerading(lab)
        lab.gateway.ip(
            "addr flush dev br0",
            "link set br0 down",
            "link set br0 name uplink",
            "link add br0 type bridge stp_state 0 forward_delay 0",
            "link set uplink master br0",
            "link set uplink up",
            "link set br0 up",
            f"addr add {HOME.network[1]}/24 dev br0",
        )
        lab.gateway.sysctl("net/bridge/bridge-nf-call-iptables", "1")  # as Docker's br_netfilter has it

    with served_home(tmp_path, before=by_bridge, topology=Topology(lans=(bridged,))) as home:
        home.point().add(8080)
        home.point("pc").add(8081)

        def named() -> list[str]:
            checks = home.ask("GET", "/v1/doctor")
            return [
                c["remedy"].partition("   ")[0] for c in checks if "bridge br0 pass the IP firewall" in c["finding"]
            ]

        with EchoServer(home.console, TCP, 8080), EchoServer(home.pc, TCP, 8081):
            assert home.reach(8080)
            assert [reach(home.pc, TCP, home.external, port, timeout=REFUSED_S).how for port in (8080, 8081)] == [
                "timeout",
                "timeout",
            ]
            (line,) = named()
            home.gateway.run(line.split())
            assert all(reach(home.pc, TCP, home.external, port, timeout=REACHED_S) for port in (8080, 8081))
            assert not named()


def test_without_nat_status_and_doctor_say_what_another_firewall_must_do(namespaces: None, tmp_path: Path) -> None:
    """Here one masquerades everything and none filters. The lines of the doctor are followed."""

    def open_office(lab: Lab) -> None:
        masquerading(lab)
        lab.gateway.nft(CLOSED.replace("drop;", "accept;"))

    with served_home(tmp_path, "--no-nat", before=open_office, topology=Topology(lans=(OFFICE,))) as home:
        server, peer = home.lab.hosts["server"], home.peer

        def warned(*words: str) -> bool:
            lines = [line for line in home.daemon.json("status")["warnings"] if all(word in line for word in words)]
            return len(lines) == 1

        def shut(port: int) -> bool:
            return not reach(peer, TCP, server.address, port, timeout=0.3)

        with EchoServer(server, TCP, 22), EchoServer(server, TCP, 8443), EchoServer(peer, TCP, 80):
            assert not shut(22), "nothing filters"
            assert until(lambda: warned("hosts on lan1", "all their ports are open"), AT_ONCE_S)
            assert warned("ip foreign postrouting", "translates the addresses of hosts on lan1")
            found = [c for c in home.ask("GET", "/v1/doctor") if c["name"] == "hosts without NAT"]
            assert [c["outcome"] for c in found] == ["warn", "warn"]
            for check in found:
                home.gateway.run(["sh", "-e"], text=check["remedy"])
            assert shut(22)
            assert shut(8443)
            assert reach(server, TCP, peer.address, 80, timeout=REACHED_S).seen_from == server.address
            home.point("server").add(8443)
            assert reach(peer, TCP, server.address, 8443, timeout=REACHED_S)
            assert shut(22)
            assert until(lambda: not home.daemon.json("status")["warnings"], AT_ONCE_S)
            checks = [
                c for c in home.ask("GET", "/v1/doctor") if c["name"] in ("hosts without NAT", "other tables")
            ]
            assert {c["outcome"] for c in checks} == {"ok"}
