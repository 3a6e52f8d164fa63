"""Faults of the ruleset, made in a real kernel. Each says what the proof has to find, and what arrives then."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from tests.firewall.openings.scene import BOTS, OFFICE, TABLE, UDP, Scene
from tests.fixtures.lab_firewall import MASQUERADE
from tests.lab.home_hosts import REACHED_S
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.firewall.openings.findings import Fault
from upnp_gw.lab.probe import REFUSED_S, EchoServer, reach

Arrives = Callable[[], object]
"""True if a packet from outside comes through the fault."""


class Seeded(NamedTuple):
    """One fault."""

    name: str
    make: Callable[[Scene, ExitStack], Arrives | None]
    fault: Fault = Fault.NO_MAPPING


def _insert(rule: str, chain: str = "forward") -> str:
    return f"insert rule {TABLE} {chain} {rule}"


def _reopened(scene: Scene, element: str, name: str = "pm", key: str = "tcp . 8080") -> None:
    scene.nft(f"delete element {TABLE} {name} {{ {key} }}", f"add element {TABLE} {name} {{ {key} {element} }}")


def lost_drop(scene: Scene, stack: ExitStack) -> Arrives:
    scene.lose("forward", "iifname @wan drop")
    return lambda: scene.at_host(22)


def accept_first(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(_insert("accept"))
    return lambda: scene.at_host(22)


def forward_chain_emptied(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(f"flush chain {TABLE} forward")
    return lambda: scene.at_host(22)


def table_gone(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(f"delete table {TABLE}")
    return lambda: scene.at_host(22)


def ipv6_only(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(_insert('meta nfproto ipv6 iifname "wan0" accept'))
    return lambda: scene.at_host(22)


def one_port(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(_insert("ip6 daddr != ::1 tcp dport 22 accept"))
    return lambda: scene.at_host(22)


def range_of_ports(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(_insert("udp dport { 20-25, 4000 } accept"))
    return lambda: scene.at_host(22, UDP)


def verdict_map(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(_insert("tcp dport vmap { 22 : accept, 23 : drop }"))
    return lambda: scene.at_host(22)


def jump_to_a_new_chain(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(f"add chain {TABLE} extra", f"add rule {TABLE} extra tcp dport 22 accept", _insert("jump extra"))
    return lambda: scene.at_host(22)


def drop_of_tcp_alone(scene: Scene, stack: ExitStack) -> Arrives:
    scene.lose("forward", "iifname @wan drop")
    scene.nft(f"add rule {TABLE} forward iifname @wan meta l4proto 6 drop")
    return lambda: scene.at_host(22, UDP)


def drop_but_for_a_source_port(scene: Scene, stack: ExitStack) -> Arrives:
    scene.lose("forward", "iifname @wan drop")
    scene.nft(
        f"add rule {TABLE} forward iifname @wan tcp sport != 53 drop",
        f"add rule {TABLE} forward iifname @wan meta l4proto != 6 drop",
    )
    return lambda: scene.at_host(22, source_port=53)


def drop_within_a_rate(scene: Scene, stack: ExitStack) -> Arrives:
    scene.lose("forward", "iifname @wan drop")
    scene.nft(f"add rule {TABLE} forward iifname @wan limit rate over 100/second drop")
    return lambda: scene.at_host(22)


def wan_set_empty(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(f"flush set {TABLE} wan")
    return lambda: scene.at_host(22)


def wan_set_names_another(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(f"flush set {TABLE} wan", f'add element {TABLE} wan {{ "wan1" }}')
    return lambda: scene.at_host(22)


def no_timeout(scene: Scene, stack: ExitStack) -> Arrives:
    _reopened(scene, f": {scene.console.address} . 8080")
    return lambda: scene.at_gateway(8080)


def pinhole_without_timeout(scene: Scene, stack: ExitStack) -> Arrives:
    _reopened(scene, "", "hole6", f"tcp . {scene.console.address6} . 8443")
    return lambda: scene.at_host(8443)


def too_long_a_timeout(scene: Scene, stack: ExitStack) -> Arrives:
    _reopened(scene, f"timeout 2d : {scene.console.address} . 8080")
    return lambda: scene.at_gateway(8080)


def leads_to_another_host(scene: Scene, stack: ExitStack) -> Arrives:
    _reopened(scene, f"timeout 300s : {scene.pc.address} . 8080")
    return lambda: scene.at_gateway(8080) == "pc"


def leads_to_another_port(scene: Scene, stack: ExitStack) -> Arrives:
    _reopened(scene, f"timeout 300s : {scene.console.address} . 22")
    return lambda: scene.at_gateway(8080)


def mapping_gone(scene: Scene, stack: ExitStack) -> Arrives:
    del scene.ledger["m1"]
    return lambda: scene.at_gateway(8080)


def pinhole_gone(scene: Scene, stack: ExitStack) -> Arrives:
    del scene.ledger["m4"]
    return lambda: scene.at_host(8443)


def element_by_hand(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(
        f"add element {TABLE} pm {{ tcp . 2222 timeout 300s : {scene.console.address} . 22 }}",
        f"add element {TABLE} live {{ tcp . 2222 timeout 300s }}",
    )
    return lambda: scene.at_gateway(2222)


def pinhole_by_hand(scene: Scene, stack: ExitStack) -> Arrives:
    key = f"tcp . {scene.console.address6} . 22"
    scene.nft(
        f"add element {TABLE} hole6 {{ {key} timeout 300s }}", f"add element {TABLE} live6 {{ {key} timeout 300s }}"
    )
    return lambda: scene.at_host(22)


def for_any_remote_host(scene: Scene, stack: ExitStack) -> Arrives:
    """The mapping is for peer1 alone."""
    scene.nft(
        f"add element {TABLE} pm {{ udp . 5000 timeout 300s : {scene.pc.address} . 5001 }}",
        f"add element {TABLE} live {{ udp . 5000 timeout 300s }}",
    )
    return lambda: scene.at_gateway(5000, UDP, "peer2")


def wider_prefix(scene: Scene, stack: ExitStack) -> Arrives:
    low, high = (f"tcp . 9090 . {net} . 0-65535 timeout 300s" for net in ("0.0.0.0/1", "128.0.0.0/1"))
    scene.nft(
        f"flush map {TABLE} pm_net",
        f"flush set {TABLE} live_net",
        f"add element {TABLE} pm_net {{ {low} : {scene.pc.address} . 9090, {high} : {scene.pc.address} . 9090 }}",
        f"add element {TABLE} live_net {{ {low}, {high} }}",
    )
    return lambda: scene.at_gateway(9090, peer="peer2")


def list_without_its_exception(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(f"flush set {TABLE} {BOTS}_4")
    return lambda: scene.at_gateway(7070, peer="peer2")


def longer_list(scene: Scene, stack: ExitStack) -> Arrives:
    """The list has everybody, and the exception has one host."""
    scene.nft(f"flush set {TABLE} {OFFICE}_4", f"add element {TABLE} {OFFICE}_4 {{ 0.0.0.0-255.255.255.255 }}")
    return lambda: scene.at_gateway(7070)


def pinholes_of_any_port(scene: Scene, stack: ExitStack) -> Arrives:
    host = scene.console.address6
    scene.nft(
        f"add rule {TABLE} pinholes ip6 daddr {host} accept",
    )
    return lambda: scene.at_host(22, UDP)


def rule_that_translates(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(_insert(f"tcp dport 2222 dnat ip to {scene.console.address}:22", "lookup"))
    return lambda: scene.at_gateway(2222)


def foreign_dnat(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(
        "table ip foreign { chain prerouting { type nat hook prerouting priority dstnat; policy accept;",
        f'iifname "wan0" tcp dport 2222 dnat to {scene.console.address}:22; }}; }}',
    )
    return lambda: scene.at_gateway(2222)


def foreign_dnat_of_a_mapping(scene: Scene, stack: ExitStack) -> Arrives:
    """The same as the mapping, but it stays when the lease ends."""
    scene.nft(
        "table ip foreign { chain prerouting { type nat hook prerouting priority dstnat; policy accept;",
        f'iifname "wan0" ip daddr {scene.lab.external[0]} tcp dport 8080'
        f" dnat to {scene.console.address}:8080; }}; }}",
    )
    return lambda: scene.at_gateway(8080)


def foreign_mark(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(
        "table inet foreign { chain marks { type filter hook prerouting priority mangle; policy accept;",
        "tcp dport 22 meta mark set 7; }; }",
        _insert("meta mark 7 accept"),
    )
    return lambda: scene.at_host(22)


def not_tracked(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(
        "table inet foreign { chain raw { type filter hook prerouting priority raw; policy accept;",
        "udp dport 22 notrack; }; }",
        _insert("ct state untracked accept"),
    )

    def arrives() -> bool:
        return bool(reach(scene.peer, UDP, scene.console.address6, 22, timeout=REACHED_S))

    return arrives


def flow_outlives_its_mapping(scene: Scene, stack: ExitStack) -> Arrives:
    """The opening element is gone, the carrying one is not."""
    call = scene.call(stack)
    scene.nft(f"delete element {TABLE} pm {{ tcp . 8080 }}")
    del scene.ledger["m1"]
    return call.ask


def flow_outlives_its_pinhole(scene: Scene, stack: ExitStack) -> Arrives:
    call = scene.call(stack, 8443, v6=True)
    scene.nft(f"delete element {TABLE} hole6 {{ tcp . {scene.console.address6} . 8443 }}")
    del scene.ledger["m4"]
    return call.ask


def lost_drop_of_ended_flows(scene: Scene, stack: ExitStack) -> Arrives:
    call = scene.call(stack)
    scene.nft(f"delete element {TABLE} pm {{ tcp . 8080 }}", f"delete element {TABLE} live {{ tcp . 8080 }}")
    del scene.ledger["m1"]
    scene.lose("carried", "drop")
    return call.ask


def carrying_element_left(scene: Scene, stack: ExitStack) -> None:
    """The mapping is gone, and there is no flow that it let in."""
    scene.nft(f"delete element {TABLE} pm {{ tcp . 8080 }}")
    del scene.ledger["m1"]


def lost_drop_without_a_flow(scene: Scene, stack: ExitStack) -> None:
    scene.lose("carried6", "drop")


def established_first(scene: Scene, stack: ExitStack) -> Arrives:
    call = scene.call(stack)
    scene.nft(
        f"delete element {TABLE} pm {{ tcp . 8080 }}",
        f"delete element {TABLE} live {{ tcp . 8080 }}",
        _insert("ct state established accept"),
    )
    del scene.ledger["m1"]
    return call.ask


def flow_from_before_our_table(scene: Scene, stack: ExitStack) -> Arrives:
    """It has no label of ours, and our rules know it as established."""
    scene.nft(
        "table inet foreign { chain tracks { type filter hook forward priority 10; policy accept;",
        "ct state established accept; }; }",
        f"delete table {TABLE}",
    )
    call = scene.call(stack, 22, v6=True)
    rebuilt(scene)
    return call.ask


def rebuilt(scene: Scene) -> None:
    """Our table anew; the flows stay."""
    scene.gateway.open(scene.settings)
    scene.fill()


def restore(scene: Scene) -> None:
    """The kernel as the gateway makes it."""
    tables = ("inet foreign", "ip foreign", "inet home", TABLE)
    scene.nft(*(f"add table {name}\ndelete table {name}" for name in tables))
    if scene.mode is FirewallMode.ALONGSIDE:
        scene.nft(MASQUERADE, HOME_FIREWALL)
    scene.gateway.open(scene.settings)
    scene.lab.gateway.run(["conntrack", "-F"])
    scene.fill()


ROUTER_FAULTS = (
    Seeded("the last drop is lost", lost_drop),
    Seeded("an accept is the first rule", accept_first),
    Seeded("the forward chain is empty, and its policy accepts", forward_chain_emptied),
    Seeded("the table is gone", table_gone),
    Seeded("IPv6 alone is accepted", ipv6_only),
    Seeded("a port is accepted", one_port),
    Seeded("a range of ports is accepted", range_of_ports),
    Seeded("a verdict map accepts", verdict_map),
    Seeded("a new chain accepts", jump_to_a_new_chain),
    Seeded("the drop is for TCP alone", drop_of_tcp_alone),
    Seeded("the drop leaves out a source port", drop_but_for_a_source_port),
    Seeded("the drop begins above a rate", drop_within_a_rate),
    Seeded("the set of the WAN is empty", wan_set_empty),
    Seeded("the set of the WAN names another interface", wan_set_names_another),
    Seeded("an element has no timeout", no_timeout, Fault.NO_TIMEOUT),
    Seeded("a pinhole has no timeout", pinhole_without_timeout, Fault.NO_TIMEOUT),
    Seeded("a timeout is longer than the lease", too_long_a_timeout, Fault.OUTLIVES),
    Seeded("an element leads to another host", leads_to_another_host),
    Seeded("an element leads to another port", leads_to_another_port),
    Seeded("the mapping of an element is gone", mapping_gone),
    Seeded("the mapping of a pinhole is gone", pinhole_gone),
    Seeded("an element was added by hand", element_by_hand),
    Seeded("a pinhole was added by hand", pinhole_by_hand),
    Seeded("a mapping for one remote host is open to all", for_any_remote_host),
    Seeded("a prefix of remote hosts is wider", wider_prefix),
    Seeded("a list of remote hosts lost its exception", list_without_its_exception),
    Seeded("a list of remote hosts is longer", longer_list),
    Seeded("a rule of the pinholes has no port", pinholes_of_any_port),
    Seeded("a rule of ours translates", rule_that_translates),
    Seeded("another table translates", foreign_dnat),
    Seeded("another table translates as a mapping does", foreign_dnat_of_a_mapping, Fault.NO_TIMEOUT),
    Seeded("another table sets a mark that is accepted", foreign_mark),
    Seeded("packets without tracking are accepted", not_tracked),
    Seeded("a flow outlives its mapping", flow_outlives_its_mapping, Fault.FLOW),
    Seeded("a flow outlives its pinhole", flow_outlives_its_pinhole, Fault.FLOW),
    Seeded("the drop of ended flows is lost", lost_drop_of_ended_flows, Fault.FLOW),
    Seeded("the drop of ended flows is lost, and there is none yet", lost_drop_without_a_flow, Fault.FLOW_LASTS),
    Seeded("an element would let flows of an ended mapping go on", carrying_element_left, Fault.FLOW_LASTS),
    Seeded("established flows are accepted first", established_first, Fault.FLOW),
    Seeded("a flow is older than our table", flow_from_before_our_table, Fault.FLOW),
)


HOME_FIREWALL = """
table inet home {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ct status dnat accept
    ct label 127 accept
    iifname "lan0" accept
    icmpv6 type echo-request accept
  }
}
"""
"""A firewall that is not ours, as docs/guides/nftables.md wants it."""


def _of_home(rule: str) -> str:
    return f"insert rule inet home forward {rule}"


def others_drop_is_lost(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft("chain inet home forward { policy accept; }")
    return lambda: scene.at_host(22)


def others_accept_a_port(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(_of_home("tcp dport 22 accept"))
    return lambda: scene.at_host(22)


def others_accept_another_interface(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(_of_home('iifname != "wan1" accept'))
    return lambda: scene.at_host(22)


def others_set_our_label(scene: Scene, stack: ExitStack) -> Arrives:
    """After our chain, which drops the answer: it has the label, and no element carries it."""
    scene.nft(_of_home("udp dport 22 ct label set 127"))

    def arrives() -> bool:
        server = stack.enter_context(EchoServer(scene.console, UDP, 2200))
        scene.nft(_of_home("udp dport 2200 ct label set 127"))
        reach(scene.peer, UDP, scene.console.address6, 2200, timeout=REFUSED_S)
        return bool(server.seen)

    return arrives


def others_translate(scene: Scene, stack: ExitStack) -> Arrives:
    return foreign_dnat(scene, stack)


def ours_is_gone_and_the_flow_goes_on(scene: Scene, stack: ExitStack) -> Arrives:
    call = scene.call(stack)
    scene.nft(f"delete table {TABLE}")
    scene.ledger.clear()
    return call.ask


def others_accept_a_set(scene: Scene, stack: ExitStack) -> Arrives:
    scene.nft(
        "add set inet home known { type ipv6_addr . inet_service; flags timeout; }",
        f"add element inet home known {{ {scene.console.address6} . 22 timeout 300s }}",
        _of_home("ip6 daddr . tcp dport @known accept"),
    )
    return lambda: scene.at_host(22)


ALONGSIDE_FAULTS = (
    Seeded("the drop of the other firewall is lost", others_drop_is_lost),
    Seeded("the other firewall accepts a port", others_accept_a_port),
    Seeded("the other firewall accepts all but a wrong interface", others_accept_another_interface),
    Seeded("the other firewall sets our label", others_set_our_label),
    Seeded("the other firewall accepts the elements of a set", others_accept_a_set),
    Seeded("another table translates", others_translate),
    Seeded("our table is gone, and a flow goes on", ours_is_gone_and_the_flow_goes_on, Fault.FLOW),
    Seeded("an element leads to another host", leads_to_another_host),
    Seeded("an element has no timeout", no_timeout, Fault.NO_TIMEOUT),
    Seeded("the mapping of a pinhole is gone", pinhole_gone),
    Seeded("a flow outlives its pinhole", flow_outlives_its_pinhole, Fault.FLOW),
)
