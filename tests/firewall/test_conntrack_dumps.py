"""The choice of dumps: none, one of everything, one for each port, or one for each kind of flow."""

import struct
from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.fixtures.firewall_driver import forward, pinhole
from upnp_gw.firewall.conntrack_dumps import (
    FEW_ENTRIES,
    PortSide,
    dump_filter,
    dumps_for,
    status_filter,
    transport_filter,
    untranslated_filter,
)
from upnp_gw.firewall.flows import Flows, FlowsToEnd, OutgoingFlows, flows_before
from upnp_gw.model.mapping import Transport
from upnp_gw.system.netlink import NLA_F_NESTED, attribute, parse_attributes

TCP, UDP = Transport.TCP, Transport.UDP
ADDRESSES = [ip_address("11.22.33.44"), ip_address("11.22.33.45")]
MANY = FEW_ENTRIES + 1
ASSURED, SEEN_REPLY, TRANSLATED = 1 << 2, 1 << 1, 1 << 5


def before(*ports: int, transport: Transport = TCP) -> list[FlowsToEnd]:
    forwards = [forward(f"m{port}", port, transport=transport) for port in ports]
    return [flows for one in forwards for flows in flows_before(one, ADDRESSES)]


def outgoing(*ports: int, transport: Transport = TCP) -> list[FlowsToEnd]:
    forwards = [forward(f"m{port}", port, transport=transport) for port in ports]
    return [OutgoingFlows.of(one, [one], ADDRESSES) for one in forwards]


def through(*ports: int, to: str = "192.168.77.10") -> list[FlowsToEnd]:
    return [Flows.through(forward(f"m{port}", port, to, internal_port=port)) for port in ports]


def test_nothing_is_dumped_where_nothing_can_match() -> None:
    assert dumps_for([], MANY) == []
    assert dumps_for(before(80), 0) == []


def test_few_entries_are_dumped_at_once() -> None:
    assert dumps_for([*before(80, transport=UDP), *outgoing(80), *through(80)], FEW_ENTRIES) == [b""]


@pytest.mark.parametrize(
    ("flows", "dumps"),
    [
        (before(80), [untranslated_filter(address) for address in ADDRESSES]),
        (before(*range(100)), [untranslated_filter(address) for address in ADDRESSES]),
        (outgoing(80), [dump_filter(TCP, 80, PortSide.BACK) + status_filter(0, ASSURED)]),
        (outgoing(80, 81), [transport_filter(TCP) + status_filter(0, ASSURED)]),
        (outgoing(80, 80, 81, transport=UDP), [dump_filter(UDP, port, PortSide.BACK) for port in (80, 81)]),
        (outgoing(*range(100), transport=UDP), [transport_filter(UDP)]),
        (through(80), [dump_filter(TCP, 80) + status_filter(TRANSLATED, TRANSLATED)]),
        (through(*range(100)), [status_filter(TRANSLATED, TRANSLATED)]),
        (through(443, to="2001:db8::1"), [dump_filter(TCP, 443)]),
        (through(*range(100), to="2001:db8::1"), [b""]),
        ([Flows.through(pinhole("m1", 443, "11.99.1.10"))], [dump_filter(TCP, 443)]),
        ([replace(one, address=None) for one in before(80) if isinstance(one, Flows)], [dump_filter(TCP, 80)]),
    ],
)
def test_the_filters_of_a_busy_router(flows: list[FlowsToEnd], dumps: list[bytes]) -> None:
    assert dumps_for(flows, MANY) == dumps


def test_only_answered_flows() -> None:
    bits = TRANSLATED | SEEN_REPLY
    assert dumps_for(through(*range(100)), MANY, answered=True) == [status_filter(bits, bits)]
    six = through(*range(100), to="2001:db8::1")
    assert dumps_for(six, MANY, answered=True) == [status_filter(SEEN_REPLY, SEEN_REPLY)]


def test_the_filter_names_protocol_and_destination_port() -> None:
    attributes = parse_attributes(dump_filter(UDP, 4074))
    assert attributes == {
        1: attribute(2 | NLA_F_NESTED, attribute(1, b"\x11") + attribute(3, struct.pack("!H", 4074))),
        25: attribute(1, struct.pack("=I", 0x28)),
    }
    source = parse_attributes(parse_attributes(dump_filter(UDP, 3074, PortSide.FROM))[1])[2]
    assert parse_attributes(source) == {1: b"\x11", 2: b"\x0c\x02"}
    answers = parse_attributes(dump_filter(UDP, 4074, PortSide.BACK))
    assert answers == {2: attributes[1], 25: attribute(2, struct.pack("=I", 0x28))}
