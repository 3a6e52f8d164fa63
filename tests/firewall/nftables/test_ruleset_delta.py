"""From forwards to one transaction, as text; nothing but typed values and our own ids in it."""

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.firewall_driver import NETWORK, forward, pinhole, settings
from tests.fixtures.sent_batches import EVERY_KIND
from upnp_gw.firewall.base import Change, Close, Cut, FirewallMode, Forward, Open, Refill, UpdateNetwork
from upnp_gw.firewall.flows import Flows, OutgoingFlows
from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.nftables.element_text import commands_of
from upnp_gw.firewall.nftables.elements import internal_key, peer_key, slot_of
from upnp_gw.firewall.nftables.ruleset import (
    CARRYING,
    FILLED,
    OPENING,
    SPECIAL,
    contents,
    own_sets,
    prefixes_of_lans,
    structure,
    version,
)
from upnp_gw.firewall.nftables.ruleset_delta import delta_of
from upnp_gw.firewall.nftables.state import RulesetState
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import DecisionId, Endpoint, Transport
from upnp_gw.model.network import Link, Network


def empty_state() -> RulesetState:
    return RulesetState(NETWORK, size=100)


def test_the_transaction_of_an_open() -> None:
    delta = delta_of(empty_state(), [Open(forward("m1", 80, internal_port=8080, timeout_s=59.2))], 0)
    assert commands_of(delta.edits.whole()).splitlines() == [
        'add element inet upnp_gw live { 6 . 80 timeout 150s comment "m1" }',
        "delete element inet upnp_gw live { 6 . 80 }",
        'add element inet upnp_gw pm { 6 . 80 timeout 60s comment "m1" : 192.168.77.10 . 8080 }',
        'add element inet upnp_gw live { 6 . 80 timeout 150s comment "m1" }',
        "add element inet upnp_gw out { 6 . 192.168.77.10 . 8080 timeout 60s : 11.22.33.44 . 80 }",
    ]


def test_the_transaction_of_a_pinhole_of_an_ipv4_host() -> None:
    """Nothing is translated: it has no element in ``out`` and ``external_ports``, and ends no earlier flow."""
    kept = RulesetState(NETWORK, size=100, router=True)
    delta = delta_of(kept, [Open(pinhole("m1", 443, "11.99.1.10"))], 0)
    assert commands_of(delta.edits.whole()).splitlines() == [
        'add element inet upnp_gw live4 { 6 . 11.99.1.10 . 443 timeout 690s comment "m1" }',
        "delete element inet upnp_gw live4 { 6 . 11.99.1.10 . 443 }",
        'add element inet upnp_gw hole4 { 6 . 11.99.1.10 . 443 timeout 600s comment "m1" }',
        'add element inet upnp_gw live4 { 6 . 11.99.1.10 . 443 timeout 690s comment "m1" }',
    ]
    assert delta.flows() == []
    delta.commit()
    mapped = forward("m2", 8443, "11.99.1.10", 443)
    commands = commands_of(delta_of(kept, [Open(mapped)], 0).edits.whole())
    assert "out { 6 . 11.99.1.10 . 443 timeout 600s : 11.22.33.44 . 8443 }" in commands, "a mapping is beside it"


def test_a_cut_of_a_pinhole_of_an_ipv4_host_names_its_flows() -> None:
    kept, one, other = empty_state(), pinhole("m1", 443, "11.99.1.10"), pinhole("m2", 443, "11.99.1.11")
    delta_of(kept, [Open(one), Open(other)], 0).commit()
    delta = delta_of(kept, [Close(one), Cut(one)], 5)
    commands = commands_of(delta.edits.whole())
    assert "delete element inet upnp_gw live4 { 6 . 11.99.1.10 . 443 }" in commands
    assert "cut { 6 . 11.99.1.10 . 443 timeout 120s }" in commands
    assert "11.99.1.11" not in commands
    assert delta.flows() == [Flows.through(one)]
    assert not delta.taken_over


def test_a_refused_batch_leaves_the_books_as_they_were() -> None:
    kept = empty_state()
    delta_of(kept, [Open(forward("m1"))], 0)
    assert not kept.forwards
    assert not kept.users


def test_the_carrying_element_outlives_its_mapping() -> None:
    kept = empty_state()
    one, two = forward("m1", 80, timeout_s=1000), forward("m2", 81, internal_port=80, keep=False)
    delta_of(kept, [Open(one), Open(two)], 0).commit()
    delta = delta_of(kept, [Open(replace(two, timeout_s=10)), Close(one)], 100)
    assert 'live { 6 . 81 timeout 100s comment "m2", 6 . 80 timeout 90s comment "m1" }' in commands_of(
        delta.edits.whole()
    )


def test_a_closed_forward_carries_its_flows_until_they_are_cut() -> None:
    kept = empty_state()
    one, hole = forward("m1", 80), forward("m2", 443, "2001:db8::1", remote="2001:db8:9::/48")
    delta_of(kept, [Open(one), Open(hole)], 0).commit()
    delta_of(kept, [Close(one), Close(hole)], 0).commit()
    delta = delta_of(kept, [Cut(one), Cut(hole)], 5)
    assert "delete element inet upnp_gw live { 6 . 80 }" in commands_of(delta.edits.whole())
    assert (
        "delete element inet upnp_gw live6_net { 6 . 2001:db8::1 . 443 . 2001:db8:9::/48 . 0-65535 }"
        in commands_of(delta.edits.whole())
    )
    delta.commit()
    assert not kept.closed
    assert not kept.closed_at
    assert "live" not in commands_of(delta_of(kept, [Cut(one)], 6).edits.whole())


def test_closed_forwards_that_expired_in_the_kernel_are_forgotten() -> None:
    kept = empty_state()
    for number in range(5):
        delta_of(kept, [Open(forward("m1", 80 + number))], number).commit()
        delta_of(kept, [Close(forward("m1", 80 + number))], number).commit()
    assert len(kept.closed) == 5
    delta_of(kept, [], 92).commit()
    assert [held.external_port for held in kept.closed.values()] == [83, 84]
    assert list(kept.closed_at) == [peer_key(Transport.TCP, 83), peer_key(Transport.TCP, 84)]


def test_a_new_endpoint_of_a_freed_port_ends_the_flows_of_the_old() -> None:
    """The kernel names such flows by their external side alone, so they would pass as flows of the new endpoint."""
    kept = empty_state()
    old = forward("m1", 80, remote="203.0.113.7/32")
    delta_of(kept, [Open(old)], 0).commit()
    delta_of(kept, [Close(old)], 0).commit()
    delta = delta_of(kept, [Open(forward("m2", 80, "192.168.77.11"))], 1)
    assert Flows.through(old) in delta.flows()
    assert delta.taken_over
    assert "delete element inet upnp_gw live_rh { 6 . 80 . 203.0.113.7 }" in commands_of(delta.edits.whole())
    beside = delta_of(kept, [Open(forward("m2", 80, internal_port=8080))], 1)
    assert Flows.through(old) in beside.flows()
    assert not beside.taken_over, "of the same host"
    again = delta_of(kept, [Open(forward("m2", 80))], 1)
    assert Flows.through(old) not in again.flows(), "the same endpoint again"
    assert not again.taken_over


def test_the_external_ports_of_router_mode_stand_as_long_as_any_mapping_of_them() -> None:
    kept = RulesetState(NETWORK, size=100, router=True)
    one, two = forward("m1", 80, timeout_s=60), forward("m2", 80, remote="203.0.113.7/32", timeout_s=600)
    delta = delta_of(kept, [Open(one), Open(two)], 0)
    assert "external_ports { 6 . 80 timeout 600s }" in commands_of(delta.edits.whole())
    assert [flows for flows in delta.flows() if isinstance(flows, OutgoingFlows)] == 2 * [
        OutgoingFlows(Transport.TCP, 80, frozenset(NETWORK.external), frozenset([one.internal]))
    ]
    delta.commit()
    delta = delta_of(kept, [Close(two)], 10)
    assert "external_ports { 6 . 80 timeout 50s }" in commands_of(delta.edits.whole())
    delta.commit()
    delta = delta_of(kept, [Close(one)], 10)
    assert (
        commands_of(delta.edits.whole()).splitlines().count("delete element inet upnp_gw external_ports { 6 . 80 }")
        == 1
    )
    assert "external_ports" not in commands_of(delta_of(empty_state(), [Open(one)], 0).edits.whole()), (
        "alongside it is others who translate"
    )


def test_the_source_port_belongs_to_its_keeper_and_moves_on_after_it() -> None:
    kept = empty_state()
    one, two = forward("m1", 80), forward("m2", 81, internal_port=80, keep=False)
    delta_of(kept, [Open(one), Open(two)], 0).commit()
    delta = delta_of(kept, [Close(one), Open(replace(two, keep_source_port=True))], 0)
    assert "timeout 600s : 11.22.33.44 . 81" in commands_of(delta.edits.whole())
    delta.commit()
    assert commands_of(delta_of(kept, [Close(two)], 0).edits.whole()).count("inet upnp_gw out") == 2, (
        "added once more and deleted"
    )


def test_without_an_external_address_no_source_port_is_kept() -> None:
    kept = RulesetState(replace(NETWORK, external=()), size=100)
    delta_of(kept, [Open(forward("m1"))], 0).commit()
    assert not kept.outs
    delta = delta_of(kept, [UpdateNetwork(NETWORK)], 0)
    assert ": 11.22.33.44 . 3074" in commands_of(delta.edits.whole())
    delta.commit()
    assert kept.outs


def test_source_ports_move_to_the_address_that_the_table_was_opened_with_again() -> None:
    kept = empty_state()
    delta_of(kept, [Open(forward("m1"))], 0).commit()
    kept.network = replace(NETWORK, external=(IPv4Address("11.22.33.99"),))  # as ``NftablesFirewall.open`` does
    delta = delta_of(kept, [Open(forward("m2", 81))], 0)
    outs = [line for line in commands_of(delta.edits.whole()).splitlines() if "element inet upnp_gw out" in line]
    assert [line.partition(" ")[0] for line in outs] == ["add", "delete", "add"]
    assert "11.22.33.44 . 3074" in outs[0], "the element that is there"
    assert "11.22.33.99 . 3074" in outs[2]
    delta.commit()
    assert not delta_of(kept, [], 0).edits.whole(), "once"


def test_a_cut_shuts_the_endpoint_and_names_its_flows() -> None:
    kept = empty_state()
    delta_of(kept, [Open(forward("m1"))], 0).commit()
    delta = delta_of(kept, [Close(forward("m1")), Cut(forward("m1"))], 0)
    assert "add element inet upnp_gw cut { 6 . 192.168.77.10 . 3074 timeout 120s }" in commands_of(
        delta.edits.whole()
    )
    assert commands_of(delta.edits.whole()).rfind("live") < commands_of(delta.edits.whole()).rfind(
        "add element inet upnp_gw cut"
    )
    assert delta.flows() == [Flows.through(forward("m1"))]


def test_a_cut_spares_flows_of_another_forward_to_the_endpoint() -> None:
    kept = empty_state()
    named = forward("m2", remote="203.0.113.7/32", timeout_s=60)
    delta_of(kept, [Open(forward("m1")), Open(named)], 0).commit()
    delta_of(kept, [Close(forward("m1"))], 0).commit()
    ended = Flows.through(forward("m1"))
    assert delta_of(kept, [Cut(forward("m1"))], 5).flows() == [replace(ended, spared=(Flows.through(named),))]
    assert delta_of(kept, [Cut(forward("m1"))], 61).flows() == [ended], "the kernel has ended the other"
    assert delta_of(kept, [Close(named), Cut(forward("m1"))], 5).flows() == [ended]


def test_a_refresh_ends_no_flows() -> None:
    kept = empty_state()
    first = delta_of(kept, [Open(forward("m1"))], 0)
    assert first.flows() == [Flows.untranslated(forward("m1"), *NETWORK.external)]
    first.commit()
    assert delta_of(kept, [Open(forward("m1", timeout_s=5))], 0).flows() == []


@pytest.mark.parametrize(
    "wrong",
    [
        replace(forward(), id='m1" : 1.2.3.4 . 22'),
        replace(forward(), id=""),
        replace(forward(), id="M1"),
        replace(forward(), id="m" * 33),
        replace(forward(), external_port=0),
        replace(forward(), external_port=65536),
        replace(forward(), internal=Endpoint(IPv4Address("10.0.0.1"), 0)),
        replace(forward(), remote=ip_network("2001:db8::/64")),
        replace(forward(), external_address=IPv6Address("2001:db8::1")),
        replace(forward(), internal=Endpoint(IPv6Address("fe80::1%lan0"), 80)),
    ],
)
@pytest.mark.spec("SR-12")
def test_an_invalid_change_is_refused_before_the_kernel(wrong: Forward) -> None:
    with pytest.raises(FirewallError):
        delta_of(empty_state(), [Open(wrong)], 0)


V4 = st.integers(1, 2**32 - 1).map(IPv4Address)
PORTS = st.integers(1, 65535)


@pytest.mark.spec("SR-12", "SR-29")
@given(
    st.text(), V4, PORTS, PORTS, st.none() | V4, st.none() | V4, st.floats(0.001, 1e7), st.sampled_from(Transport)
)
def test_only_typed_values_and_ids_reach_nft(
    forward_id: str,
    to: IPv4Address,
    outer: int,
    inner: int,
    own: IPv4Address | None,
    remote: IPv4Address | None,
    timeout_s: float,
    transport: Transport,
) -> None:
    one = Forward(
        forward_id,
        DecisionId("d1"),
        transport,
        own,
        outer,
        ip_network(remote) if remote else None,
        Endpoint(to, inner),
        timeout_s,
    )
    try:
        commands = commands_of(delta_of(empty_state(), [Open(one), Cut(one)], 0).edits.whole())
    except FirewallError:
        assert not re.fullmatch("[a-z0-9-]{1,32}", forward_id)
        return
    word = r"(add|delete|element|inet|upnp_gw|[a-z0-9_]+|[0-9./-]+|[.:{},])"
    for line in commands.splitlines():
        line = re.sub(r'comment "[a-z0-9-]{1,32}"', "comment", line)
        assert re.fullmatch(rf"(add|delete) element inet upnp_gw [a-z0-9_]+ \{{( {word},?)+ \}}", line), line
        if line.startswith("add") and any(f" {name} {{" in line for name in OPENING):
            assert re.search(r"timeout [1-9]\d*s", line)


def test_every_slot_has_its_map() -> None:
    remotes = (None, "0.0.0.0/0", "203.0.113.7/32", "203.0.113.0/24")
    slots = [
        slot_of(forward(remote=remote, external=external))
        for external in (None, IPv4Address("11.22.33.44"))
        for remote in remotes
    ]
    assert [slot.map for slot in slots] == [
        "pm", "pm", "pm_rh", "pm_net", "pm_ip", "pm_ip", "pm_ip_rh", "pm_ip_net",
    ]  # fmt: skip


@pytest.mark.spec("SR-29")
@pytest.mark.parametrize("mode", list(FirewallMode))
def test_every_set_that_opens_has_timeouts_a_counter_and_a_size(mode: FirewallMode) -> None:
    declared = structure(settings(mode, size=77))
    for name in (*FILLED, "cut", "cut6"):
        (line,) = re.findall(rf"^ (?:map|set) {name} .*$", declared, re.MULTILINE)
        assert "timeout" in line
        assert re.search(r"size \d+;", line)
        assert ("counter" in line) is (name in (*OPENING, *CARRYING.values()))


LANS = Network(
    Link("wan0", 4, True, (ip_interface("11.0.0.2/24"),)),
    (
        Link("lan0", 2, True, (ip_interface("192.168.1.1/24"), ip_interface("fe80::1/64"))),
        Link("lan1", 3, True, (ip_interface("192.168.2.1/24"), ip_interface("fe80::1/64"))),
    ),
    routed=(ip_network("10.5.0.0/16"), ip_network("fd05::/48"), ip_network("10.6.0.0/16")),
    routed_on=("lan0", "lan1", ""),
)


def untranslated(network: Network) -> set[str]:
    elements = re.search("add element inet upnp_gw untranslated {(.*)}", own_sets(network))
    return set(elements[1].replace('"', "").replace(" . ", " ").strip().split(", ")) if elements else set()


@pytest.mark.parametrize("without_nat", [set(), {"lan0"}, {"lan1"}, {"lan0", "lan1"}])
def test_the_prefixes_without_nat(without_nat: set[str]) -> None:
    """Those of their LANs, and the routed ones: a prefix without a route is on the first LAN."""
    found = untranslated(replace(LANS, without_nat=frozenset(without_nat)))
    everything = {"lan0 10.5.0.0/16", "lan0 10.6.0.0/16", "lan0 192.168.1.0/24", "lan1 192.168.2.0/24"}
    assert found == {place for place in everything if place[:4] in without_nat}


def test_a_prefix_on_two_lans_is_inside_on_both_and_of_the_first() -> None:
    net = ip_network("192.168.1.0/24")
    network = replace(LANS, lans=(*LANS.lans, replace(LANS.lans[0], name="lan2")), routed=(), routed_on=())
    assert {lan for lan, one in prefixes_of_lans(network) if one == net} == {"lan0", "lan2"}
    assert untranslated(replace(network, without_nat=frozenset({"lan0", "lan2"}))) == {f"lan0 {net}"}
    assert untranslated(replace(network, without_nat=frozenset({"lan2"}))) == set()


def test_a_routed_prefix_is_inside_on_every_lan_unless_its_own_has_no_nat() -> None:
    """The kernel's route to one host of it says nothing about the others."""

    def lans(text: str, *without_nat: str) -> set[str]:
        network = replace(LANS, without_nat=frozenset(without_nat))
        return {lan for lan, net in prefixes_of_lans(network) if net == ip_network(text)}

    both = {"lan0", "lan1"}
    assert lans("10.5.0.0/16") == lans("10.5.0.0/16", "lan1") == lans("10.6.0.0/16", "lan0") == both
    assert lans("fd05::/48", "lan1") == both
    assert lans("10.5.0.0/16", "lan0") == {"lan0"}


def test_of_two_prefixes_the_longer_one_says_whether_a_host_has_nat() -> None:
    wide = ip_network("192.168.0.0/22")
    network = replace(LANS, routed=(wide,), routed_on=("lan1",), without_nat=frozenset({"lan1"}))
    assert untranslated(network) == {"lan1 192.168.0.0/24", "lan1 192.168.2.0/24", "lan1 192.168.3.0/24"}
    for address in map(ip_address, ("192.168.0.1", "192.168.1.1", "192.168.2.1", "192.168.3.1")):
        (place,) = [lan for lan, net in prefixes_of_lans(network) if address in net]  # the wide one has no NAT
        assert network.translates(address) is (place != "lan1")
    one = replace(LANS, lans=LANS.lans[:1], routed=(wide,), routed_on=(), without_nat=frozenset({"lan0"}))
    assert "lan0 192.168.2.0/23" in untranslated(one)


def test_the_version_follows_the_structure_alone() -> None:
    base = settings(FirewallMode.ROUTER)
    assert version(base) == version(replace(base, hairpin="same", network=replace(NETWORK, external=())))
    assert version(base) != version(replace(base, size=5))
    apart = replace(base, network=replace(NETWORK, without_nat=frozenset({"lan0"})))
    assert version(base) != version(apart), "the kernel reserves no room for what a gateway with NAT does not have"
    assert re.findall("set (?:hole|live)._rh .*size", structure(base)) == re.findall(
        "set (?:hole|live)._rh .*size", structure(apart)
    )
    assert version(apart) == version(replace(apart, network=replace(apart.network, external=())))
    assert version(base) != version(settings(FirewallMode.ALONGSIDE))
    assert contents(base) != contents(replace(base, hairpin="same"))


@pytest.mark.spec("PCP-194")
@pytest.mark.parametrize("mode", FirewallMode)
def test_the_anycast_addresses_are_redirected_only_if_configured_and_from_the_lan(mode: FirewallMode) -> None:
    base = settings(mode)
    asked = replace(base, anycast=True)
    assert "redirect" not in contents(base)
    redirects = [line.strip() for line in contents(asked).splitlines() if "redirect" in line]
    assert len(redirects) == 2
    assert all(
        line.startswith("iifname @lan ip") and line.endswith("udp dport 5351 redirect") for line in redirects
    )
    assert version(asked) == version(base), "the structure is the same, so a change keeps the mappings"


def test_alongside_has_no_verdict_that_binds_others() -> None:
    """An accept in our base chain overrides nobody, a drop would: we drop only flows that we let in ourselves, and
    what is for our own servers, over the share of a LAN host."""
    network = replace(NETWORK, without_nat=frozenset({"lan0"}))
    text = contents(settings(FirewallMode.ALONGSIDE, network, http_port=5000))
    others, own = text.split(" chain own_servers {")
    chains = dict(re.findall(r"^ chain (\w+) {\n(.*?)^ }", others, re.MULTILINE | re.DOTALL))
    dropping = {name for name, rules in chains.items() if re.search(r"\bdrop\b", rules)}
    pinholes = {"first_pinhole_packet", "first_pinhole_packet4"}
    assert dropping == {"carried", "carried6", "carried4", "forged", *pinholes}
    ways = {
        name: [
            rule.strip()
            for rule in others.splitlines()
            if re.search(rf"(?:goto|jump) {name}$", rule) and "chain" not in rule
        ]
        for name in dropping
    }
    assert ways["carried"] == ["ct label 127 goto carried"]
    assert ways["carried6"] == ["meta nfproto ipv6 goto carried6"]
    assert ways["carried4"] == ["ct status ! dnat goto carried4"]
    assert ways["forged"] == ["iifname @wan jump forged"]
    assert ways["carried6"][0] in chains["carried"]
    assert ways["carried4"][0] in chains["carried"]
    assert ways["forged"][0] in chains["carried"]
    for name in pinholes:
        assert len(ways[name]) == 3
        assert all(re.search(r" @hole[46]\w* goto", rule) for rule in ways[name])
    entries = own.partition("}")[0].split("\n")[1:-1]
    assert all(
        re.match(r"  iifname @lan (udp dport 5351|udp dport 1900|tcp dport 5000) ", line) for line in entries
    )
    assert len(re.findall(r"\bdrop\b", own)) == 1
    assert "  counter drop\n" in own
    assert "masquerade" in text
    assert "oifname @wan ip saddr != @external masquerade" not in text
    assert "chain input" not in text


class Refusing:
    """A libnftables that refuses everything with this text."""

    def __init__(self, error: str) -> None:
        self.error = error

    def cmd(self, cmdline: str) -> tuple[int, str, str]:
        return 1, "", self.error

    def set_json_output(self, val: bool) -> None: ...


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("internal:0:0-0: Error: Could not process rule: Too many open files in system\n\n", "a map is full"),
        ("<cmdline>:1:1-9: Error: syntax error, unexpected foo\nfoo bar\n^^^\n", "syntax error, unexpected foo$"),
        ("internal:0:0-0: Error: Could not process rule: Operation not permitted\n", "needs CAP_NET_ADMIN"),
        ("", "the kernel refused the change"),
    ],
)
@pytest.mark.spec("SR-5")
def test_the_kernels_complaint_is_one_sentence(error: str, sentence: str) -> None:
    with pytest.raises(FirewallError, match=sentence):
        Session(Refusing(error)).run("add table inet x")


@pytest.mark.parametrize(
    ("mode", "several", "anycast", "hooks"),
    [
        (FirewallMode.ALONGSIDE, False, False, set()),
        (FirewallMode.ALONGSIDE, True, False, set()),
        (FirewallMode.ALONGSIDE, False, True, {"prerouting"}),
        (FirewallMode.ROUTER, False, False, set()),
        (FirewallMode.ROUTER, True, False, {"postrouting"}),
    ],
)
def test_a_gateway_that_translates_nothing_has_no_hook_for_that(
    mode: FirewallMode, several: bool, anycast: bool, hooks: set[str]
) -> None:
    """Each new flow of every host pays for them. With several LANs one of them drops forged sources."""
    lans = (NETWORK.lans[0], replace(NETWORK.lans[0], name="lan1", index=9)) if several else NETWORK.lans[:1]
    apart = frozenset(link.name for link in lans)
    without = replace(settings(mode, replace(NETWORK, lans=lans, without_nat=apart)), anycast=anycast)
    translating = {"prerouting", "output", "postrouting", "leaving"}

    def declared(text: str, names: str) -> set[str]:
        return set(re.findall(names, text)) & translating

    assert declared(structure(without), r"chain (\w+) \{ type") == hooks
    assert declared(contents(without), r"chain (\w+) \{\n") == hooks
    one_with_nat = settings(
        mode, replace(NETWORK, lans=lans, without_nat=apart - {"lan1"} if several else frozenset())
    )
    everything = translating if mode is FirewallMode.ROUTER else translating - {"leaving"}
    assert declared(structure(one_with_nat), r"chain (\w+) \{ type") == everything
    assert declared(structure(settings(mode, replace(NETWORK, lans=()))), r"chain (\w+) \{ type") == everything


@pytest.mark.parametrize("mode", list(FirewallMode))
def test_rules_for_hosts_without_nat_delay_no_packet_where_every_lan_has_nat(mode: FirewallMode) -> None:
    with_nat = contents(settings(mode))
    without = contents(settings(mode, replace(NETWORK, without_nat=frozenset({"lan0"}))))
    assert re.search("@hole4|@untranslated|@inside|carried4 *$", without)
    assert not re.search("@hole4|@untranslated|@inside|(jump|goto) \\w*4$", with_nat, re.MULTILINE)


def test_refill_forgets_earlier_forwards() -> None:
    kept = empty_state()
    delta_of(kept, [Open(forward("m1")), Open(forward("m2", 80))], 0).commit()
    delta = delta_of(kept, [Refill((forward("m3", 81),))], 0)
    assert commands_of(delta.edits.whole()).splitlines()[: len(FILLED)] == [
        f"flush {'map' if name.startswith(('pm', 'out')) else 'set'} inet upnp_gw {name}" for name in FILLED
    ]
    assert "delete" not in commands_of(delta.edits.whole())
    delta.commit()
    assert set(kept.forwards) == {"m3"}


REFILLS = st.lists(
    st.builds(
        lambda number, port, host, remote, external, keep, timeout_s: forward(
            f"m{number}",
            port,
            host,
            remote=remote if ":" not in host else None,
            external=(ip_address(host) if external == "own" else external) if ":" not in host else None,
            keep=keep,
            timeout_s=timeout_s,
        ),
        st.integers(1, 30),
        st.integers(1000, 1008),
        st.sampled_from(["192.168.77.10", "192.168.77.11", "2001:db8::1"]),
        st.sampled_from([None, "203.0.113.7/32", "203.0.113.0/24"]),
        st.sampled_from([None, IPv4Address("11.22.33.44"), "own"]),
        st.booleans(),
        st.sampled_from([0.5, 60, 600]),
    ),
    max_size=12,
)


@given(REFILLS, st.booleans(), st.booleans())
def test_a_refill_has_the_same_contents_as_opening_each(
    forwards: list[Forward], router: bool, has_external: bool
) -> None:
    network = NETWORK if has_external else replace(NETWORK, external=())
    states, deltas, refusals = [], [], []
    batches: list[list[Change]] = [[Refill(tuple(forwards))], [Refill(()), *map(Open, forwards)]]
    for changes in batches:
        state = RulesetState(network, size=100, router=router)
        delta_of(state, [Open(forward("m1")), Open(forward("m99", 1003))], 0).commit()
        try:
            delta = delta_of(state, changes, 0)
        except FirewallError as error:
            refusals.append(str(error))
            continue
        deltas.append((sorted(commands_of(delta.edits.whole()).replace(", ", "\n").splitlines()), delta.flows()))
        delta.commit()
        states.append(state)
    if refusals:
        assert refusals == 2 * ["another forward has this external port"]
        return
    assert states[0] == states[1]
    assert deltas[0] == deltas[1]


def test_a_change_after_a_refill_in_the_same_batch_counts() -> None:
    kept = empty_state()
    one, two = forward("m1", 80), forward("m2", 81)
    delta = delta_of(kept, [Refill((one, two)), Close(one), Open(replace(two, timeout_s=50))], 0)
    commands = commands_of(delta.edits.whole())
    assert "add element inet upnp_gw pm { 6 . 81 timeout 50s" in commands
    assert "6 . 80 timeout 600s" not in commands
    assert commands.count("6 . 192.168.77.10 . 81 timeout 50s") == 1
    delta.commit()
    assert set(kept.forwards) == {"m2"}
    assert set(kept.outs) == {internal_key(Transport.TCP, two.internal)}


def test_the_portions_of_a_refill_are_the_same_commands() -> None:
    many = tuple(forward(f"m{n}", 1 + n, keep=False) for n in range(2500))
    delta = delta_of(RulesetState(NETWORK, size=5000), [Refill(many)], 0)
    portions = list(map(commands_of, delta.edits.portions()))
    assert sorted("\n".join(portions).splitlines()) == sorted(commands_of(delta.edits.whole()).splitlines())
    assert portions[0].startswith("flush map inet upnp_gw pm\n")
    assert len(portions) == 6
    assert max(map(len, portions)) < 100_000


def test_no_portion_leaves_a_forward_without_its_live_endpoint_for_long() -> None:
    """Router mode drops what is not in ``live``: the first portion must not be mappings alone."""
    many = tuple(forward(f"m{n}", 1 + n, f"192.168.{n // 200}.{1 + n % 200}") for n in range(5000))
    delta = delta_of(RulesetState(NETWORK, size=5000), [Refill(many)], 0)
    portions = list(map(commands_of, delta.edits.portions()))
    for name in ("pm", "live", "out"):
        assert f"add element inet upnp_gw {name} {{" in portions[0]
    for number in range(0, 5000, 250):
        of_map = next(at for at, text in enumerate(portions) if f"6 . {number + 1} timeout" in text)
        inner = f"6 . {many[number].internal.address} . {number + 1} timeout"
        of_live = next(at for at, text in enumerate(portions) if inner in text)
        assert abs(of_map - of_live) <= 1


def test_the_first_portion_has_the_set_for_special_maps() -> None:
    """No packet finds the mappings of remote hosts without it."""
    many = (*EVERY_KIND, *(forward(f"n{n}", 10_000 + n, keep=False) for n in range(2500)))
    delta = delta_of(RulesetState(NETWORK, size=5000), [Refill(many)], 0)
    portions = list(map(commands_of, delta.edits.portions()))
    assert f"add element inet upnp_gw {SPECIAL} {{" in portions[0]


def special_timeouts(kept: RulesetState, *changes: Change, now: float = 0) -> list[int]:
    delta = delta_of(kept, changes, now)
    delta.commit()
    return [
        element.timeout_s
        for step in delta.edits.whole().steps
        if step.adds and step.map == SPECIAL
        for _, element in step.elements
    ][-2:]


def test_first_packets_are_looked_up_in_special_maps_while_those_have_elements() -> None:
    kept = RulesetState(NETWORK, size=100)
    plain, remote = forward("m1"), forward("m2", 81, remote="203.0.113.7/32", timeout_s=60)
    assert special_timeouts(kept, Open(plain)) == []
    assert special_timeouts(kept, Open(remote)) == [60, 60], "over both transports"
    assert special_timeouts(kept, Open(replace(remote, id="m3", external_port=82, timeout_s=30))) == []
    assert special_timeouts(kept, Open(remote), now=40) == [60, 60], "renewed"
    assert special_timeouts(kept, Close(remote), now=41) == []
    assert special_timeouts(kept, Refill((plain, remote)), now=42) == [60, 60]
    assert special_timeouts(kept, Refill((plain,)), now=43) == []
    assert special_timeouts(kept, Open(replace(remote, timeout_s=5)), now=44) == [5, 5], (
        "the refill emptied the set"
    )
