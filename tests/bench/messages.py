"""The bytes of the requests that the benchmark sends, and whether an answer grants them. Pure."""

import struct
from ipaddress import IPv4Address

LEASE_S = 86_400
SERVICE = "urn:schemas-upnp-org:service:WANIPConnection"
TCP = 6
MAPPED = bytes(10) + b"\xff\xff"
"""The prefix of an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2)."""


def post(host: str, path: str, action: str, arguments: str, version: int = 1) -> bytes:
    """A SOAP request for a connection of its own. ``host``: the value of the Host header."""
    body = (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
        f'<u:{action} xmlns:u="{SERVICE}:{version}">{arguments}</u:{action}></s:Body></s:Envelope>'
    )
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/xml\r\n"
        f'SOAPAction: "{SERVICE}:{version}#{action}"\r\nContent-Length: {len(body)}\r\n'
        f"Connection: close\r\n\r\n{body}"
    ).encode()


def key(port: int) -> str:
    """The arguments that name a mapping, in the order of the standard."""
    return f"<NewRemoteHost></NewRemoteHost><NewExternalPort>{port}</NewExternalPort><NewProtocol>TCP</NewProtocol>"


def entry(port: int, client: IPv4Address, lease_s: int = LEASE_S) -> str:
    """The arguments of AddPortMapping."""
    return (
        f"{key(port)}<NewInternalPort>{port}</NewInternalPort><NewInternalClient>{client}</NewInternalClient>"
        "<NewEnabled>1</NewEnabled><NewPortMappingDescription>bench</NewPortMappingDescription>"
        f"<NewLeaseDuration>{lease_s}</NewLeaseDuration>"
    )


def index(number: int) -> str:
    """The argument of GetGenericPortMappingEntry."""
    return f"<NewPortMappingIndex>{number}</NewPortMappingIndex>"


def port_range(most: int) -> str:
    """The arguments of GetListOfPortMappings: every TCP port, at most so many entries."""
    return (
        "<NewStartPort>1</NewStartPort><NewEndPort>65535</NewEndPort><NewProtocol>TCP</NewProtocol>"
        f"<NewManage>1</NewManage><NewNumberOfPorts>{most}</NewNumberOfPorts>"
    )


def natpmp_map(port: int, lifetime_s: int, udp: bool = False) -> bytes:
    """Maps a port to itself (RFC 6886 section 3.3); lifetime 0 deletes."""
    return struct.pack("!BBHHHI", 0, 1 if udp else 2, 0, port, port if lifetime_s else 0, lifetime_s)


def pcp_map(own: IPv4Address, port: int, lifetime_s: int) -> bytes:
    """Maps a TCP port to itself (RFC 6887 section 11.1); the nonce is always that port's. Lifetime 0 deletes."""
    head = struct.pack("!BBHI", 2, 1, 0, lifetime_s) + MAPPED + own.packed
    data = b"bench-nonce" + bytes(1) + struct.pack("!B3xHH", TCP, port, port) + MAPPED + IPv4Address(0).packed
    return head + data


def http_ok(answer: bytes) -> bool:
    return b" 200 " in answer[:20]


def datagram_ok(answer: bytes) -> bool:
    """True for result code 0, of NAT-PMP and PCP alike: byte 3, and in NAT-PMP byte 2 as well."""
    return len(answer) >= 4 and answer[3] == 0 and (answer[0] != 0 or answer[2] == 0)
