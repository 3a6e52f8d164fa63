"""The comparison with the ledger, on listings as libnftables gives them."""

import sys
import time
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

import pytest

from tests.firewall.openings.test_walk import PLACE, listing, match
from tests.fixtures.firewall_driver import forward
from upnp_gw.firewall.base import Forward
from upnp_gw.firewall.openings.findings import Fault, Finding, Proof, Verdict
from upnp_gw.firewall.openings.flows import OFFLOADED, TrackedFlow, Tuple, parse_flow
from upnp_gw.firewall.openings.kernel_state import KernelState
from upnp_gw.firewall.openings.permits import Permit
from upnp_gw.firewall.openings.proof import prove
from upnp_gw.firewall.openings.sentences import sentence
from upnp_gw.system.netlink import NetlinkMessage, attribute, nest

EXTERNAL = (IPv4Address("11.22.33.44"),)
OWN = {"family": "inet", "table": "upnp_gw"}
KEY = {"concat": [{"meta": {"key": "l4proto"}}, {"payload": {"protocol": "th", "field": "dport"}}]}
M1 = forward("m1", 8080, "192.168.77.10")
PEER = int(ip_address("198.51.100.7"))


def element(port: int, host: str, to: int, **more: Any) -> list[Any]:
    return [{"elem": {"val": {"concat": ["tcp", port]}, **more}}, {"concat": [host, to]}]


def ruleset(
    *elements: list[Any], rules: tuple[list[Any], ...] = (), policy: str = "drop", external: str = str(EXTERNAL[0])
) -> dict[str, Any]:
    """A table as ours is, in short: a map translates, and what it translated is accepted."""
    dnat = {"dnat": {"family": "ip", "addr": {"map": {"key": KEY, "data": "@pm"}}}}
    hooks = {
        "prerouting": {"type": "nat", "hook": "prerouting", "prio": 900, "policy": "accept"},
        "forward": {"type": "filter", "hook": "forward", "prio": 0, "policy": policy},
    }
    accept = [match("in", {"ct": {"key": "status"}}, "dnat"), {"accept": None}]
    here = match("==", {"payload": {"protocol": "ip", "field": "daddr"}}, external)
    chains = {"prerouting": [[here, dnat]], "forward": [*rules, accept]}
    objects: list[Any] = [{"chain": {**OWN, "name": name, **hook}} for name, hook in hooks.items()]
    objects.append({"map": {**OWN, "name": "pm", "elem": list(elements)}})
    objects += [
        {"rule": {**OWN, "chain": name, "expr": one}} for name, several in chains.items() for one in several
    ]
    return {"nftables": objects}


def proof(listed: dict[str, Any], *ledger: Forward, **more: Any) -> Proof:
    return prove(KernelState(listed, **more), [Permit.of(one, EXTERNAL) for one in ledger], PLACE)


def only(found: Proof) -> Finding:
    (finding,) = found.findings
    return finding


def test_a_mapping_with_a_timeout_is_proved() -> None:
    found = proof(ruleset(element(8080, "192.168.77.10", 8080, expires=590, comment="m1")), M1)
    assert found.verdict is Verdict.PROVED
    assert found.open_mappings == {"m1"}


def test_the_sentence_names_packet_and_rules() -> None:
    found = only(proof(ruleset(element(8080, "192.168.77.10", 22, expires=590)), M1))
    assert found.fault is Fault.NO_MAPPING
    assert sentence(found) == (
        "tcp from 198.51.100.7:40000 to 11.22.33.44:8080 reaches 192.168.77.10:22 on lan0, and no mapping opens it;"
        " let through by: inet upnp_gw prerouting, rule 1: ip daddr 11.22.33.44 dnat to l4proto . th dport map @pm;"
        " inet upnp_gw forward, rule 1: ct status dnat accept"
    )


@pytest.mark.parametrize(
    ("more", "fault"), [({}, Fault.NO_TIMEOUT), ({"expires": 3600}, Fault.OUTLIVES), ({"expires": 603}, None)]
)
def test_the_timeout_is_no_later_than_the_lease(more: dict[str, Any], fault: Fault | None) -> None:
    found = proof(ruleset(element(8080, "192.168.77.10", 8080, **more)), M1)
    assert [finding.fault for finding in found.findings] == ([fault] if fault else [])


def test_the_rest_of_a_map_is_known_by_the_port_that_was_asked_for() -> None:
    """A second rule translates what the map does not have, to the port of an element of the map."""
    listed = ruleset(element(9, "192.168.77.11", 9, expires=590))
    rule = [{"dnat": {"family": "ip", "addr": "192.168.77.11", "port": 9}}]
    listed["nftables"].append({"rule": {**OWN, "chain": "prerouting", "expr": rule}})
    found = proof(listed, forward("m9", 9, "192.168.77.11"))
    packets = [finding.packet for finding in found.findings if finding.packet is not None]
    assert {(packet.protocol, packet.host_port) for packet in packets} == {(6, 9)}
    assert all(
        (packet.protocol, packet.dport) != (6, 9) or packet.destination != int(EXTERNAL[0]) for packet in packets
    )


def test_a_rule_that_is_not_known_is_unknown_and_named() -> None:
    rule = [{"numgen": {"mode": "inc", "mod": 2}}, {"accept": None}]
    found = proof(ruleset(rules=(rule,)))
    assert found.verdict is Verdict.UNKNOWN
    assert "inet upnp_gw forward, rule 1: numgen accept" in sentence(found.findings[0])


def test_what_cannot_be_read_is_unknown() -> None:
    found = proof(ruleset(), problems=("table inet x cannot be read",))
    assert found.verdict is Verdict.UNKNOWN
    assert sentence(only(found)) == "nothing is proved: table inet x cannot be read"


def test_nothing_comes_in_by_a_version_that_the_kernel_does_not_route() -> None:
    open_table = ruleset(policy="accept")
    assert proof(open_table).verdict is Verdict.OPEN
    assert proof(open_table, forwarded=frozenset()).verdict is Verdict.PROVED


def flow(port: int = 8080, **more: Any) -> TrackedFlow:
    host = int(ip_address("192.168.77.10"))
    there = Tuple(6, PEER, 50000, int(EXTERNAL[0]), port)
    status = 1 << 5 | 1 << 3
    return TrackedFlow(4, there, Tuple(6, host, port, PEER, 50000), status, frozenset(), 0)._replace(**more)


def test_a_flow_belongs_to_a_mapping_or_to_one_that_has_just_ended() -> None:
    listed = ruleset()
    assert proof(listed, M1, flows=(flow(),)).verdict is Verdict.PROVED
    ended = Permit.of(M1, EXTERNAL, ended=True)
    assert prove(KernelState(listed, (flow(),)), [ended], PLACE).verdict is Verdict.PROVED
    found = only(proof(listed, M1, flows=(flow(), flow(9090))))
    assert found.fault is Fault.FLOW
    assert sentence(found).startswith(
        "the flow tcp from 198.51.100.7:50000 to 11.22.33.44:9090 reaches 192.168.77.10:9090 on lan0, and no"
    )


def test_an_ended_mapping_lets_no_new_flow_in() -> None:
    listed = ruleset(element(8080, "192.168.77.10", 8080, expires=590))
    found = prove(KernelState(listed), [Permit.of(M1, EXTERNAL, ended=True)], PLACE)
    assert only(found).fault is Fault.NO_MAPPING


def test_a_flow_in_a_flowtable_passes_every_chain() -> None:
    listed = listing({"forward": []}, "drop")
    assert proof(listed, flows=(flow(),)).verdict is Verdict.PROVED, "the chain drops it"
    assert only(proof(listed, flows=(flow(status=OFFLOADED | 1 << 5),))).fault is Fault.FLOW


def test_a_mapping_that_the_policy_cannot_allow_is_named() -> None:
    listed = ruleset(element(8080, "192.168.77.10", 8080, expires=590))
    permit = Permit.of(M1, EXTERNAL, allowed=False)
    found = only(prove(KernelState(listed), [permit], PLACE))
    assert (found.fault, found.mapping) == (Fault.NOT_ALLOWED, "m1")


def test_a_thousand_mappings_take_well_under_a_second() -> None:
    forwards = [forward(f"m{n}", 10_000 + n, f"192.168.77.{10 + n % 200}") for n in range(1000)]
    elements = [element(f.external_port, str(f.internal.address), f.internal.port, expires=590) for f in forwards]
    began = time.process_time()
    found = proof(ruleset(*elements), *forwards)
    took = time.process_time() - began
    assert found.verdict is Verdict.PROVED
    assert len(found.open_mappings) == 1000
    assert took < 0.8, took
    found = proof(ruleset(*elements), *forwards[:-1], replace(forwards[-1], external_port=9))
    assert only(found).fault is Fault.NO_MAPPING


@pytest.mark.parametrize("more", [{"remote_port": 53}, {"remote": ip_network("203.0.113.0/24")}])
def test_a_mapping_for_some_remote_hosts_or_one_of_their_ports_is_open_to_no_other(more: dict[str, Any]) -> None:
    listed = ruleset(element(8080, "192.168.77.10", 8080, expires=590))
    found = only(proof(listed, replace(M1, **more)))
    assert found.fault is Fault.NO_MAPPING
    assert found.packet is not None
    assert (found.packet.sport, found.packet.source) == (40000, PEER)


LABEL = {"ct": {"key": "label"}}


def test_a_label_that_a_rule_sets_is_set_for_the_next_one() -> None:
    accept = [match("in", LABEL, 5), {"accept": None}]
    setting = [{"mangle": {"key": LABEL, "value": 5}}]
    assert proof(ruleset(rules=(accept,))).verdict is Verdict.PROVED
    assert proof(ruleset(rules=(setting, accept))).verdict is Verdict.OPEN


def test_a_packet_without_a_flow_has_no_label_and_no_lack_of_one() -> None:
    """A rule does not match it, whatever its operator."""
    listed = ruleset(rules=([match("!", LABEL, 5), {"accept": None}],))
    assert {found.packet.state for found in proof(listed).findings if found.packet is not None} == {"new"}


def tuple_of(protocol: int, source: str, sport: int, destination: str, dport: int) -> bytes:
    ends = attribute(1, ip_address(source).packed) + attribute(2, ip_address(destination).packed)
    ports = attribute(2, sport.to_bytes(2, "big")) + attribute(3, dport.to_bytes(2, "big"))
    return nest(1, ends) + nest(2, attribute(1, bytes([protocol])) + ports)


@pytest.mark.parametrize(
    ("source", "protocol", "found"),
    [("198.51.100.7", 6, True), ("192.168.77.11", 6, False), ("198.51.100.7", 1, False)],
)
def test_the_flows_of_connection_tracking_from_outside_to_lan_hosts_are_read(
    source: str, protocol: int, found: bool
) -> None:
    labels = (1 << 127 | 1 << 3).to_bytes(16, sys.byteorder)
    words = labels if sys.byteorder == "little" else labels[8:] + labels[:8]
    body = nest(1, tuple_of(protocol, source, 50000, "11.22.33.44", 8080))
    body += nest(2, tuple_of(protocol, "192.168.77.10", 80, source, 50000))
    body += attribute(3, (1 << 5).to_bytes(4, "big")) + attribute(8, (7).to_bytes(4, "big")) + attribute(22, words)
    message = NetlinkMessage(0, 0, 1, 0, bytes(4) + body)
    flow = parse_flow(message, 4, PLACE.hosts[4], PLACE.hosts[4])
    assert (flow is not None) is found
    if flow is not None:
        assert (flow.labels, flow.mark, flow.reply.sport) == (frozenset({127, 3}), 7, 80)
        assert flow.packets("wan0").common.status == frozenset({"dnat"})
