"""Packets as a capture sees them."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.lab.program.packet import parse_packet
from upnp_gw.model.mapping import Endpoint, Transport

A4, B4 = ip_address("192.168.77.10"), ip_address("11.50.1.10")
A6, B6 = ip_address("2a11:2233:0:77::a"), ip_address("2a11:50:1::a")
UDP = bytes.fromhex("0fa0 14e7 000a 0000") + b"hi"
TCP = bytes.fromhex("0fa0 1f90 00000007 00000000 50 12 ffff 0000 0000") + b"hi"


def ip4(protocol: int, body: bytes, fragment: int = 0) -> bytes:
    length = (20 + len(body)).to_bytes(2, "big")
    middle = bytes(2) + fragment.to_bytes(2, "big") + bytes((64, protocol)) + bytes(2)
    return bytes((0x45, 0)) + length + middle + A4.packed + B4.packed + body


def ip6(protocol: int, body: bytes) -> bytes:
    return (
        bytes((0x60, 0, 0, 0)) + len(body).to_bytes(2, "big") + bytes((protocol, 64)) + A6.packed + B6.packed + body
    )


@pytest.mark.parametrize(("build", "ends"), [(ip4, (A4, B4)), (ip6, (A6, B6))], ids=["IPv4", "IPv6"])
def test_udp_and_tcp_over_both_versions(build: object, ends: tuple[object, object]) -> None:
    assert callable(build)
    datagram = parse_packet(build(17, UDP), 1.5)
    assert datagram is not None
    assert (datagram.at_s, datagram.transport, datagram.payload) == (1.5, Transport.UDP, b"hi")
    assert datagram.source == Endpoint(ends[0], 4000)  # type: ignore[arg-type]
    assert datagram.destination == Endpoint(ends[1], 5351)  # type: ignore[arg-type]
    segment = parse_packet(build(6, TCP), 0)
    assert segment is not None
    assert (segment.transport, segment.payload, segment.sequence, segment.begins) == (Transport.TCP, b"hi", 7, True)


def test_bytes_behind_the_packet_are_no_payload() -> None:
    packet = parse_packet(ip4(17, UDP) + b"padding of a short frame", 0)
    assert packet is not None
    assert packet.payload == b"hi"


@pytest.mark.parametrize(
    "data", [b"", ip4(1, UDP), ip4(17, UDP, 0x2000), ip4(17, UDP, 1), ip6(58, UDP), b"\x00" * 60]
)
def test_other_packets_are_none(data: bytes) -> None:
    assert parse_packet(data, 0) is None


@given(st.one_of(st.binary(max_size=80), st.integers(0, 60).map(lambda n: ip4(6, TCP)[:n])))
def test_any_bytes_are_a_packet_or_none(data: bytes) -> None:
    parse_packet(data, 0)
