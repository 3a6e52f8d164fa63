"""With nobody there, the kernel ends a mapping and the flows that it let in, and touches no other flow."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from ipaddress import ip_network

import pytest

from tests.fixtures.firewall_driver import forward
from tests.fixtures.lab_firewall import Gateway, connect, connected, gateway_of, goes_on, listening, to
from tests.fixtures.waiting import until
from upnp_gw.firewall.base import Close, Cut, FirewallMode, Open
from upnp_gw.lab import Host, Lab
from upnp_gw.lab.probe import EchoServer, dial, reach
from upnp_gw.model.mapping import Transport

pytestmark = pytest.mark.lab

TCP, UDP = Transport.TCP, Transport.UDP
STATIC = """
table ip static {
  chain prerouting { type nat hook prerouting priority %s; policy accept;
    iifname "wan0" tcp dport 8080 dnat to %s:443;
  }
}
"""


def going_on(*questions: Callable[[], object]) -> list[bool]:
    """True for each question that is answered now; all are asked at once, since silence takes its time."""
    with ThreadPoolExecutor(len(questions)) as threads:
        return list(threads.map(lambda ask: bool(ask()), questions))


def ended(*questions: Callable[[], object]) -> bool:
    """Waits until the kernel's own clock has ended them all, and sees that they stay so."""
    assert until(lambda: not any(going_on(*questions)))
    return not any(going_on(*questions))


@pytest.mark.spec("SR-3", "SR-29", "SR-39")
def test_a_lease_ends_in_the_kernel_without_the_daemon(gateway: Gateway, fresh_lab: Lab) -> None:
    lab, console, peer, other = (fresh_lab, *(fresh_lab.hosts[name] for name in ("console", "peer1", "peer2")))
    router = gateway.firewall.mode is FirewallMode.ROUTER
    v4 = lab.external[0], console.address, peer.address, other.address
    v6 = console.address6, console.address6, peer.address6, other.address6
    with (
        EchoServer(console, TCP, 3074),
        EchoServer(console, UDP, 3074) as game,
        EchoServer(peer, UDP, 5555) as caller,
        EchoServer(other, UDP, 5555),
        EchoServer(other, TCP, 80),
        ExitStack() as stack,
    ):
        ours: list[Callable[[], object]] = []
        back: list[Callable[[], object]] = []
        shut: list[Callable[[], object]] = []
        others: list[Callable[[], object]] = []
        for outside, inside, remote, third in (v4, v6):
            number = inside.version
            gateway.apply(
                Open(forward(f"m{number}0", 3074, str(inside), timeout_s=1)),
                Open(forward(f"m{number}1", 3074, str(inside), transport=UDP, timeout_s=1)),
            )
            ours += [
                stack.enter_context(dial(peer, TCP, outside, 3074)).ask,
                partial(caller.reach, outside, 3074),
            ]
            back.append(partial(game.reach, remote, 5555))
            if router or number == 4:  # alongside, nobody filters the lab's IPv6
                shut += [partial(reach, peer, transport, outside, 3074) for transport in Transport]
            others += [stack.enter_context(dial(console, TCP, third, 80)).ask, partial(game.reach, third, 5555)]
        assert all(going_on(*ours, *others)), "before"
        gateway.close()
        assert all(going_on(*ours)), "the leases go on without us"
        assert ended(*ours)
        assert not any(going_on(*back)), "the LAN host does not carry those flows on either"
        assert not any(going_on(*shut))
        assert all(going_on(*others)), "what the host began itself goes on, from the port that was open as well"


@pytest.mark.parametrize("lengths", [(32, 128), (24, 64)], ids=["hosts", "prefixes"])
def test_each_flow_ends_with_its_own_lease(gateway: Gateway, fresh_lab: Lab, lengths: tuple[int, int]) -> None:
    """Two forwards lead to one endpoint, for two remote hosts: the longer lease carries its own flows alone."""
    lab, console = fresh_lab, fresh_lab.hosts["console"]
    clients: list[tuple[Host, str, int, int]] = []
    for outside, inside, length in (
        (lab.external[0], console.address, lengths[0]),
        (console.address6, console.address6, lengths[1]),
    ):
        v6 = inside.version == 6
        for name, timeout_s in (("peer1", 1), ("peer2", 600)):
            peer = lab.hosts[name]
            remote = ip_network(f"{peer.address6 if v6 else peer.address}/{length}", strict=False)
            one = forward(f"m{len(clients)}", 443, str(inside), timeout_s=timeout_s)
            gateway.apply(Open(replace(one, remote=remote)))
            clients.append((peer, str(outside), 443, 0))
    with connected(console, *clients) as pairs:
        flows = [partial(goes_on, *pair) for pair in pairs]
        assert all(going_on(*flows))
        gateway.close()
        assert ended(flows[0], flows[2])
        assert all(going_on(flows[1], flows[3]))


def test_another_external_port_of_the_endpoint_carries_no_flow(gateway: Gateway, fresh_lab: Lab) -> None:
    lab, peer = fresh_lab, fresh_lab.hosts["peer1"]
    gateway.apply(
        Open(to(lab, "console", "m1", 3074, internal_port=443, timeout_s=1)),
        Open(to(lab, "console", "m2", 4074, internal_port=443, keep=False)),
    )
    outside = str(lab.external[0])
    with connected(lab.hosts["console"], (peer, outside, 3074, 0), (peer, outside, 4074, 0)) as (short, longer):
        gateway.close()
        assert ended(partial(goes_on, *short))
        assert goes_on(*longer)


@pytest.mark.parametrize("priority", ["dstnat", "dstnat + 5"])
def test_a_static_forward_of_another_table_is_never_touched(
    gateway: Gateway, fresh_lab: Lab, priority: str
) -> None:
    """Not even where a mapping of the same port leads to the same endpoint, and whatever becomes of the mapping."""
    lab, peer = fresh_lab, fresh_lab.hosts["peer1"]
    console, outside = lab.hosts["console"], str(lab.external[0])
    lab.gateway.nft(STATIC % (priority, console.address))
    same = to(lab, "console", "m1", 8080, internal_port=443, timeout_s=600)
    beside = to(lab, "console", "m2", 3074, internal_port=443, timeout_s=1)
    gateway.apply(Open(same), Open(beside))
    with connected(console, (peer, outside, 8080, 0), (peer, outside, 3074, 0)) as (static, mapped):
        assert gateway.read().counters["m1"].connections == 0, "the operator's own rule led it in"
        gateway.apply(Close(same), Cut(same))
        gateway.do(gateway.firewall.settled())
        assert goes_on(*static)
        gateway.close()
        assert ended(partial(goes_on, *mapped))
        assert goes_on(*static)


@pytest.mark.parametrize("end", ["cut", "lease"])
def test_a_flow_that_others_let_in_before_the_pinhole_is_never_touched(fresh_lab: Lab, end: str) -> None:
    """Alongside: the other firewall's own rule let it in, and does so still."""
    peer, console = fresh_lab.hosts["peer1"], fresh_lab.hosts["console"]
    inside = str(console.address6)
    hole = forward("m1", 443, inside, timeout_s=1 if end == "lease" else 600)
    with gateway_of(fresh_lab, FirewallMode.ALONGSIDE) as gateway, ExitStack() as stack:
        listener = stack.enter_context(listening(console))
        before = connect(stack, listener, peer, inside, 443)
        gateway.apply(Open(hole))
        after = connect(stack, listener, peer, inside, 443)
        assert all(going_on(partial(goes_on, *before), partial(goes_on, *after)))
        if end == "cut":
            gateway.apply(Close(hole), Cut(hole))
            gateway.do(gateway.firewall.settled())
        else:
            gateway.close()
        assert ended(partial(goes_on, *after))
        assert goes_on(*before)


def test_a_prefix_that_takes_the_place_of_a_wider_one_keeps_its_flows(gateway: Gateway, fresh_lab: Lab) -> None:
    """The kernel holds no two ranges that overlap, and what was closed a moment ago still has its own."""
    lab, console = fresh_lab, fresh_lab.hosts["console"]
    peers = lab.hosts["peer1"], lab.hosts["peer2"]
    hole = forward("m1", 443, str(console.address6))
    wide, narrow = (replace(hole, remote=ip_network(text)) for text in ("2a11:50::/32", "2a11:50:1::/64"))
    gateway.apply(Open(wide))
    with connected(console, *((peer, str(console.address6), 443, 0) for peer in peers)) as (inside, outside):
        assert all(going_on(partial(goes_on, *inside), partial(goes_on, *outside)))
        gateway.apply(Close(wide))
        gateway.apply(Open(narrow), Cut(wide))
        gateway.do(gateway.firewall.settled())
        assert goes_on(*inside)
        assert not goes_on(*outside)
        gateway.apply(Close(narrow), Open(wide))
        assert goes_on(*inside)
