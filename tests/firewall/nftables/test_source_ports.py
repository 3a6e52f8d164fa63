"""Router mode: the traffic of a mapped external port is its holder's; other hosts leave with other source ports."""

import re
import socket
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from tests import ROOT
from tests.firewall.nftables.test_forged_sources import having
from tests.fixtures.firewall_driver import network_of
from tests.fixtures.lab_firewall import Gateway, gateway_of, to
from tests.fixtures.waiting import until
from upnp_gw.firewall.base import Close, FirewallMode, Open, UpdateNetwork
from upnp_gw.firewall.labels import MASQUERADED
from upnp_gw.lab import Lab
from upnp_gw.lab.probe import REFUSED_S, EchoServer, dial, reach
from upnp_gw.model.mapping import Transport

pytestmark = pytest.mark.lab

TCP, UDP = Transport.TCP, Transport.UDP
EXTERNAL = 9320
NETWORK_MD = ROOT / "docs" / "network.md"


@pytest.mark.spec("SR-41")
@pytest.mark.parametrize("internal_port", [EXTERNAL, 3074], ids=["same port", "other port"])
def test_a_mapped_port_is_given_to_no_other_host(router: Gateway, fresh_lab: Lab, internal_port: int) -> None:
    lab, console, pc, peer = (fresh_lab, *(fresh_lab.hosts[name] for name in ("console", "pc", "peer1")))
    outside = lab.external[0]
    one = to(lab, "console", "m1", EXTERNAL, internal_port=internal_port, transport=UDP)
    router.apply(Open(one), Open(to(lab, "console", "m2", EXTERNAL, internal_port=internal_port)))
    with (
        EchoServer(console, UDP, internal_port) as holder,
        EchoServer(pc, UDP, EXTERNAL) as other,
        EchoServer(peer, UDP, 9999) as caller,
        EchoServer(peer, TCP, 9999),
    ):
        assert other.reach(peer.address, 9999).seen_port not in (0, EXTERNAL), "it gets out, from another port"
        assert caller.reach(outside, EXTERNAL).answered_by == "console"
        assert holder.reach(peer.address, 9999).seen_port == EXTERNAL
        assert reach(pc, TCP, peer.address, 9999, source_port=EXTERNAL).seen_port not in (0, EXTERNAL)
        router.apply(Close(one))
        lab.gateway.run(["conntrack", "-F"])  # a source keeps its external port while it has a flow with it
        with EchoServer(lab.hosts["peer2"], UDP, 9999):
            assert other.reach(lab.hosts["peer2"].address, 9999).seen_port == EXTERNAL, "free again"


@pytest.mark.spec("SR-41")
def test_flows_from_before_the_mapping_leave_its_port(router: Gateway, fresh_lab: Lab) -> None:
    """UDP alone, and TCP without an answer: the peer of a TCP connection cannot begin another one over it."""
    lab, console, pc, peer = (fresh_lab, *(fresh_lab.hosts[name] for name in ("console", "pc", "peer1")))
    outside = lab.external[0]
    with (
        EchoServer(console, UDP, EXTERNAL) as holder,
        EchoServer(pc, UDP, EXTERNAL) as other,
        EchoServer(peer, UDP, 9999) as caller,
        EchoServer(peer, TCP, 9999),
        dial(pc, TCP, peer.address, 9999, source_port=EXTERNAL) as connection,
    ):
        assert other.reach(peer.address, 9999).seen_port == EXTERNAL
        assert connection.ask().seen_port == EXTERNAL
        own = to(lab, "console", "m0", 4000, internal_port=EXTERNAL, transport=UDP)
        router.apply(Open(own))
        assert holder.reach(peer.address, 9999).seen_port == 4000
        router.apply(
            Open(to(lab, "console", "m1", EXTERNAL, transport=UDP, keep=False)),
            Open(to(lab, "console", "m2", EXTERNAL)),
        )
        router.do(router.firewall.settled())
        assert caller.reach(outside, EXTERNAL).answered_by == "console"
        assert other.reach(peer.address, 9999).seen_port not in (0, EXTERNAL)
        assert connection.ask().seen_port == EXTERNAL, "the connection goes on"
        assert holder.reach(peer.address, 9999).seen_port == 4000, "nobody ends the holder's own"


@pytest.mark.spec("SR-41")
def test_the_port_at_another_external_address_belongs_to_another_host(router: Gateway, fresh_lab: Lab) -> None:
    """Its flows from before both mappings have the port at the first address: they end like everybody else's."""
    lab, console, pc, peer = (fresh_lab, *(fresh_lab.hosts[name] for name in ("console", "pc", "peer1")))
    first, second = lab.external[0], IPv4Address("11.22.33.45")
    router.apply(UpdateNetwork(replace(network_of(lab), external=(first, second))))
    with (
        EchoServer(console, UDP, EXTERNAL),
        EchoServer(pc, UDP, EXTERNAL) as other,
        EchoServer(peer, UDP, 9999) as caller,
    ):
        assert other.reach(peer.address, 9999).seen_port == EXTERNAL
        router.apply(Open(to(lab, "pc", "m0", EXTERNAL, transport=UDP, external=second, keep=False)))
        router.apply(Open(to(lab, "console", "m1", EXTERNAL, transport=UDP, external=first)))
        router.do(router.firewall.settled())
        assert caller.reach(first, EXTERNAL).answered_by == "console"


@pytest.mark.spec("SR-41")
def test_a_lan_host_with_an_external_address_gets_no_mapped_port(router: Gateway, fresh_lab: Lab) -> None:
    """A routed address that no interface of the gateway has: the kernel takes it for anybody's."""
    lab, console, pc, peer = (fresh_lab, *(fresh_lab.hosts[name] for name in ("console", "pc", "peer1")))
    routed = IPv4Address("11.22.33.99")
    lab.internet.ip(f"route add {routed} via {lab.external[0]}")
    for name in ("all", "lan0", "wan0"):
        lab.gateway.sysctl(f"net/ipv4/conf/{name}/rp_filter", "0")
    router.apply(
        UpdateNetwork(replace(network_of(lab), external=(routed,))),
        Open(to(lab, "console", "m1", EXTERNAL, transport=UDP)),
    )
    with (
        EchoServer(console, UDP, EXTERNAL) as holder,
        EchoServer(peer, UDP, 9999) as caller,
        having(pc, routed),
        pc.inside(),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forged,
    ):
        forged.bind((str(routed), EXTERNAL))
        forged.sendto(b"? question\n", (str(peer.address), 9999))
        assert caller.reach(routed, EXTERNAL).answered_by == "console"
        assert holder.reach(peer.address, 9999).seen_port == EXTERNAL
        assert len(caller.seen) == 1


@pytest.mark.spec("PCP-055")
def test_flows_from_before_a_mapping_leave_with_the_mapped_port_afterwards(
    gateway: Gateway, fresh_lab: Lab
) -> None:
    """A client asks a STUN server, maps, and asks again: with two ports it would take this for a symmetric NAT.
    What is in use goes on as it was: a game's server knows no other port."""
    lab, console, stun, game = (fresh_lab, *(fresh_lab.hosts[name] for name in ("console", "peer1", "peer2")))
    with (
        EchoServer(console, UDP, 3074) as client,
        EchoServer(stun, UDP, 9999),
        EchoServer(game, UDP, 9999),
    ):
        assert client.reach(stun.address, 9999).seen_port == 3074
        assert until(lambda: bool(client.reach(game.address, 9999)) and in_use(lab, str(game.address)))
        gateway.apply(Open(to(lab, "console", "m1", 4074, internal_port=3074, transport=UDP)))
        gateway.do(gateway.firewall.settled())
        assert client.reach(stun.address, 9999).seen_port == 4074
        assert client.reach(game.address, 9999).seen_port == 3074, "in use"
        gateway.apply(Open(to(lab, "console", "m2", 4075, internal_port=3074, transport=UDP, keep=False)))
        gateway.do(gateway.firewall.settled())
        assert client.reach(stun.address, 9999).seen_port == 4074, "the first mapping gives the port"


def in_use(lab: Lab, peer: str) -> bool:
    """Packets went both ways for two seconds."""
    return "ASSURED" in lab.gateway.run(["conntrack", "-L", "-p", "udp", "-d", peer]).stdout


def test_nor_does_the_kernel_choose_a_mapped_port_by_itself(router: Gateway, fresh_lab: Lab) -> None:
    """If two hosts have the same source port, the second gets any: packets from a mapped port are dropped."""
    lab, pc, peer = fresh_lab, fresh_lab.hosts["pc"], fresh_lab.hosts["peer1"]
    router.apply(Open(to(lab, "console", "m1", EXTERNAL, transport=UDP)))
    for source_port, chosen in ((7000, EXTERNAL), (7001, EXTERNAL + 1)):
        lab.gateway.nft(
            f"insert rule inet upnp_gw postrouting oifname wan0 udp sport {source_port}"
            f" ct label set {MASQUERADED} masquerade to :{chosen}"
        )
    with EchoServer(peer, UDP, 9999) as server:
        assert not reach(pc, UDP, peer.address, 9999, source_port=7000, timeout=REFUSED_S)
        assert reach(pc, UDP, peer.address, 9999, source_port=7001)
        assert [seen.port for seen in server.seen] == [EXTERNAL + 1]


def test_alongside_by_ports_of_their_own(fresh_lab: Lab) -> None:
    """As docs/network.md advises: the other table's masquerade keeps off the ports that the policy grants."""
    lab, console, pc, peer = (fresh_lab, *(fresh_lab.hosts[name] for name in ("console", "pc", "peer1")))
    with gateway_of(lab, FirewallMode.ALONGSIDE) as gateway:
        advice = re.search(r"^(oifname.*masquerade to.*)$", NETWORK_MD.read_text("utf-8"), re.MULTILINE)
        assert advice is not None
        lab.gateway.nft(f"insert rule ip foreign postrouting {advice[1]}")
        gateway.apply(Open(to(lab, "console", "m1", EXTERNAL, transport=UDP)))
        with (
            EchoServer(console, UDP, EXTERNAL) as holder,
            EchoServer(pc, UDP, EXTERNAL) as other,
            EchoServer(peer, UDP, 9999) as caller,
        ):
            assert other.reach(peer.address, 9999).seen_port >= 32768
            assert caller.reach(lab.external[0], EXTERNAL).answered_by == "console"
            assert holder.reach(peer.address, 9999).seen_port == EXTERNAL
