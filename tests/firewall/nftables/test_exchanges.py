"""The kernel remembers who answered through a mapping, however short it was, and forgets scans."""

import pytest

from tests.fixtures.firewall_driver import forward
from tests.fixtures.lab_firewall import Gateway
from tests.fixtures.waiting import until
from upnp_gw.firewall.base import Close, Cut, Exchanges, Open
from upnp_gw.firewall.nftables import exchanges
from upnp_gw.lab import Lab
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.model.mapping import Endpoint, Transport

pytestmark = pytest.mark.lab

TCP, UDP = Transport.TCP, Transport.UDP
FORGET = "net/netfilter/nf_conntrack_udp_timeout"


def answered(gateway: Gateway) -> Exchanges:
    return gateway.do(gateway.firewall.read(remotes=True)).exchanges


def test_an_answered_endpoint_is_known_after_its_flow_is_forgotten(gateway: Gateway, fresh_lab: Lab) -> None:
    lab = fresh_lab
    console, one, two = lab.hosts["console"], lab.hosts["peer1"], lab.hosts["peer2"]
    v4, v6 = console.address, console.address6
    lab.gateway.sysctl(FORGET, "1")
    open_now = [
        forward("m1", 4074, str(v4), 3074, transport=UDP),
        forward("m2", 4074, str(v4), 3074),
        forward("m3", 4075, str(v4), 3075),
        forward("m4", 4076, str(v4), 3076, transport=UDP),
        forward("m5", 3074, str(v6), transport=UDP),
        forward("m6", 3074, str(v6)),
        forward("m7", 3075, str(v6)),
    ]
    gateway.apply(*map(Open, open_now))
    with EchoServer(console, TCP, 3074), EchoServer(console, UDP, 3074):
        for peer in (one, two):
            assert reach(peer, UDP, lab.external[0], 4074)
            assert reach(peer, TCP, v6, 3074)
        assert reach(one, TCP, lab.external[0], 4074)
        assert reach(two, UDP, v6, 3074)
        assert not reach(one, TCP, lab.external[0], 4075), "a reset"
        assert not reach(one, UDP, lab.external[0], 4076), "nobody listens: ICMP"
        assert not reach(one, TCP, v6, 3075), "a reset"
    assert until(lambda: "m1" not in (gateway.do(gateway.firewall.read(remotes=True)).remotes or {}))
    found = answered(gateway)
    assert {key: exchange.remotes for key, exchange in found.items()} == {
        (UDP, Endpoint(v4, 3074)): {one.address, two.address},
        (TCP, Endpoint(v4, 3074)): {one.address},
        (UDP, Endpoint(v6, 3074)): {two.address6},
        (TCP, Endpoint(v6, 3074)): {one.address6, two.address6},
    }
    assert all(0 <= exchange.ago_s < 30 for exchange in found.values())
    gateway.apply(*map(Close, open_now), *map(Cut, open_now))
    assert answered(gateway).keys() == found.keys(), "a mapping that is closed again was used too"


def test_a_full_set_of_remote_hosts_hides_no_use(
    gateway: Gateway, fresh_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, console = fresh_lab, fresh_lab.hosts["console"]
    everyone = ", ".join(
        f"6 . 192.168.77.{at} . 1 . 203.0.113.{peer} timeout 60s" for at in range(1, 18) for peer in range(256)
    ).split(", ")[: exchanges.REMOTES_SIZE]
    lab.gateway.nft(f"add element inet upnp_gw remotes {{ {', '.join(everyone)} }}")
    gateway.apply(Open(forward("m1", 3074, str(console.address), transport=UDP)))
    with EchoServer(console, UDP, 3074):
        assert reach(lab.hosts["peer1"], UDP, lab.external[0], 3074), (
            "what cannot be noted goes through all the same"
        )
    assert answered(gateway)[UDP, Endpoint(console.address, 3074)].remotes == frozenset()


def test_packets_and_bytes_are_those_of_both_directions(gateway: Gateway, fresh_lab: Lab) -> None:
    """Of a mapping and of a pinhole alike; and each flow is one connection."""
    lab, console, peer = fresh_lab, fresh_lab.hosts["console"], fresh_lab.hosts["peer1"]
    gateway.apply(
        Open(forward("m1", 3074, str(console.address), transport=UDP)),
        Open(forward("m2", 3074, str(console.address6), transport=UDP)),
    )
    with EchoServer(console, UDP, 3074):
        for address, forward_id, header in ((lab.external[0], "m1", 20), (console.address6, "m2", 40)):
            for _ in range(3):
                assert reach(peer, UDP, address, 3074)
            counted = gateway.read().counters[forward_id]
            assert (counted.connections, counted.packets) == (3, 6), address
            # "? TOKEN" and "! TOKEN NAME ADDRESS PORT"
            assert counted.bytes > 6 * (header + 8 + 18) + 3 * len(f" console {peer.address}"), address
