"""Hosts without NAT: a pinhole lets in its own traffic, to the host's own address. A LAN beside has NAT."""

import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import ip_network

import pytest

from tests.firewall.conftest import OpenedOn
from tests.firewall.nftables.test_forged_sources import having, send
from tests.firewall.test_lease_ends import ended, going_on
from tests.firewall.test_traffic import ping
from tests.fixtures.firewall_driver import pinhole, settings
from tests.fixtures.lab_firewall import Gateway, connected, goes_on, to
from tests.fixtures.waiting import until
from tests.fixtures.without_nat import gateway_without_nat, hole, network_without_nat
from upnp_gw.firewall import conntrack_dumps
from upnp_gw.firewall.base import Close, Cut, FirewallMode, Open, Refill, UpdateNetwork
from upnp_gw.firewall.nftables import Writing
from upnp_gw.lab import HOME, OFFICE, Lab, Topology
from upnp_gw.lab.probe import REFUSED_S, EchoServer, dial, reach
from upnp_gw.model.mapping import Endpoint, Transport

pytestmark = pytest.mark.lab

TCP, UDP = Transport.TCP, Transport.UDP


@pytest.fixture(scope="module")
def topology() -> Topology:
    return Topology(lans=(HOME, OFFICE))


@pytest.fixture
def opened_on() -> OpenedOn:
    return gateway_without_nat


@pytest.fixture
def lab(fresh_lab: Lab) -> Lab:
    return fresh_lab


@pytest.mark.parametrize("writing", list(Writing))
@pytest.mark.parametrize("mode", list(FirewallMode))
def test_a_pinhole_is_reached_at_the_hosts_own_address_and_counted(
    lab: Lab, mode: FirewallMode, writing: Writing
) -> None:
    """Two hosts have the same port, beside a port mapping of it."""
    peer, server, desk = (lab.hosts[name] for name in ("peer1", "server", "desk"))
    with gateway_without_nat(lab, mode, writing) as gateway:
        for number, transport in enumerate(Transport):
            holes = [
                hole(lab, name, f"m{number}{at}", 443, transport=transport)
                for at, name in enumerate(("server", "desk"))
            ]
            with (
                EchoServer(server, transport, 443),
                EchoServer(desk, transport, 443),
                EchoServer(server, transport, 444),
                EchoServer(lab.hosts["console"], transport, 443),
            ):
                assert reach(peer, transport, server.address, 443, timeout=REFUSED_S).how == "timeout"
                gateway.apply(Open(holes[0]))
                proof = reach(peer, transport, server.address, 443)
                assert (proof.answered_by, proof.seen_from) == ("server", peer.address)
                assert reach(peer, transport, desk.address, 443, timeout=REFUSED_S).how == "timeout"
                assert reach(peer, transport, server.address, 444, timeout=REFUSED_S).how == "timeout"
                mapped = to(lab, "console", f"m{number}2", 443, transport=transport)
                gateway.apply(Open(holes[1]), Open(mapped))
                assert reach(peer, transport, desk.address, 443).answered_by == "desk"
                assert reach(peer, transport, lab.external[0], 443).answered_by == "console"
                first = gateway.read().counters[holes[0].id]
                assert first.connections == 1
                assert first.packets >= 2
                gateway.apply(*map(Open, holes))
                assert reach(peer, transport, server.address, 443)
                assert gateway.read().counters[holes[0].id].connections == 2, "a refresh keeps the counters"
                gateway.apply(Refill((*holes, mapped)))
                assert reach(peer, transport, server.address, 443)
                assert gateway.read().counters[holes[0].id].connections == 3, "a refill too"
                gateway.apply(*map(Close, holes))
                assert reach(peer, transport, server.address, 443, timeout=REFUSED_S).how == "timeout"
                assert reach(peer, transport, lab.external[0], 443).answered_by == "console"
                gateway.apply(Close(mapped))


@pytest.mark.parametrize("suffix", ["/32", "/24"])
def test_a_remote_host_prefix_or_port_is_enforced(gateway: Gateway, lab: Lab, suffix: str) -> None:
    allowed, other, server = (lab.hosts[name] for name in ("peer1", "peer2", "server"))
    remote = str(ip_network(f"{allowed.address}{suffix}", strict=False))
    one = hole(lab, "server", "m1", 443, remote=remote)
    with EchoServer(server, TCP, 443):
        gateway.apply(Open(one))
        assert reach(allowed, TCP, server.address, 443)
        assert not reach(other, TCP, server.address, 443, timeout=REFUSED_S)
        gateway.apply(Open(replace(one, remote_port=5001)))
        assert not reach(allowed, TCP, server.address, 443, timeout=REFUSED_S)
        assert reach(allowed, TCP, server.address, 443, source_port=5001)
        assert not reach(other, TCP, server.address, 443, source_port=5001, timeout=REFUSED_S)


def test_hosts_without_nat_keep_their_addresses_and_the_others_are_translated(gateway: Gateway, lab: Lab) -> None:
    peer, server, pc, console = (lab.hosts[name] for name in ("peer1", "server", "pc", "console"))
    gateway.apply(Open(hole(lab, "server", "m1", 443)), Open(to(lab, "console", "m2", 4074, internal_port=3074)))
    for transport in Transport:
        with EchoServer(peer, transport, 80), EchoServer(server, transport, 443):
            assert reach(server, transport, peer.address, 80).seen_from == server.address
            out = reach(server, transport, peer.address, 80, source_port=443)
            assert (out.seen_from, out.seen_port) == (server.address, 443)
            assert reach(pc, transport, peer.address, 80).seen_from == lab.external[0]
            assert reach(pc, transport, server.address, 443).seen_from == pc.address, "between the LANs"
            assert reach(lab.gateway, transport, server.address, 443)
    with EchoServer(console, TCP, 3074):
        hairpin = reach(server, TCP, lab.external[0], 4074)
        assert (hairpin.answered_by, hairpin.seen_from) == ("console", lab.gateway.address)
        assert reach(peer, TCP, lab.external[0], 4074).seen_from == peer.address


@pytest.mark.parametrize("few", [3000, 0], ids=["one dump", "filtered"])
def test_a_cut_ends_the_flows_of_a_pinhole_and_no_others(
    gateway: Gateway, lab: Lab, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conntrack_dumps, "FEW_ENTRIES", few)
    peer, other, server, desk = (lab.hosts[name] for name in ("peer1", "peer2", "server", "desk"))

    def tracked(*words: object) -> int:
        filters = [f"--{word}" if at % 2 == 0 else str(word) for at, word in enumerate(words)]
        return len(lab.gateway.run(["conntrack", "-L", "-p", "tcp", *filters], check=False).stdout.splitlines())

    one, beside, mapped = hole(lab, "server", "m1", 443), hole(lab, "desk", "m2", 443), to(lab, "pc", "m3", 443)
    gateway.apply(*map(Open, (one, beside, mapped)))
    with (
        EchoServer(desk, TCP, 443),
        EchoServer(lab.hosts["pc"], TCP, 443),
        EchoServer(other, TCP, 80),
        connected(server, (peer, str(server.address), 443, 0)) as (flow,),
        dial(peer, TCP, desk.address, 443) as same_port,
        dial(peer, TCP, lab.external[0], 443) as translated,
        dial(server, TCP, other.address, 80) as outbound,
    ):
        kept: list[Callable[[], object]] = [same_port.ask, translated.ask, outbound.ask]
        assert all(going_on(partial(goes_on, *flow), *kept))
        gateway.apply(Close(one))
        assert goes_on(*flow), "it goes on until the cut"
        gateway.apply(Cut(one))
        gateway.do(gateway.firewall.settled())
        assert tracked("orig-src", peer.address, "orig-dst", server.address, "orig-port-dst", 443) == 0
        assert tracked("orig-src", peer.address, "orig-dst", desk.address, "orig-port-dst", 443) == 1
        assert not goes_on(*flow)
        assert all(going_on(*kept))
        assert reach(peer, TCP, server.address, 443, timeout=REFUSED_S).how == "timeout"


def test_a_pinhole_ends_in_the_kernel_without_the_daemon(gateway: Gateway, lab: Lab) -> None:
    """A mapping of the same port does not carry its flows, and what the host began itself goes on."""
    peer, other, server = (lab.hosts[name] for name in ("peer1", "peer2", "server"))
    gateway.apply(
        Open(hole(lab, "server", "m1", 443, timeout_s=1)),
        Open(hole(lab, "server", "m2", 443, timeout_s=1, transport=UDP)),
        Open(to(lab, "console", "m3", 443)),
        Open(to(lab, "console", "m4", 443, transport=UDP)),
    )
    with (
        EchoServer(server, TCP, 443),
        EchoServer(server, UDP, 443) as game,
        EchoServer(peer, UDP, 5555) as caller,
        EchoServer(other, TCP, 80),
        EchoServer(other, UDP, 80),
        dial(peer, TCP, server.address, 443) as call,
        dial(server, TCP, other.address, 80) as outbound,
    ):
        ours = call.ask, partial(caller.reach, server.address, 443)
        own = outbound.ask, partial(game.reach, other.address, 80)
        assert all(going_on(*ours, *own))
        gateway.close()
        assert all(going_on(*ours)), "the leases go on without us"
        assert ended(*ours)
        assert not game.reach(peer.address, 5555, timeout=REFUSED_S), "the host does not carry that flow on either"
        assert not any(going_on(*(partial(reach, peer, t, server.address, 443) for t in Transport)))
        assert all(going_on(*own))


@pytest.mark.spec("SR-40")
def test_a_forged_source_opens_no_flow(gateway: Gateway, lab: Lab) -> None:
    peer, server, desk, console = (lab.hosts[name] for name in ("peer1", "server", "desk", "console"))
    for name in ("all", "wan0"):
        lab.gateway.sysctl(f"net/ipv4/conf/{name}/rp_filter", "0")
    gateway.apply(Open(hole(lab, "server", "m1", 3074, transport=UDP)))
    forged = desk.address, console.address, lab.gateway.address
    with EchoServer(server, UDP, 3074) as echo, having(peer, *forged):
        for source in forged:
            send(peer, source, server.address, 3074)
        assert reach(peer, UDP, server.address, 3074)
        assert [one.address for one in echo.seen] == [peer.address]


@pytest.mark.spec("SR-44")
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    "apart", [set(), {"lan0"}, {"lan1"}, {"lan0", "lan1"}], ids=["none", "its", "other", "both"]
)
def test_a_host_that_forges_an_address_of_another_lan_opens_nothing(
    router: Gateway, lab: Lab, apart: set[str], family: int
) -> None:
    """Its packet would let the answers in, to the host whose address it is: also a translated one."""
    router.apply(UpdateNetwork(replace(network_without_nat(lab), without_nat=frozenset(apart))))
    peer, pc, server = (lab.hosts[name] for name in ("peer1", "pc", "server"))
    outside, own, forged = (one.address6 if family == 6 else one.address for one in (peer, pc, server))
    for name in ("all", "lan0"):
        lab.gateway.sysctl(f"net/ipv4/conf/{name}/rp_filter", "0")
    with EchoServer(server, UDP, 22) as ssh, EchoServer(peer, UDP, 80) as echo, having(pc, forged):
        send(pc, forged, outside, 80, source_port=22)
        send(pc, own, outside, 80)
        assert until(lambda: len(echo.seen) > 0)
        for place in echo.seen:
            echo.reach(place.address, place.port, timeout=REFUSED_S)
        assert ssh.seen == []
        assert len(echo.seen) == 1


def test_a_static_forward_of_another_table_to_a_host_with_a_pinhole_is_never_touched(
    gateway: Gateway, lab: Lab
) -> None:
    peer, server, outside = lab.hosts["peer1"], lab.hosts["server"], str(lab.external[0])
    lab.gateway.nft(
        "table ip static { chain prerouting { type nat hook prerouting priority dstnat;"
        f' iifname "wan0" tcp dport 8080 dnat to {server.address}:443; }}\n}}'
    )
    one = hole(lab, "server", "m1", 443)
    gateway.apply(Open(one))
    with connected(server, (peer, outside, 8080, 0), (peer, str(server.address), 443, 0)) as (static, ours):
        assert goes_on(*static)
        assert goes_on(*ours)
        assert gateway.read().counters["m1"].connections == 1
        gateway.apply(Close(one), Cut(one))
        gateway.do(gateway.firewall.settled())
        assert goes_on(*static)
        assert not goes_on(*ours)


def test_answers_errors_and_peers_of_a_pinhole_are_seen(gateway: Gateway, lab: Lab) -> None:
    peer, other, server = (lab.hosts[name] for name in ("peer1", "peer2", "server"))
    gateway.apply(Open(hole(lab, "server", "m1", 443)), Open(hole(lab, "server", "m2", 444, transport=UDP)))
    with EchoServer(server, TCP, 443):
        assert reach(peer, TCP, server.address, 443)
    assert reach(other, UDP, server.address, 444).how == "reset", "port unreachable"
    reading = gateway.do(gateway.firewall.read(remotes=True))
    assert dict(reading.remotes or {}) == {"m1": frozenset([peer.address])}
    assert {key: found.remotes for key, found in reading.exchanges.items()} == {
        (TCP, Endpoint(server.address, 443)): {peer.address}
    }
    growth = gateway.do(gateway.firewall.read_growth())
    assert growth.counters["m1"].connections == 1
    assert growth.counters["m1"].bytes > 200


def test_a_routed_prefix_behind_a_host_is_not_translated(router: Gateway, lab: Lab) -> None:
    """Another router of the LAN without NAT; the kernel's route says that it is there."""
    peer, server, beyond = lab.hosts["peer1"], lab.hosts["server"], ip_network("11.60.78.0/24")
    lab.internet.ip(f"route add {beyond} via {lab.external[0]}")
    lab.gateway.ip(f"route add {beyond} via {server.address} dev lan1")
    behind = beyond[7]
    network = replace(network_without_nat(lab), routed=(beyond,), routed_on=("lan1",))
    router.apply(UpdateNetwork(network), Open(pinhole("m1", 443, str(behind))))
    with EchoServer(server, TCP, 443), EchoServer(peer, UDP, 80) as echo, having(server, behind):
        assert reach(peer, TCP, behind, 443)
        assert not reach(peer, TCP, server.address, 443, timeout=REFUSED_S)
        send(server, behind, peer.address, 80)
        assert until(lambda: bool(echo.seen))
        assert echo.seen[0].address == behind


def test_router_mode_drops_what_no_pinhole_lets_in(router: Gateway, lab: Lab) -> None:
    peer, server = lab.hosts["peer1"], lab.hosts["server"]
    router.apply(Open(hole(lab, "server", "m1", 443)))
    for transport in Transport:
        with EchoServer(server, transport, 22), EchoServer(lab.gateway, transport, 22):
            assert reach(peer, transport, server.address, 22, timeout=REFUSED_S).how == "timeout"
            assert reach(peer, transport, OFFICE.network[1], 22, timeout=REFUSED_S).how == "timeout", (
                "the gateway's own address"
            )
    assert not ping(peer, server.address, REFUSED_S)
    assert ping(server, peer.address)
    with (
        peer.inside(),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late,
        EchoServer(server, UDP, 443) as echo,
    ):
        late.bind(("", 0))
        assert echo.reach(peer.address, late.getsockname()[1], timeout=REFUSED_S).how == "timeout"
        late.sendto(b"? answer\n", (str(server.address), 443))
        assert until(lambda: len(echo.seen) == 1), "an answer to what the host began"


def test_the_table_is_healed_with_its_pinholes(gateway: Gateway, lab: Lab) -> None:
    one = hole(lab, "server", "m1", 443)
    gateway.apply(Open(one))
    lab.gateway.nft("delete table inet upnp_gw")
    assert until(lambda: bool(gateway.foreign_changes))
    assert gateway.firewall.mode is not None
    gateway.open(settings(gateway.firewall.mode, network_without_nat(lab)))
    gateway.apply(Refill((one,)))
    with EchoServer(lab.hosts["server"], TCP, 443):
        assert reach(lab.hosts["peer1"], TCP, lab.hosts["server"].address, 443)
