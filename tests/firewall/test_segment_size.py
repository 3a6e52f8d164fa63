"""Router mode: TCP segments fit the link with the smallest MTU, between any two links of the gateway."""

import socket
from contextlib import ExitStack

import pytest

from tests.fixtures.firewall_driver import forward
from tests.fixtures.lab_firewall import Pair, connect, gateway_of, listening, to
from upnp_gw.firewall.base import FirewallMode, Open
from upnp_gw.lab import GUEST, HOME, Lab, Topology

pytestmark = pytest.mark.lab

WAN_MTU, GUEST_MTU = 1400, 1300
TIMESTAMPS = 12
"""Bytes of the TCP option that Linux takes from each segment (RFC 7323)."""
OVERHEAD, OVERHEAD6 = 40 + TIMESTAMPS, 60 + TIMESTAMPS


def segment_sizes(pair: Pair) -> set[int]:
    """The longest segment that each end sends, bytes."""
    return {end.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) for end in pair}


def test_segments_fit_the_smallest_link_and_are_never_made_larger(namespaces: None) -> None:
    with Lab(Topology(lans=(HOME, GUEST))) as lab, ExitStack() as stack:
        console, guest, peer = (lab.hosts[name] for name in ("console", "guest", "peer1"))
        outside, inside6 = str(lab.external[0]), str(console.address6)
        gateway = stack.enter_context(gateway_of(lab, FirewallMode.ROUTER))
        lab.gateway.ip(f"link set {lab.topology.wan} mtu {WAN_MTU}", f"link set {GUEST.interface} mtu {GUEST_MTU}")
        gateway.apply(Open(to(lab, "console", "m1", 443)), Open(forward("m2", 443, inside6)))
        at_console, at_guest, at_peer = (stack.enter_context(listening(host)) for host in (console, guest, peer))
        to_peer = at_peer, console, str(peer.address), 443
        assert segment_sizes(connect(stack, at_console, peer, outside, 443)) == {WAN_MTU - OVERHEAD}
        assert segment_sizes(connect(stack, at_console, peer, inside6, 443)) == {WAN_MTU - OVERHEAD6}
        assert segment_sizes(connect(stack, *to_peer)) == {WAN_MTU - OVERHEAD}
        assert segment_sizes(connect(stack, at_guest, console, str(guest.address), 443)) == {GUEST_MTU - OVERHEAD}
        assert segment_sizes(connect(stack, at_console, guest, outside, 443)) == {GUEST_MTU - OVERHEAD}
        console.ip(f"route change default via {HOME.network[1]} advmss 500")
        _, server = connect(stack, *to_peer)
        assert segment_sizes((server, server)) == {500 - TIMESTAMPS}
