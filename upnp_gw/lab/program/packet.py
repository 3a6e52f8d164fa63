"""One IP packet of TCP or UDP, as a capture sees it. Fragments and other packets are none."""

import struct
from dataclasses import dataclass
from ipaddress import ip_address

from upnp_gw.model.mapping import Endpoint, Transport

SYN = 0x02
_PORTS = struct.Struct("!HH")
_TCP = struct.Struct("!HHIIBB")


@dataclass(frozen=True, slots=True)
class Packet:
    """``at_s``: when it was seen, seconds of the capture's clock."""

    at_s: float
    transport: Transport
    source: Endpoint
    destination: Endpoint
    payload: bytes
    sequence: int = 0
    """TCP: the number of the first byte of the payload."""
    begins: bool = False
    """TCP: it has SYN."""


def parse_packet(data: bytes, at_s: float) -> Packet | None:
    """The packet of these bytes, which begin with the IP header. None: it is no whole packet of TCP or UDP."""
    try:
        return _packet(data, at_s)
    except (struct.error, IndexError, ValueError):  # too short for what its headers say
        return None


def _packet(data: bytes, at_s: float) -> Packet | None:
    version = data[0] >> 4
    if version == 4:
        if int.from_bytes(data[6:8], "big") & 0x3FFF:  # a fragment
            return None
        start, end, protocol = (data[0] & 0x0F) * 4, int.from_bytes(data[2:4], "big"), data[9]
        source, destination = data[12:16], data[16:20]
    elif version == 6:
        start, end, protocol = 40, 40 + int.from_bytes(data[4:6], "big"), data[6]
        source, destination = data[8:24], data[24:40]
    else:
        return None
    transport = Transport.of_number(protocol)
    if transport is None:
        return None
    body = data[start:end]
    source_port, destination_port = _PORTS.unpack_from(body)
    ends = Endpoint(ip_address(source), source_port), Endpoint(ip_address(destination), destination_port)
    if transport is Transport.UDP:
        return Packet(at_s, transport, *ends, body[8:])
    _, _, sequence, _, offset, flags = _TCP.unpack_from(body)
    return Packet(at_s, transport, *ends, body[(offset >> 4) * 4 :], sequence, bool(flags & SYN))
