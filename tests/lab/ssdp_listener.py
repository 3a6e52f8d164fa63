"""A UDP socket of a lab host that searches and listens, and the gateway's links as the kernel shows them."""

import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface

from tests.fixtures.ssdp_devices import taken_apart
from tests.fixtures.waiting import async_until
from upnp_gw.lab import Host, Lab
from upnp_gw.model.network import Link, Network

IP_RECVTTL = 12
"""linux/in.h; not in the socket module of Python 3.11."""
GROUP = "239.255.255.250"


@dataclass
class ReceivedMessage:
    """One message as it arrived."""

    at: float
    start: str
    headers: dict[str, str]
    source: tuple[str, int]
    hops: int
    """TTL or hop limit."""


@dataclass
class SsdpListener:
    socket: socket.socket
    index: int
    received: list[ReceivedMessage] = field(default_factory=list)

    def ask(self, data: bytes, to: str = GROUP, port: int = 1900) -> None:
        scoped = to.startswith(("fe80", "ff"))
        target = (to, port, 0, self.index if scoped else 0) if ":" in to else (to, port)
        self.socket.sendto(data, target)

    async def receive(self, count: int, within_s: float = 6.0) -> list[ReceivedMessage]:
        """Waits until so many messages were heard in all."""
        await async_until(lambda: self._take_in() >= count, within_s)
        return self.received

    def silent(self) -> bool:
        return self._take_in() == 0

    def _take_in(self) -> int:
        while True:
            try:
                data, extra, _, source = self.socket.recvmsg(65_535, 100)
            except BlockingIOError:
                return len(self.received)
            start, headers = taken_apart(data)
            hops = struct.unpack("i", extra[0][2])[0]
            self.received.append(ReceivedMessage(time.monotonic(), start, headers, source[:2], hops))


@contextmanager
def listener_on(
    host: Host, *, v6: bool = False, bind: str = "", port: int = 0, group: str = "", interface: str = "eth0"
) -> Iterator[SsdpListener]:
    """A socket on one interface of a host; ``group`` is joined there, multicast leaves there."""
    with host.inside():
        made = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
        index = socket.if_nametoindex(interface)
    with made:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        packed = ip_address(group).packed if group else b""
        if v6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            if packed:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, struct.pack("16si", packed, index))
        else:
            mreqn = struct.pack("4s4si", bytes(4), bytes(4), index)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, mreqn)
            made.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
            if packed:
                join = struct.pack("4s4si", packed, bytes(4), index)
                made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join)
        made.bind((bind, port, 0, index) if v6 else (bind, port))
        yield SsdpListener(made, index)


def link_of(gateway: Host, name: str) -> Link:
    """A link as the kernel describes it."""
    (found,) = json.loads(gateway.run(["ip", "-j", "addr", "show", "dev", name]).stdout)
    addresses = tuple(ip_interface(f"{a['local']}/{a['prefixlen']}") for a in found["addr_info"])
    return Link(name, found["ifindex"], "UP" in found["flags"], addresses)


def network_of(lab: Lab) -> Network:
    lans = tuple(link_of(lab.gateway, lan.interface) for lan in lab.topology.lans)
    return Network(link_of(lab.gateway, lab.topology.wan), lans, external=lab.external)
