"""rtnetlink bytes to messages, and messages to a network: no kernel involved."""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from socket import AF_INET, AF_INET6, AF_PACKET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.model.network import Link
from upnp_gw.system.link_state import LinkState
from upnp_gw.system.netlink import HEADER, attribute, parse_messages
from upnp_gw.system.rtnetlink import (
    ADDRESS,
    LINK,
    NEIGHBOUR,
    ROUTE,
    AddressMessage,
    LinkMessage,
    Message,
    MessageType,
    NeighbourMessage,
    NeighbourState,
    RouteMessage,
    RouteReply,
    has_route_messages,
    parse,
    parse_route_reply,
)

AF_BRIDGE = 7


def datagram(kind: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, 0, 1, 0) + body + bytes(-len(body) % 4)


def link(kind: int = MessageType.NEWLINK, family: int = 0, flags: int = 0x41, *extra: bytes) -> bytes:
    return datagram(kind, LINK.pack(family, 1, 7, flags, 0) + attribute(3, b"lan0\0") + b"".join(extra))


def address(kind: int, family: int, prefix: int, flags: int, *extra: bytes) -> bytes:
    return datagram(kind, ADDRESS.pack(family, prefix, flags, 0, 7) + b"".join(extra))


def neighbour(kind: int, family: int, state: int, flags: int = 0, *extra: bytes) -> bytes:
    return datagram(kind, NEIGHBOUR.pack(family, 7, state, flags, 0) + b"".join(extra))


def route(to: int, table: int, kind: int = 1, *extra: bytes) -> bytes:
    return datagram(MessageType.NEWROUTE, ROUTE.pack(AF_INET, to, 0, 0, table, 0, 0, kind, 0) + b"".join(extra))


V4, V6 = IPv4Address("192.168.1.9"), IPv6Address("2a11::9")
DST4, DST6 = attribute(1, V4.packed), attribute(1, V6.packed)
MAC = attribute(2, bytes.fromhex("020000000001"))
U32 = struct.Struct("=I")


def a4(
    usable: bool = True, secondary: bool = False, text: str = "192.168.1.9/24", permanent: bool = True
) -> AddressMessage:
    return AddressMessage(False, 7, ip_interface(text), usable, secondary, 0, permanent)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(link(), LinkMessage(False, 7, "lan0", True), id="link"),
        pytest.param(link(MessageType.DELLINK), LinkMessage(True, 7, "lan0", True), id="link gone"),
        pytest.param(link(MessageType.NEWLINK, 0, 0x1), LinkMessage(False, 7, "lan0", False), id="no carrier"),
        pytest.param(link(MessageType.NEWLINK, 0, 0x40), LinkMessage(False, 7, "lan0", False), id="not set up"),
        pytest.param(
            link(MessageType.NEWLINK, 0, 0xC1), LinkMessage(False, 7, "lan0", True, has_macs=False), id="tunnel"
        ),
        pytest.param(
            link(MessageType.NEWLINK, 0, 0x49), LinkMessage(False, 7, "lan0", True, has_macs=False), id="loopback"
        ),
        pytest.param(link(MessageType.DELLINK, AF_BRIDGE), None, id="a port leaves its bridge"),
        pytest.param(
            link(
                MessageType.NEWLINK,
                0,
                0x41,
                attribute(10, U32.pack(3)),
                attribute(18, attribute(1, b"bridge\0")),
                attribute(23, struct.pack("=24Q", 1, 2, 30, 40, *(0,) * 20)),
            ),
            LinkMessage(False, 7, "lan0", True, "bridge", 3, (40, 30, 2, 1)),
            id="kind, master, counters",
        ),
        pytest.param(address(MessageType.NEWADDR, AF_INET, 24, 0x80, DST4), a4(), id="address"),
        pytest.param(
            address(MessageType.NEWADDR, AF_INET, 32, 0, attribute(2, V4.packed), attribute(1, b"\x0b\0\0\1")),
            a4(text="192.168.1.9/32", permanent=False),
            id="point to point: the local one",
        ),
        pytest.param(address(MessageType.NEWADDR, AF_INET, 24, 0x81, DST4), a4(secondary=True), id="secondary"),
        pytest.param(
            address(MessageType.NEWADDR, AF_INET6, 64, 0x40, DST6),
            AddressMessage(False, 7, ip_interface("2a11::9/64"), False, False, 0, False),
            id="tentative",
        ),
        pytest.param(
            address(MessageType.NEWADDR, AF_INET6, 64, 0x44, DST6),
            AddressMessage(False, 7, ip_interface("2a11::9/64"), True, False, 0, False),
            id="optimistic can be bound",
        ),
        pytest.param(
            address(MessageType.NEWADDR, AF_INET6, 64, 0, DST6, attribute(8, U32.pack(0x20))),
            AddressMessage(False, 7, ip_interface("2a11::9/64"), False, False, 0, False),
            id="deprecated, in the wide flags",
        ),
        pytest.param(
            address(MessageType.NEWADDR, AF_INET6, 64, 0x08, DST6),
            AddressMessage(False, 7, ip_interface("2a11::9/64"), False, False, 0, False),
            id="duplicate",
        ),
        pytest.param(address(MessageType.NEWADDR, AF_INET, 33, 0, DST4), None, id="no such prefix"),
        pytest.param(
            address(MessageType.NEWADDR, AF_INET, 24, 0, attribute(1, b"abc")), None, id="no such address"
        ),
        pytest.param(
            neighbour(MessageType.NEWNEIGH, AF_INET, NeighbourState.REACHABLE, 0, DST4, MAC),
            NeighbourMessage(False, 7, V4, "02:00:00:00:00:01", NeighbourState.REACHABLE),
            id="neighbour",
        ),
        pytest.param(
            neighbour(MessageType.DELNEIGH, AF_INET6, NeighbourState.STALE, 0x80, DST6, MAC),
            NeighbourMessage(True, 7, V6, "02:00:00:00:00:01", NeighbourState.STALE),
            id="neighbour dropped",
        ),
        pytest.param(
            neighbour(MessageType.NEWNEIGH, AF_INET, NeighbourState.FAILED, 0, DST4),
            NeighbourMessage(False, 7, V4, None, NeighbourState.FAILED),
            id="neighbour failed",
        ),
        pytest.param(
            neighbour(MessageType.NEWNEIGH, AF_INET, NeighbourState.STALE, 0, DST4, attribute(2, bytes(6))),
            NeighbourMessage(False, 7, V4, None, NeighbourState.STALE),
            id="no MAC: all zero",
        ),
        pytest.param(
            neighbour(MessageType.NEWNEIGH, AF_INET, NeighbourState.STALE, 0, DST4, attribute(2, bytes(20) + b"x")),
            NeighbourMessage(False, 7, V4, None, NeighbourState.STALE),
            id="no MAC: InfiniBand",
        ),
        pytest.param(
            neighbour(MessageType.NEWNEIGH, AF_BRIDGE, NeighbourState.STALE, 0, MAC),
            None,
            id="forwarding entry of a bridge",
        ),
        pytest.param(
            neighbour(MessageType.NEWNEIGH, AF_INET, NeighbourState.STALE, 0x08, DST4), None, id="proxy ARP"
        ),
        pytest.param(
            neighbour(MessageType.NEWNEIGH, AF_PACKET, NeighbourState.STALE, 0, DST4, MAC),
            None,
            id="another family",
        ),
        pytest.param(route(0, 254, 1, attribute(4, U32.pack(7))), RouteMessage(AF_INET, 7, 0), id="default route"),
        pytest.param(
            route(0, 254, 1, attribute(4, U32.pack(7)), attribute(6, U32.pack(100))),
            RouteMessage(AF_INET, 7, 100),
            id="with a metric",
        ),
        pytest.param(
            route(0, 254, 1, attribute(9, struct.pack("=HBBi", 8, 0, 0, 9))),
            RouteMessage(AF_INET, 9, 0),
            id="of several next hops the first",
        ),
        pytest.param(route(24, 254, 1, attribute(4, U32.pack(7))), None, id="another route"),
        pytest.param(route(0, 100, 1, attribute(4, U32.pack(7))), None, id="another table"),
        pytest.param(route(0, 254, 7, attribute(4, U32.pack(7))), None, id="unreachable"),
        pytest.param(datagram(99, bytes(64)), None, id="another type"),
        pytest.param(datagram(MessageType.NEWLINK, b"abc"), None, id="short"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_messages(data: bytes, message: Message | None) -> None:
    assert list(parse(data)) == ([] if message is None else [message])
    assert list(parse(link() + data))[1:] == ([] if message is None else [message])


KINDS = st.sampled_from([kind.value for kind in MessageType])


@given(st.lists(st.tuples(KINDS, st.binary(max_size=80)), max_size=4), st.binary(max_size=40))
def test_any_bytes_give_messages_or_nothing(parts: list[tuple[int, bytes]], tail: bytes) -> None:
    for message in parse(b"".join(datagram(kind, body) for kind, body in parts) + tail):
        assert isinstance(message, Message)


@given(KINDS, st.binary(max_size=80), st.binary(max_size=40))
def test_any_bytes_are_a_route_or_none(kind: int, body: bytes, tail: bytes) -> None:
    assert isinstance(parse_route_reply(kind, body), RouteReply | None)
    assert isinstance(has_route_messages(datagram(kind, body) + tail), bool)


def test_the_interface_of_a_route_to_an_address() -> None:
    via = attribute(4, U32.pack(7))
    answers = [route(24, 254, 1, via), route(32, 100, 1, via), route(0, 254, 7, via), link()]
    found = [parse_route_reply(raw.kind, raw.body) for data in answers for raw in parse_messages(data)]
    assert found == [RouteReply(7), RouteReply(7), None, None], "of any table; unreachable is no way"
    assert [has_route_messages(data) for data in answers] == [True, True, True, False]
    assert has_route_messages(datagram(MessageType.DELROUTE, bytes(12)))


# -- messages to a network


def up(index: int, name: str) -> LinkMessage:
    return LinkMessage(False, index, name, True)


def has(index: int, text: str, *, secondary: bool = False, scope: int = 0, deleted: bool = False) -> AddressMessage:
    return AddressMessage(deleted, index, ip_interface(text), True, secondary, scope)


def test_a_link_has_its_addresses_in_the_kernels_order() -> None:
    state = LinkState("wan0", ["lan0"])
    for message in (
        up(1, "wan0"),
        has(1, "11.0.0.3/24", secondary=True),
        has(1, "fe80::1/64", scope=253),
        has(1, "2a11::5/64", secondary=True),
        has(1, "11.0.0.2/24"),
        has(1, "169.254.0.1/16", scope=253),
        has(1, "12.0.0.2/24"),
        has(1, "2a11::2/64"),
    ):
        state.update(message)
    network = state.network(state.nothing, 5.0)
    assert [str(address.ip) for address in network.wan.addresses] == [
        "11.0.0.2", "12.0.0.2", "169.254.0.1", "11.0.0.3", "2a11::2", "2a11::5", "fe80::1",
    ]  # fmt: skip
    assert [str(address) for address in network.external] == ["11.0.0.2", "12.0.0.2", "11.0.0.3"]
    assert network.lans == (Link("lan0", 0, False),)
    assert (network.connected_at, network.generation) == (5.0, 1)
    # a secondary address is promoted when the kernel says so, and keeps its place among its equals
    state.update(has(1, "11.0.0.2/24", deleted=True))
    state.update(has(1, "11.0.0.3/24"))
    after = state.network(network, 9.0)
    assert [str(address) for address in after.external] == ["11.0.0.3", "12.0.0.2"]
    assert (after.connected_at, after.generation) == (5.0, 2)


def test_without_a_change_the_network_is_the_same_object() -> None:
    state = LinkState("wan0", ["lan0"])
    state.update(up(1, "wan0"))
    network = state.network(state.nothing, 5.0)
    state.update(up(1, "wan0"))
    state.update(up(9, "veth123"))
    state.update(has(9, "10.0.0.1/24"))
    assert state.network(network, 6.0) is network


def test_addresses_may_come_before_their_link() -> None:
    state = LinkState("wan0", ["lan0"])
    state.update(has(2, "192.168.1.1/24"))
    state.update(up(2, "lan0"))
    network = state.network(state.nothing, 5.0)
    assert network.on_link(ip_address("192.168.1.9"), "lan0")
    assert (state.lan_of(2), state.lan_of(3)) == ("lan0", None)


def test_a_recreated_link_starts_without_addresses_and_without_its_old_index() -> None:
    state = LinkState("wan0", ["lan0"])
    for message in (up(2, "lan0"), has(2, "192.168.1.1/24"), LinkMessage(True, 2, "lan0", False), up(5, "lan0")):
        state.update(message)
    network = state.network(state.nothing, 5.0)
    assert network.lans == (Link("lan0", 5, True),)
    assert (state.lan_of(2), state.lan_of(5)) == (None, "lan0")
    for message in (LinkMessage(True, 5, "lan0", False), up(2, "lan0")):  # an index that comes again
        state.update(message)
    assert state.network(network, 6.0).lans == (Link("lan0", 2, True),)
