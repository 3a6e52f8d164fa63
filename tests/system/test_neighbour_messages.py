"""ARP and neighbour discovery: messages that are sent, those that are understood, and the kernel's filter."""

import errno
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.model.mapping import IPAddress
from upnp_gw.system import who_has
from upnp_gw.system.neighbour_messages import (
    INTERFACE_INDEX,
    NOTHING,
    OpenQuery,
    advertised,
    arp_claim,
    arp_filter,
    arp_request,
    nd_filter,
    solicitation,
    solicited_node,
)
from upnp_gw.system.socket_filter import (
    JUMP_EQUAL,
    LOAD_BYTE,
    LOAD_HALF,
    LOAD_STORED,
    LOAD_WORD,
    RETURN,
    STORE,
    Instruction,
)

MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:01:01", "02:00:00:01:00:01")
FOUR = (IPv4Address("192.168.1.9"), IPv4Address("192.168.1.10"))
SIX = (IPv6Address("2001:db8::9"), IPv6Address("2001:db8::a"), IPv6Address("2001:db9::9"), IPv6Address("fe80::9"))


def arp(mac: str, address: IPv4Address) -> bytes:
    """An answer, as a host sends it; an ARP message is padded on the wire."""
    packed = bytes.fromhex(mac.replace(":", ""))
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + packed + address.packed + bytes(10) + bytes(18)


def advertisement(mac: str, address: IPv6Address) -> bytes:
    option = b"\x02\x01" + bytes.fromhex(mac.replace(":", ""))
    return struct.pack("!BBHI", 136, 0, 0, 0x60000000) + address.packed + option


def test_an_arp_request_has_the_gateway_as_sender() -> None:
    """With no sender address it would be a probe by RFC 5227, and its owner would give the address up."""
    sent = arp_request(MACS[0], FOUR[0], FOUR[1])
    assert sent.hex(" ") == ("00 01 08 00 06 04 00 01 02 00 00 00 00 01 c0 a8 01 09 00 00 00 00 00 00 c0 a8 01 0a")
    assert arp_claim(sent) == (FOUR[0], MACS[0])


def test_a_solicitation_goes_to_the_solicited_node_group() -> None:
    assert solicitation(MACS[0], SIX[0]).hex(" ") == (
        "87 00 00 00 00 00 00 00 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 09 01 01 02 00 00 00 00 01"
    )
    assert solicited_node(IPv6Address("2001:db8::1:2:345:6789")) == IPv6Address("ff02::1:ff45:6789")


@pytest.mark.parametrize("address", FOUR)
def test_the_claim_of_an_arp_message(address: IPv4Address) -> None:
    assert arp_claim(arp(MACS[1], address)) == (address, MACS[1])


def test_the_mac_address_of_an_advertisement_may_be_in_any_option() -> None:
    plain = advertisement(MACS[1], SIX[0])
    assert advertised(plain) == (SIX[0], MACS[1])
    assert advertised(plain[:24] + b"\x0e\x01" + bytes(6) + plain[24:]) == (SIX[0], MACS[1])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(advertisement(MACS[0], SIX[0])[:24], id="no option"),
        pytest.param(advertisement(MACS[0], SIX[0])[:-1], id="cut short"),
        pytest.param(advertisement(MACS[0], SIX[0])[:24] + b"\x02\x00" + bytes(6), id="an option without a length"),
        pytest.param(advertisement("00:00:00:00:00:00", SIX[0]), id="no MAC address"),
        pytest.param(b"\x87" + advertisement(MACS[0], SIX[0])[1:], id="a query"),
    ],
)
def test_packets_that_are_no_answer(data: bytes) -> None:
    assert advertised(data) is None
    assert arp_claim(data) is None


@given(st.binary(max_size=80))
def test_any_bytes_are_an_answer_or_none(data: bytes) -> None:
    for found in (arp_claim(data), advertised(data), advertised(b"\x88" + data)):
        assert found is None or found[1].count(":") == 5


# -- the filters


def lets_through(program: Sequence[Instruction], packet: bytes, index: int) -> bool:
    """Runs a filter as the kernel does: a load from behind the end drops the packet."""
    accumulator, cells, at = 0, [0] * 16, 0
    while True:
        code, yes, no, operand = program[at]
        at += 1
        if code == RETURN:
            return operand > 0
        if code == STORE:
            cells[operand] = accumulator
        elif code == LOAD_STORED:
            accumulator = cells[operand]
        elif code == JUMP_EQUAL:
            assert max(yes, no) < 256, "a jump is a byte"
            at += yes if accumulator == operand else no
        elif operand == INTERFACE_INDEX:
            accumulator = index
        else:
            size = {LOAD_WORD: 4, LOAD_HALF: 2, LOAD_BYTE: 1}[code]
            if operand + size > len(packet):
                return False
            accumulator = int.from_bytes(packet[operand : operand + size])


def queries(addresses: Sequence[IPAddress]) -> st.SearchStrategy[list[OpenQuery]]:
    one = st.builds(
        OpenQuery,
        address=st.sampled_from(addresses),
        index=st.sampled_from([2, 3]),
        answered=st.lists(st.sampled_from(MACS), unique=True, max_size=3).map(tuple),
    )
    return st.lists(one, max_size=30)


@given(queries(FOUR), st.sampled_from(MACS), st.sampled_from(FOUR), st.sampled_from([2, 3]))
def test_the_arp_filter_accepts_each_answer_once(
    asked: list[OpenQuery], mac: str, address: IPv4Address, index: int
) -> None:
    assert lets_through(arp_filter(asked), arp(mac, address), index) is is_news(asked, mac, address, index)


@given(queries(SIX), st.sampled_from(MACS), st.sampled_from(SIX), st.sampled_from([2, 3]))
def test_the_neighbour_discovery_filter_accepts_each_answer_once(
    asked: list[OpenQuery], mac: str, address: IPv6Address, index: int
) -> None:
    packet = advertisement(mac, address)
    assert lets_through(nd_filter(asked), packet, index) is is_news(asked, mac, address, index)
    assert not lets_through(nd_filter(asked), b"\x87" + packet[1:], index)


def is_news(asked: list[OpenQuery], mac: str, address: IPAddress, index: int) -> bool:
    """The first query that it answers says: two are never about the same address and interface."""
    first = next((q for q in asked if (q.address, q.index) == (address, index)), None)
    return first is not None and mac not in first.answered


def test_without_a_query_the_filters_accept_nothing() -> None:
    for program in (NOTHING, arp_filter([]), nd_filter([])):
        assert not lets_through(program, arp(MACS[0], FOUR[0]), 2)
        assert not lets_through(program, advertisement(MACS[0], SIX[0]), 2)


def test_a_query_ends_if_the_kernel_has_no_memory_for_its_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old filter stays until the next query: it lets more through than is asked for."""
    full = False

    def put(*args: object) -> None:
        if full:
            raise OSError(errno.ENOMEM, "no room")

    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    monkeypatch.setattr(who_has, "_socket", lambda *args: sockets[0])
    monkeypatch.setattr(who_has, "_nd_socket", lambda: sockets[1])
    monkeypatch.setattr(who_has, "_filter", put)
    resolver = who_has.WhoHas()
    query = resolver.open_query(who_has.QuerySource("lan0", 2, MACS[0], FOUR[0]), FOUR[1])
    full = True
    query.close()
    with pytest.raises(OSError, match="no room"):
        resolver.open_query(who_has.QuerySource("lan0", 2, MACS[0], FOUR[0]), FOUR[1])
    for made in sockets:
        made.close()


def test_a_missing_right_to_open_the_sockets_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("upnp_gw.system.who_has.socket.socket", refuse)
    assert who_has.open_who_has() is None
    (warning,) = caplog.messages
    assert "(Operation not permitted); start upnp-gw with CAP_NET_RAW and AF_PACKET" in warning
