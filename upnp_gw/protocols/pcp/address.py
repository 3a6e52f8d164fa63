"""Addresses in 16 bytes (RFC 6887 section 5): IPv4 as ``::ffff:a.b.c.d``."""

from ipaddress import IPv4Address, IPv6Address

from upnp_gw.model.mapping import IPAddress

MAPPED = bytes(10) + b"\xff\xff"


def pack_address(address: IPAddress) -> bytes:
    """The 16 bytes of an address; IPv4 as ``::ffff:a.b.c.d`` (RFC 6887 section 5)."""
    return MAPPED + address.packed if isinstance(address, IPv4Address) else address.packed


def unpack_address(data: bytes) -> IPAddress:
    """The address is IPv4 only if all of the first 96 bits are those of ``::ffff:0:0/96``."""
    return IPv4Address(data[12:]) if data[:12] == MAPPED else IPv6Address(data)
