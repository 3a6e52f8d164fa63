"""The packets on a host's links: every IP packet of its namespace, in and out, as a packet socket reads it."""

import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address

from upnp_gw.lab import Host
from upnp_gw.model.mapping import IPAddress

ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
PACKET_OUTGOING = 4
TCP, UDP = 6, 17
DNS_PORTS = frozenset({53, 853, 5353, 5355})
"""DNS, DNS over TLS, multicast DNS, LLMNR."""
MARK_S = 10.0
"""The longest delay of the reader on a loaded machine, seconds."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One IP packet on one link."""

    interface: str
    outgoing: bool
    protocol: int
    """The number of IANA; of IPv6 the first next header."""
    source: IPAddress
    target: IPAddress
    ports: tuple[int, int]
    """Source and target port; zeros where it has none."""
    payload: bytes
    """The bytes after the IP header."""

    @property
    def dns(self) -> bool:
        return self.protocol in (TCP, UDP) and not DNS_PORTS.isdisjoint(self.ports)


class Capture:
    """The packets of a host from here on; its loopback's are seen twice, out and in."""

    def __init__(self, host: Host) -> None:
        self.packets: list[Packet] = []
        self._mark = secrets.token_bytes(16)
        self._arrived = threading.Condition()
        with host.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self._socket.settimeout(MARK_S)
        self._thread = threading.Thread(target=self._read, name=f"capture-{host.name}", daemon=True)
        self._host = host

    def wait(self, check: Callable[[Packet], bool], timeout: float = MARK_S) -> bool:
        """True as soon as such a packet has passed."""
        with self._arrived:
            return self._arrived.wait_for(lambda: any(map(check, self.packets)), timeout)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Everything that passed until now is in ``packets``: the reader ends at a packet of ours."""
        with self._host.inside():
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sender:
            sender.sendto(self._mark, ("127.0.0.1", 9))
        self._thread.join(MARK_S)
        behind = self._thread.is_alive()
        self._socket.close()
        assert not behind, "the capture never came to its end"

    def _read(self) -> None:
        while True:
            data, (interface, protocol, kind, *_) = self._socket.recvfrom(65536)
            packet = _packet(data, interface, protocol, kind == PACKET_OUTGOING)
            if packet is None:
                continue
            if self._mark in packet.payload:
                return
            with self._arrived:
                self.packets.append(packet)
                self._arrived.notify_all()


def _packet(data: bytes, interface: str, protocol: int, outgoing: bool) -> Packet | None:
    """None: no IP packet (ARP)."""
    if protocol == ETH_P_IP:
        number, source, target, payload = data[9], data[12:16], data[16:20], data[(data[0] & 15) * 4 :]
    elif protocol == ETH_P_IPV6:
        number, source, target, payload = data[6], data[8:24], data[24:40], data[40:]
    else:
        return None
    ports = (0, 0)
    if number in (TCP, UDP):
        ports = (int.from_bytes(payload[:2]), int.from_bytes(payload[2:4]))
    return Packet(interface, outgoing, number, ip_address(source), ip_address(target), ports, payload)


@contextmanager
def captured(host: Host) -> Iterator[Capture]:
    """``with captured(gateway) as seen: ...``; after the block ``seen.packets`` is complete."""
    capture = Capture(host)
    capture.start()
    try:
        yield capture
    finally:
        capture.stop()
