"""Flowtables of other tables: they are found in a listing, and what the kernel does with flows in one."""

import subprocess
from typing import Any

import pytest

from tests.fixtures.firewall_driver import forward
from tests.fixtures.lab_firewall import Gateway
from tests.fixtures.waiting import until
from upnp_gw.firewall.base import Close, Cut, Open
from upnp_gw.firewall.other_tables.offload import FlowOffload, flow_offloads
from upnp_gw.lab import Lab
from upnp_gw.lab.probe import EchoServer, OpenConnection, dial
from upnp_gw.model.mapping import Transport

FLOWTABLE = {"family": "inet", "name": "ft", "table": "fw4", "handle": 1, "hook": "ingress", "prio": 0}
ADD = {"flow": {"op": "add", "flowtable": "@ft"}}
LINE = "nft insert rule inet fw4 forward ct label 127 accept"


def listing(flowtable: dict[str, Any], *rules: list[Any], table: str = "fw4", family: str = "inet") -> Any:
    """As libnftables lists a table: the flowtable, one chain on the forward hook, its rules."""
    chain = {"family": family, "table": table, "name": "forward", "hook": "forward", "type": "filter", "prio": 0}
    of = {"family": family, "table": table, "chain": "forward"}
    return {
        "nftables": [
            {"table": {"family": family, "name": table}},
            {"flowtable": {**FLOWTABLE, **flowtable, "table": table, "family": family}},
            {"chain": chain},
            *({"rule": {**of, "expr": list(rule)}} for rule in rules),
        ]
    }


def test_a_flowtable_that_a_rule_fills_is_found_with_its_devices() -> None:
    only = {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": {"set": ["tcp", "udp"]}}}
    assert flow_offloads(listing({"dev": ["eth0", "br-lan"]}, [only, ADD])) == [
        FlowOffload("inet fw4 forward", "ft", ("eth0", "br-lan"), LINE)
    ]


def test_one_device_and_none_are_listed_otherwise() -> None:
    assert [found.devices for found in flow_offloads(listing({"dev": "eth0"}, [ADD]))] == [("eth0",)]
    assert [found.devices for found in flow_offloads(listing({}, [ADD]))] == [()]


def test_a_flowtable_that_nothing_fills_takes_no_flow() -> None:
    assert flow_offloads(listing({"dev": ["eth0"]}, [{"accept": None}])) == []


def test_two_rules_of_one_chain_are_one_message() -> None:
    assert len(flow_offloads(listing({"dev": "eth0"}, [ADD], [{"counter": None}, ADD]))) == 1


def test_the_target_of_iptables_is_found() -> None:
    (found,) = flow_offloads(
        listing({}, [{"xt": {"type": "target", "name": "FLOWOFFLOAD"}}], table="filter", family="ip")
    )
    assert (found.chain, found.description) == ("ip filter forward", "FLOWOFFLOAD")


OFFLOADING = """
table inet fast {
  flowtable ft { hook ingress priority filter; devices = { wan0, lan0 }; }
  chain forward { type filter hook forward priority filter + 5; policy accept;
    meta l4proto { 6, 17 } flow add @ft
    iifname "wan0" meta nfproto ipv6 ct state new ct label ! 127 drop
  }
}
"""
"""Alongside, nobody else filters the lab's IPv6: a flow that was ended would begin anew."""
FASTEST_S = 20.0
"""Longer than the kernel takes to look through its flowtables, shorter than the 30 s that a flow may pause."""


@pytest.fixture
def offloaded(gateway: Gateway, fresh_lab: Lab) -> FlowOffload:
    """Another table with a software flowtable between WAN and LAN, as the daemon reads it."""
    try:
        fresh_lab.gateway.nft(OFFLOADING)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"this kernel has no flowtables (CONFIG_NF_FLOW_TABLE): {error}")
    (found,) = flow_offloads(gateway.do(gateway.firewall.read_ruleset()))
    assert set(found.devices) == {"wan0", "lan0"}
    return found


def carried(gateway: Gateway, call: OpenConnection, questions: int = 20) -> int:
    """Asks this many times. Returns the number of packets that our counter has grown by."""
    before = gateway.read().counters["m1"].packets
    assert all(call.ask() for _ in range(questions))
    return gateway.read().counters["m1"].packets - before


def established(gateway: Gateway, call: OpenConnection) -> None:
    """The flow has had packets each way, and the kernel has taken it over or will not."""
    assert all(call.ask() for _ in range(5))


@pytest.mark.lab
@pytest.mark.parametrize("transport", Transport)
@pytest.mark.parametrize("version", [4, 6])
def test_an_offloaded_flow_is_not_counted_and_a_cut_ends_it(
    offloaded: FlowOffload, gateway: Gateway, fresh_lab: Lab, transport: Transport, version: int
) -> None:
    lab, console = fresh_lab, fresh_lab.hosts["console"]
    inside = console.address if version == 4 else console.address6
    outside = lab.external[0] if version == 4 else console.address6
    one = forward("m1", 3074, str(inside), transport=transport)
    gateway.apply(Open(one))
    with EchoServer(console, transport, 3074), dial(lab.hosts["peer1"], transport, outside, 3074) as call:
        established(gateway, call)
        assert carried(gateway, call) == 0, "no packet passes our table"
        gateway.apply(Close(one), Cut(one))
        gateway.do(gateway.firewall.settled())
        assert until(lambda: not call.ask(), FASTEST_S)
        assert not call.ask()


@pytest.mark.lab
@pytest.mark.parametrize("version", [4, 6])
def test_with_the_printed_line_a_mapped_flow_stays_in_the_chains(
    offloaded: FlowOffload, gateway: Gateway, fresh_lab: Lab, version: int
) -> None:
    """It is counted, and the kernel alone ends it with its lease."""
    lab, console = fresh_lab, fresh_lab.hosts["console"]
    inside = console.address if version == 4 else console.address6
    outside = lab.external[0] if version == 4 else console.address6
    lab.gateway.run(offloaded.line.split())
    gateway.apply(Open(forward("m1", 3074, str(inside), timeout_s=3)))
    with EchoServer(console, Transport.TCP, 3074), dial(lab.hosts["peer1"], Transport.TCP, outside, 3074) as call:
        established(gateway, call)
        assert carried(gateway, call, 5) >= 10
        gateway.close()
        assert until(lambda: not call.ask(), FASTEST_S)
        assert not call.ask()
