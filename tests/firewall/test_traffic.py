"""The real table, in a lab: only packets to mapped ports arrive; leases and cuts end flows."""

import errno
import socket
import struct
import threading
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.fixtures.firewall_driver import forward, network_of, settings
from tests.fixtures.lab_firewall import Gateway, connected, gateway_of, goes_on, to
from tests.fixtures.waiting import until
from upnp_gw.firewall import netlink
from upnp_gw.firewall.base import Close, Cut, FirewallMode, Open, Refill, UpdateNetwork
from upnp_gw.firewall.nftables import flow_teardown
from upnp_gw.lab import GUEST, HOME, Host, Lab, Topology
from upnp_gw.lab.probe import ANSWER_S, REFUSED_S, EchoServer, dial, reach
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import IPAddress, Transport

pytestmark = pytest.mark.lab

TCP, UDP = Transport.TCP, Transport.UDP


@pytest.mark.parametrize("transport", list(Transport))
def test_a_mapped_port_is_reached_and_counted(gateway: Gateway, fresh_lab: Lab, transport: Transport) -> None:
    lab, peer = fresh_lab, fresh_lab.hosts["peer1"]
    one = to(lab, "console", "m1", 4074, internal_port=3074, transport=transport)
    with EchoServer(lab.hosts["console"], transport, 3074):
        assert not reach(peer, transport, lab.external[0], 4074, timeout=REFUSED_S)
        gateway.apply(Open(one))
        proof = reach(peer, transport, lab.external[0], 4074)
        assert (proof.answered_by, proof.seen_from) == ("console", peer.address)
        first = gateway.read().counters["m1"]
        assert first.connections == 1
        assert first.packets >= 2
        assert first.bytes > 0
        gateway.apply(Open(one))
        assert reach(peer, transport, lab.external[0], 4074)
        second = gateway.read().counters["m1"]
        assert second.connections == 2, "a refresh keeps the counters"
        assert second.bytes > first.bytes
        gateway.apply(Refill((one,)))
        third = gateway.read().counters["m1"]
        assert third.connections == 2, "a refill too"
        assert third.bytes >= second.bytes
        gateway.apply(Close(one))
        assert not reach(peer, transport, lab.external[0], 4074, timeout=REFUSED_S)


@pytest.mark.parametrize("suffix", ["/32", "/24"])
@pytest.mark.parametrize("external", [False, True], ids=["any", "one"])
def test_a_remote_host_or_prefix_is_enforced(gateway: Gateway, fresh_lab: Lab, suffix: str, external: bool) -> None:
    lab, allowed, other = fresh_lab, fresh_lab.hosts["peer1"], fresh_lab.hosts["peer2"]
    own = lab.external[0] if external else None
    network = str(allowed.address) if suffix == "/32" else "11.50.1.0"
    with EchoServer(lab.hosts["console"], TCP, 3074):
        gateway.apply(Open(to(lab, "console", "m1", 3074, remote=network + suffix, external=own)))
        assert reach(allowed, TCP, lab.external[0], 3074)
        assert not reach(other, TCP, lab.external[0], 3074, timeout=REFUSED_S)
        assert gateway.read().counters["m1"].connections == 1


@pytest.mark.parametrize("failure", ["before the refill", "in a refill in portions"])
def test_a_remote_host_is_let_in_after_a_refill_that_failed(
    gateway: Gateway, fresh_lab: Lab, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The maps of remote hosts are looked up again, although an earlier mapping had a longer lease."""
    lab, allowed = fresh_lab, fresh_lab.hosts["peer1"]
    one = to(lab, "console", "m1", 3074, remote=f"{allowed.address}/32")
    gateway.open(settings(gateway.firewall.mode or FirewallMode.ROUTER, network_of(lab), size=5_000))
    gateway.apply(Open(replace(one, id="m0", external_port=4000)))
    if failure == "before the refill":
        lab.gateway.nft("delete table inet upnp_gw")
        gateway.open(settings(gateway.firewall.mode or FirewallMode.ROUTER, network_of(lab), size=5_000))
    else:
        send, sent = netlink.BatchSocket.send_batch, iter((1, 2))

        def send_batch(self: netlink.BatchSocket, batch: bytes) -> list[netlink.Failure]:
            portion = len(batch) < 212_992 and next(sent)
            return [netlink.Failure(0, errno.ENOMEM, None)] if portion == 2 else send(self, batch)

        with monkeypatch.context() as patched:
            patched.setattr(netlink.BatchSocket, "_enlarge", lambda self, size: None)
            patched.setattr(netlink.BatchSocket, "send_batch", send_batch)
            with pytest.raises(FirewallError, match="memory"):
                gateway.apply(Refill(tuple(to(lab, "pc", f"n{n}", 10_000 + n) for n in range(4000))))
    gateway.apply(Open(replace(one, timeout_s=60)))
    with EchoServer(lab.hosts["console"], TCP, 3074):
        assert reach(allowed, TCP, lab.external[0], 3074)


def test_the_most_special_mapping_wins(gateway: Gateway, fresh_lab: Lab) -> None:
    lab, peers = fresh_lab, [fresh_lab.hosts["peer1"], fresh_lab.hosts["peer2"]]
    with EchoServer(lab.hosts["console"], TCP, 3074), EchoServer(lab.hosts["pc"], TCP, 3074):
        gateway.apply(
            Open(to(lab, "console", "m1", 3074)),
            Open(to(lab, "pc", "m2", 3074, remote=f"{peers[0].address}/32")),
        )
        assert [reach(peer, TCP, lab.external[0], 3074).answered_by for peer in peers] == ["pc", "console"]


@pytest.mark.parametrize("mode", list(FirewallMode))
def test_one_of_several_external_addresses(namespaces: None, mode: FirewallMode) -> None:
    with Lab(Topology(external=2)) as lab, gateway_of(lab, mode) as gateway:
        peer = lab.hosts["peer1"]
        with EchoServer(lab.hosts["console"], TCP, 3074), EchoServer(lab.hosts["pc"], TCP, 3074):
            gateway.apply(
                Open(to(lab, "console", "m1", 3074, external=lab.external[0])),
                Open(to(lab, "pc", "m2", 3074, external=lab.external[1])),
                Open(to(lab, "pc", "m3", 4000, internal_port=3074, keep=False)),
            )
            answers = [reach(peer, TCP, address, 3074).answered_by for address in lab.external]
            assert answers == ["console", "pc"]
            assert [reach(peer, TCP, address, 4000).answered_by for address in lab.external] == ["pc", "pc"]


def test_hairpin_and_the_gateways_own_access(gateway: Gateway, fresh_lab: Lab) -> None:
    lab = fresh_lab
    gateway.apply(Open(to(lab, "console", "m1", 4074, internal_port=3074)))
    with EchoServer(lab.hosts["console"], TCP, 3074):
        for name in ("pc", "console", "gateway"):
            assert reach(lab.hosts[name], TCP, lab.external[0], 4074).answered_by == "console", name
        assert reach(lab.hosts["pc"], TCP, lab.external[0], 4074).seen_from == lab.gateway.address


@pytest.mark.parametrize(("hairpin", "arrives"), [("all", True), ("same", False)])
@pytest.mark.parametrize("mode", list(FirewallMode))
def test_hairpin_between_lans_is_a_setting(
    namespaces: None, mode: FirewallMode, hairpin: str, arrives: bool
) -> None:
    with Lab(Topology(lans=(HOME, GUEST))) as lab, gateway_of(lab, mode, hairpin=hairpin) as gateway:
        gateway.apply(Open(to(lab, "console", "m1", 3074)))
        with EchoServer(lab.hosts["console"], TCP, 3074):
            wait_s = ANSWER_S if arrives else REFUSED_S
            assert bool(reach(lab.hosts["guest"], TCP, lab.external[0], 3074, timeout=wait_s)) is arrives
            assert reach(lab.hosts["pc"], TCP, lab.external[0], 3074)
            assert reach(lab.hosts["peer1"], TCP, lab.external[0], 3074)


def test_two_consoles_keep_their_own_external_ports(gateway: Gateway, fresh_lab: Lab) -> None:
    lab, first, second = fresh_lab, fresh_lab.hosts["console"], fresh_lab.hosts["pc"]
    peer, third = lab.hosts["peer1"], lab.hosts["peer2"]
    gateway.apply(
        Open(to(lab, "console", "m1", 3074, transport=UDP)),
        Open(to(lab, "pc", "m2", 3075, internal_port=3074, transport=UDP)),
    )
    with (
        EchoServer(first, UDP, 3074) as one,
        EchoServer(second, UDP, 3074) as two,
        EchoServer(peer, UDP, 9999),
        EchoServer(third, UDP, 9999) as caller,
    ):
        for console, port in ((one, 3074), (two, 3075)):
            seen = console.reach(peer.address, 9999)
            assert (seen.seen_from, seen.seen_port) == (lab.external[0], port)
            back = caller.reach(lab.external[0], seen.seen_port)
            assert back.answered_by == console.host.name
    with EchoServer(peer, TCP, 9999):
        gateway.apply(Open(to(lab, "pc", "m3", 3075, internal_port=3074)))
        assert reach(second, TCP, peer.address, 9999, source_port=3074).seen_port == 3075


def test_the_source_port_follows_the_external_address(router: Gateway, fresh_lab: Lab) -> None:
    lab, peer, network = fresh_lab, fresh_lab.hosts["peer1"], network_of(fresh_lab)
    lab.gateway.ip("addr add 11.22.33.99/24 dev wan0")
    router.apply(Open(to(lab, "pc", "m1", 3075, internal_port=3074, transport=UDP)))
    other = lab.external[0] + 55
    router.apply(UpdateNetwork(replace(network, external=(other,))))
    with EchoServer(lab.hosts["pc"], UDP, 3074) as pc, EchoServer(peer, UDP, 9999):
        seen = pc.reach(peer.address, 9999)
        assert (seen.seen_from, seen.seen_port) == (other, 3075)
        assert reach(peer, UDP, other, 3075)
        assert not reach(peer, UDP, lab.external[0], 3075, timeout=REFUSED_S)


def test_flows_of_a_closed_mapping_live_until_they_are_cut(gateway: Gateway, fresh_lab: Lab) -> None:
    lab, peer, other = fresh_lab, fresh_lab.hosts["peer1"], fresh_lab.hosts["peer2"]
    one, beside = to(lab, "console", "m1", 3074), to(lab, "console", "m2", 4074, internal_port=3074)
    gateway.apply(Open(one), Open(beside))
    with (
        EchoServer(lab.hosts["console"], TCP, 3074),
        dial(peer, TCP, lab.external[0], 3074) as call,
        dial(other, TCP, lab.external[0], 4074) as kept,
    ):
        assert call.ask()
        assert kept.ask()
        gateway.apply(Close(one))
        assert call.ask()
        gateway.apply(Cut(one))
        gateway.do(gateway.firewall.settled())
        assert not call.ask()
        assert kept.ask(), "the other mapping to the same endpoint lives"


@pytest.mark.parametrize("goes", ["anyone", "narrowed", "named"])
def test_a_cut_ends_flows_that_no_other_forward_lets_in(gateway: Gateway, fresh_lab: Lab, goes: str) -> None:
    """Two forwards of a port to one endpoint, for anyone and for one remote host: the flows of the other stay."""
    lab, peer, other = fresh_lab, fresh_lab.hosts["peer1"], fresh_lab.hosts["peer2"]
    anyone = to(lab, "console", "m1", 3074, internal_port=443)
    named = to(lab, "console", "m2", 3074, internal_port=443, remote=f"{peer.address}/32")
    gateway.apply(Open(anyone), Open(named))
    external = str(lab.external[0])
    with connected(lab.hosts["console"], (peer, external, 3074, 0), (other, external, 3074, 0)) as (
        of_peer,
        of_other,
    ):
        assert goes_on(*of_peer)
        assert goes_on(*of_other)
        if goes == "anyone":
            gateway.apply(Close(anyone), Cut(anyone))
        elif goes == "narrowed":
            gateway.apply(Close(named), Open(replace(anyone, remote=named.remote)), Cut(anyone))
        else:
            gateway.apply(Close(named), Cut(named))
        gateway.do(gateway.firewall.settled())
        assert goes_on(*of_peer), "it is let in as before"
        assert goes_on(*of_other) is (goes == "named")


def test_a_cut_of_a_pinhole_for_one_port_of_a_remote_host(router: Gateway, fresh_lab: Lab) -> None:
    peer, console = fresh_lab.hosts["peer1"], fresh_lab.hosts["console"]
    inside = str(console.address6)
    ends, stays = (
        replace(forward(name, 443, inside, remote=f"{peer.address6}/128"), remote_port=port)
        for name, port in (("m1", 5001), ("m2", 5002))
    )
    router.apply(Open(ends), Open(stays))
    with connected(console, (peer, inside, 443, 5001), (peer, inside, 443, 5002)) as (one, two):
        router.apply(Close(ends), Cut(ends))
        router.do(router.firewall.settled())
        assert goes_on(*two)
        assert not goes_on(*one)


def test_a_mapping_that_comes_back_during_a_cut_keeps_its_new_flows(gateway: Gateway, fresh_lab: Lab) -> None:
    lab = fresh_lab
    one = to(lab, "console", "m1", 3074)
    gateway.apply(Open(one))
    with lab.hosts["console"].inside():
        listener = socket.create_server(("", 3074))
    gateway.apply(Close(one), Cut(one))
    gateway.apply(Open(replace(one, id="m2")))
    with lab.hosts["peer1"].inside():
        client = socket.create_connection((str(lab.external[0]), 3074), ANSWER_S)
    server, _ = listener.accept()
    with listener, client, server:
        gateway.do(gateway.firewall.settled())
        client.settimeout(ANSWER_S)
        server.send(b"hello")
        assert client.recv(9) == b"hello"


def test_a_lan_host_that_sends_first_does_not_revive_a_cut_flow(gateway: Gateway, fresh_lab: Lab) -> None:
    lab, peer = fresh_lab, fresh_lab.hosts["peer1"]
    one = to(lab, "console", "m1", 3074)
    gateway.apply(Open(one))
    served: list[str] = []
    with lab.hosts["console"].inside():
        listener = socket.create_server(("", 3074))
    with lab.hosts["peer1"].inside():
        client = socket.create_connection((str(lab.external[0]), 3074), ANSWER_S)
    server, _ = listener.accept()
    with listener, client, server:
        for end in (client, server):
            end.settimeout(0.5)
        server.send(b"hello")
        assert client.recv(9) == b"hello"
        gateway.apply(Close(one), Cut(one))
        gateway.do(gateway.firewall.settled())
        server.send(b"again")
        with pytest.raises(ConnectionError):
            server.recv(9)
        with pytest.raises((TimeoutError, ConnectionError)):
            served.append(client.recv(9).decode())
    assert served == []
    assert str(peer.address) not in lab.gateway.run(["conntrack", "-L", "-p", "tcp"], check=False).stdout


def test_a_cut_udp_flow_is_not_translated_any_more(gateway: Gateway, fresh_lab: Lab) -> None:
    lab, peer = fresh_lab, fresh_lab.hosts["peer1"]
    one = to(lab, "console", "m1", 3074, transport=UDP)
    gateway.apply(Open(one))
    with EchoServer(lab.hosts["console"], UDP, 3074), dial(peer, UDP, lab.external[0], 3074) as call:
        assert call.ask()
        gateway.apply(Close(one), Cut(one))
        gateway.do(gateway.firewall.settled())
        assert not call.ask()


def test_replacing_the_internal_client_ends_the_old_ones_flows(gateway: Gateway, fresh_lab: Lab) -> None:
    lab, peer = fresh_lab, fresh_lab.hosts["peer1"]
    old, new = to(lab, "console", "m1", 3074, transport=UDP), to(lab, "pc", "m1", 3074, transport=UDP)
    gateway.apply(Open(old))
    with (
        EchoServer(lab.hosts["console"], UDP, 3074),
        EchoServer(lab.hosts["pc"], UDP, 3074),
        dial(peer, UDP, lab.external[0], 3074) as call,
    ):
        assert call.ask().answered_by == "console"
        gateway.apply(Open(new))
        gateway.do(gateway.firewall.settled())
        assert call.ask().answered_by == "pc"


@pytest.mark.spec("SR-39")
def test_a_port_that_another_host_gets_carries_no_flow_of_its_former_holder(
    gateway: Gateway, fresh_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The former flows are cut a moment before, and their share of the time comes much later."""
    lab, peer = fresh_lab, fresh_lab.hosts["peer1"]
    monkeypatch.setattr(flow_teardown, "SHARE", 1e9)
    monkeypatch.setattr(flow_teardown, "LATEST_S", 600.0)
    old, new = (
        [to(lab, host, f"{host}-{transport}", 3074, transport=transport) for transport in Transport]
        for host in ("console", "pc")
    )
    gateway.apply(*map(Open, old))
    gateway.do(gateway.firewall.settled())
    with ExitStack() as stack:
        for host in ("console", "pc"):
            for transport in Transport:
                stack.enter_context(EchoServer(lab.hosts[host], transport, 3074))
        tcp, udp = (stack.enter_context(dial(peer, one, lab.external[0], 3074)) for one in (TCP, UDP))
        assert (tcp.ask().answered_by, udp.ask().answered_by) == ("console", "console")
        gateway.apply(*map(Close, old))
        gateway.apply(*map(Cut, old))
        gateway.apply(*map(Open, new))
        assert not tcp.ask()
        assert udp.ask().answered_by == "pc"


def test_a_sender_from_before_the_mapping_is_let_in(gateway: Gateway, fresh_lab: Lab) -> None:
    lab, peer = fresh_lab, fresh_lab.hosts["peer1"]
    if gateway.firewall.mode is FirewallMode.ROUTER:
        # the router drops what is unsolicited, so nothing is tracked; a local answer would be
        lab.gateway.nft("insert rule inet upnp_gw input udp dport 3074 accept")
    with EchoServer(lab.gateway, UDP, 3074), dial(peer, UDP, lab.external[0], 3074) as call:
        assert call.ask().answered_by == "gateway"
        with EchoServer(lab.hosts["console"], UDP, 3074):
            gateway.apply(Open(to(lab, "console", "m1", 3074, transport=UDP)))
            gateway.do(gateway.firewall.settled())
            assert call.ask().answered_by == "console"


def test_a_flow_of_a_lan_host_to_the_same_port_of_a_server_continues(gateway: Gateway, fresh_lab: Lab) -> None:
    """The server of a LAN host's own flow listens on the port that another host maps. Its late answer arrives."""
    lab, peer, pc = fresh_lab, fresh_lab.hosts["peer1"], fresh_lab.hosts["pc"]
    with pc.inside():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with peer.inside():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client, server:
        client.settimeout(ANSWER_S)
        server.settimeout(ANSWER_S)
        server.bind(("", 3074))
        client.sendto(b"question", (str(peer.address), 3074))
        _, back = server.recvfrom(99)
        gateway.apply(Open(to(lab, "console", "m1", 3074, transport=UDP)))
        gateway.do(gateway.firewall.settled())
        server.sendto(b"answer", back)
        assert client.recv(99) == b"answer"


@pytest.mark.spec("SR-3")
def test_flush_ends_mappings_and_flows_and_the_wan_stays_shut(router: Gateway, fresh_lab: Lab) -> None:
    lab, peer = fresh_lab, fresh_lab.hosts["peer1"]
    router.apply(Open(to(lab, "console", "m1", 3074)))
    console = lab.hosts["console"]
    with EchoServer(console, TCP, 3074), EchoServer(peer, TCP, 80), EchoServer(lab.gateway, TCP, 22):
        with dial(peer, TCP, lab.external[0], 3074) as call:
            assert call.ask()
            router.close(flush=True)
            assert not call.ask()
        assert not reach(peer, TCP, lab.external[0], 3074, timeout=REFUSED_S)
        assert not reach(peer, TCP, console.address6, 3074, timeout=REFUSED_S)
        assert not reach(peer, TCP, lab.external[0], 22, timeout=REFUSED_S)
        assert not reach(peer, TCP, lab.external6, 22, timeout=REFUSED_S)
        assert reach(console, TCP, peer.address, 80), "the LAN still gets out"


def ping(host: Host, address: IPAddress, wait_s: float = ANSWER_S) -> bool:
    """One echo request; True where its reply came within ``wait_s`` seconds."""
    v6 = address.version == 6
    family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if v6 else (socket.AF_INET, socket.IPPROTO_ICMP)
    with host.inside():
        sock = socket.socket(family, socket.SOCK_RAW, protocol)
    kind, reply = (128, 129) if v6 else (8, 0)
    checksum = 0xFFFF - (kind << 8) - 0x55  # the kernel's own business with ICMPv6
    with sock:
        sock.settimeout(wait_s)
        sock.sendto(struct.pack("!BBHHH", kind, 0, checksum, 0, 0x55), (str(address), 0))
        try:
            while True:
                data, peer = sock.recvfrom(512)
                if ip_address(peer[0]) == address and data[0 if v6 else 20] == reply:
                    return True
        except TimeoutError:
            return False


@pytest.mark.parametrize("family", [4, 6])
def test_router_mode_shuts_the_wan_and_serves_the_lan(router: Gateway, fresh_lab: Lab, family: int) -> None:
    lab, peer, console = fresh_lab, fresh_lab.hosts["peer1"], fresh_lab.hosts["console"]
    v4 = family == 4
    assert router.firewall.mode is FirewallMode.ROUTER
    outside = lab.external[0] if v4 else lab.external6
    inside = lab.gateway.address if v4 else lab.gateway.address6
    host = peer.address if v4 else peer.address6
    target = console.address if v4 else console.address6
    if v4:  # a sender on the WAN link that knows the LAN's addresses
        lab.internet.ip(f"route add {HOME.network} via {lab.external[0]}")
    for transport in Transport:
        with (
            EchoServer(console, transport, 3074),
            EchoServer(lab.gateway, transport, 2222),
            EchoServer(peer, transport, 80),
        ):
            assert reach(peer, transport, target, 3074, timeout=REFUSED_S).how == "timeout"
            assert reach(peer, transport, outside, 2222, timeout=REFUSED_S).how == "timeout"
            assert reach(console, transport, inside, 2222)
            out = reach(console, transport, host, 80)
            assert out
            assert out.seen_from == (lab.external[0] if v4 else console.address6)
            assert reach(lab.gateway, transport, host, 80)
    assert ping(peer, outside)
    assert ping(peer, target, REFUSED_S if v4 else ANSWER_S) is not v4, "RFC 4890: echo requests pass to IPv6 hosts"


def test_a_pinhole_lets_in_its_own_traffic_only(router: Gateway, fresh_lab: Lab) -> None:
    lab, peer, other = fresh_lab, fresh_lab.hosts["peer1"], fresh_lab.hosts["peer2"]
    console = lab.hosts["console"]
    inside = str(console.address6)
    holes = (
        Open(forward("m1", 443, inside)),
        Open(forward("m2", 444, inside, remote=f"{peer.address6}/128")),
        Open(forward("m3", 445, inside, remote="2a11:50:1::/64")),
    )
    router.apply(*holes)
    for port, both in ((443, True), (444, False), (445, False)):
        with EchoServer(console, TCP, port):
            assert reach(peer, TCP, console.address6, port)
            wait_s = ANSWER_S if both else REFUSED_S
            assert bool(reach(other, TCP, console.address6, port, timeout=wait_s)) is both
    first = router.read().counters
    assert {name: counted.connections for name, counted in first.items()} == {"m1": 2, "m2": 1, "m3": 1}
    router.apply(*holes)
    assert reach(peer, TCP, console.address6, 445).how == "reset", "nobody listens there any more"
    second = router.read().counters
    assert {name: counted.connections for name, counted in second.items()} == {"m1": 2, "m2": 1, "m3": 2}
    assert second["m1"].bytes == first["m1"].bytes, "a refresh keeps the counters"
    assert second["m3"].bytes > first["m3"].bytes > 400, "both ways"
    one = forward("m1", 443, inside)
    with EchoServer(console, TCP, 443), dial(peer, TCP, console.address6, 443) as call:
        assert call.ask()
        router.apply(Close(one), Cut(one))
        router.do(router.firewall.settled())
        assert not call.ask()
        assert not reach(peer, TCP, console.address6, 443, timeout=REFUSED_S)


def test_icmp_errors_of_mapped_flows_pass(router: Gateway, fresh_lab: Lab) -> None:
    lab = fresh_lab
    router.apply(Open(to(lab, "console", "m1", 3074, transport=UDP)))
    assert reach(lab.hosts["peer1"], UDP, lab.external[0], 3074).how == "reset", "port unreachable"


STATIC = """
table ip static {
  chain prerouting { type nat hook prerouting priority dstnat; policy accept;
    iifname "wan0" tcp dport 8080 dnat to %s:80;
  }
}
"""


@pytest.mark.spec("SR-24")
def test_a_static_forward_of_another_table_wins(gateway: Gateway, fresh_lab: Lab) -> None:
    lab, peer = fresh_lab, fresh_lab.hosts["peer1"]
    lab.gateway.nft(STATIC % lab.hosts["pc"].address)
    gateway.apply(Open(to(lab, "console", "m1", 8080)))
    with EchoServer(lab.hosts["pc"], TCP, 80), EchoServer(lab.hosts["console"], TCP, 8080):
        assert reach(peer, TCP, lab.external[0], 8080).answered_by == "pc"


def test_a_foreign_flush_is_reported_once_and_healed(gateway: Gateway, fresh_lab: Lab) -> None:
    lab, peer = fresh_lab, fresh_lab.hosts["peer1"]
    one = to(lab, "console", "m1", 3074)
    gateway.apply(Open(one))
    lab.gateway.nft("flush ruleset")
    assert until(lambda: bool(gateway.foreign_changes))
    assert gateway.firewall.mode is not None
    gateway.open(settings(gateway.firewall.mode, network_of(lab)))
    gateway.apply(Refill((one,)))
    with EchoServer(lab.hosts["console"], TCP, 3074):
        assert reach(peer, TCP, lab.external[0], 3074)
    assert gateway.foreign_changes == ["table removed"]


def test_a_refill_under_traffic_loses_nothing(gateway: Gateway, fresh_lab: Lab) -> None:
    """New UDP flows, which nobody sends again, and one TCP flow that lives through all of it.

    The patience is for a busy machine: what is lost does not come later either.
    """
    lab, peer, patience_s = fresh_lab, fresh_lab.hosts["peer1"], 10.0
    console = str(lab.hosts["console"].address)
    udp = forward("u0", 10_000, console, 3074, transport=UDP)
    many = (*(forward(f"m{n}", 10_000 + n, console, 3074, keep=False) for n in range(1000)), udp)
    gateway.apply(Refill(many))
    stop, requests = threading.Event(), [0]
    lost: list[str] = []

    def probe_flows() -> None:
        with dial(peer, TCP, lab.external[0], 10_000, timeout=patience_s) as lasting:
            while not stop.is_set():
                requests[0] += 1
                proofs = reach(peer, UDP, lab.external[0], 10_000, timeout=patience_s), lasting.ask()
                lost.extend(proof.how for proof in proofs if not proof)

    with EchoServer(lab.hosts["console"], TCP, 3074), EchoServer(lab.hosts["console"], UDP, 3074):
        thread = threading.Thread(target=probe_flows)
        thread.start()
        for _ in range(20):
            gateway.apply(Refill(many))
        stop.set()
        thread.join()
    assert requests[0] > 20
    assert lost == []
    assert gateway.foreign_changes == [], "our own changes are not foreign"
