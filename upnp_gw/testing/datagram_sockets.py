"""UDP sockets on the emulator's address or a LAN of the lab: they note datagrams, and answer as the test asks."""

import asyncio
import socket
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Protocol

from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import IPAddress, Transport
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.natpmp import mapping as natpmp_mapping
from upnp_gw.protocols.pcp import codec as pcp
from upnp_gw.protocols.pcp.messages import ResultCode
from upnp_gw.protocols.pcp.options import PcpError
from upnp_gw.protocols.peer import Peer
from upnp_gw.protocols.ssdp.groups import IPV4, PORT
from upnp_gw.protocols.ssdp.search import MAX_BYTES, parse_search
from upnp_gw.servers.port5351.socket import Port5351Socket
from upnp_gw.servers.ssdp.socket import IP_MULTICAST_ALL, MREQN, SsdpSocket
from upnp_gw.servers.udp.socket import IP_PKTINFO, Datagram, SocketKey, UdpSocket
from upnp_gw.testing.fault import LateDatagram
from upnp_gw.testing.journal import Journal, Request
from upnp_gw.testing.rules import Rules, Struck

IPV6_LOOPBACK = IPv6Address("::1")
"""There is one only: of several emulators with IPv6 the first has its port 5351, and the last its port 1900."""


class Noted(Protocol):
    """The emulator's journal and rules, as a socket uses them."""

    journal: Journal
    rules: Rules

    def epoch_s(self) -> int: ...


class LoopbackSsdpSocket(UdpSocket):
    """Port 1900 of one address: several emulators and a router can run beside each other.

    With ``multicast`` it has joined the group on the loopback. For that it has port 1900 of every address, and of
    several such sockets the kernel gives a search for one address to the last one.
    """

    def __init__(self, key: SocketKey, address: IPAddress, multicast: bool) -> None:
        self._address = address
        self._multicast = multicast
        super().__init__(key, MAX_BYTES + 1)

    def _bind(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.key.version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            sock.bind((str(IPV6_LOOPBACK), PORT))
            return
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        if self._multicast:
            sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
            sock.bind(("", PORT))
            join = MREQN.pack(IPV4.address.packed, bytes(4), self.key.ifindex)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join)
        else:
            sock.bind((str(self._address), PORT))

    def send(self, data: bytes, peer: Peer, own: IPAddress | None = None) -> None:
        if not peer.address.is_multicast:
            super().send(data, peer, own)


class LoopbackPort5351Socket(Port5351Socket):
    """Port 5351 of one address. Announcements are not sent."""

    def send(self, data: bytes, peer: Peer, own: IPAddress | None = None) -> None:
        if not peer.address.is_multicast:
            super().send(data, peer, own)


class NotedSocket:
    """A ``LanSocket`` around another one."""

    def __init__(
        self, inner: UdpSocket, noted: Noted, read: Callable[[bytes, Peer], tuple[str, str, dict[str, str]]]
    ):
        self._inner = inner
        self._noted = noted
        self._read = read
        self._open: dict[Peer, tuple[Request, Struck | None]] = {}
        """Sender -> its latest request, and the faults of its answers."""
        self._closed = False

    @property
    def dropped(self) -> int:
        return self._inner.dropped

    def fileno(self) -> int:
        return self._inner.fileno()

    def over_share(self, sender: IPAddress) -> None:
        self._inner.over_share(sender)

    def close(self) -> None:
        self._closed = True
        self._inner.close()

    def receive(self) -> Datagram | None:
        """The next datagram for the gateway. Those that a fault keeps from it do not reach it."""
        while (datagram := self._inner.receive()) is not None:
            data, peer = datagram.data, datagram.peer
            protocol, action, arguments = self._read(data, peer)
            request = self._noted.journal.add(protocol, action, arguments, str(peer.address), data)
            struck = self._noted.rules.take(request)
            self._open[peer] = request, struck
            if struck is None:
                return datagram
            if not struck.before:
                for fault in struck.faults:
                    data = fault.read_datagram(data, request)
                return datagram._replace(data=data)
            if struck.own:
                continue
            self._answer(data, peer, None, struck)
        return None

    def send(self, data: bytes, peer: Peer, own: IPAddress | None = None) -> None:
        _, struck = self._open.get(peer, (None, None))
        if struck is not None:
            self._answer(data, peer, own, struck)
        else:
            self._send(data, peer, own)

    def _answer(self, data: bytes, peer: Peer, own: IPAddress | None, struck: Struck) -> None:
        """Sends the gateway's answer, or that of a fault in its place, in the way of the faults."""
        request, _ = self._open[peer]
        code, _ = struck.outcome
        if code is not None:
            data = _error(request.received, code, self._noted.epoch_s())
        late = [LateDatagram(data, struck.delay_s)]
        for fault in struck.faults:
            late = [
                LateDatagram(changed.data, each.delay_s + changed.delay_s)
                for each in late
                for changed in fault.write_datagram(each.data, request)
            ]
        for each in late:
            if each.delay_s:
                loop = asyncio.get_running_loop()
                loop.call_later(each.delay_s, self._send_late, each.data, peer, own)
            else:
                self._send(each.data, peer, own)

    def _send_late(self, data: bytes, peer: Peer, own: IPAddress | None) -> None:
        if not self._closed:
            self._send(data, peer, own)

    def _send(self, data: bytes, peer: Peer, own: IPAddress | None) -> None:
        request, _ = self._open.get(peer, (None, None))
        if request is not None:
            request.answers.append(data)
            request.error = _result(data) if request.protocol != "ssdp" else None
        self._inner.send(data, peer, own)


def ssdp_socket(noted: Noted, key: SocketKey, address: IPAddress, multicast: bool) -> NotedSocket:
    """Raises OSError."""
    return NotedSocket(LoopbackSsdpSocket(key, address, multicast), noted, _read_search)


def port5351_socket(noted: Noted, key: SocketKey) -> NotedSocket:
    """Raises OSError."""
    return NotedSocket(LoopbackPort5351Socket(key), noted, _read_5351)


def lan_ssdp_socket(noted: Noted, key: SocketKey) -> NotedSocket:
    """That of a router, on a LAN. Raises OSError."""
    return NotedSocket(SsdpSocket(key), noted, _read_search)


def lan_port5351_socket(noted: Noted, key: SocketKey) -> NotedSocket:
    """That of a router, on a LAN. Raises OSError."""
    return NotedSocket(Port5351Socket(key), noted, _read_5351)


def _read_search(data: bytes, peer: Peer) -> tuple[str, str, dict[str, str]]:
    try:
        search = parse_search(data, multicast=False)
    except WireError:
        return "ssdp", "", {}
    return "ssdp", "M-SEARCH", {"ST": search.st}


def _read_5351(data: bytes, peer: Peer) -> tuple[str, str, dict[str, str]]:
    protocol = "natpmp" if data[:1] == b"\0" else "pcp"
    try:
        return _read_natpmp(data) if protocol == "natpmp" else _read_pcp(data, peer)
    except (WireError, PcpError):
        return protocol, "", {}


def _read_natpmp(data: bytes) -> tuple[str, str, dict[str, str]]:
    message = natpmp.parse_request(data)
    if isinstance(message, natpmp.AddressRequest):
        return "natpmp", "natpmp.address", {}
    if isinstance(message, natpmp.UnknownRequest):
        return "natpmp", "", {}
    ports = _ports(message.transport, message.internal_port, message.external_port, message.lifetime_s)
    return "natpmp", "natpmp.map", ports


def _read_pcp(data: bytes, peer: Peer) -> tuple[str, str, dict[str, str]]:
    message = pcp.parse_request(data, peer.address)
    if message.map is None:
        return "pcp", "pcp.announce", {}
    wanted = message.map
    transport = Transport.of_number(wanted.protocol) or str(wanted.protocol)
    ports = _ports(transport, wanted.internal_port, wanted.external_port, message.lifetime_s)
    return "pcp", "pcp.map", {**ports, "nonce": wanted.nonce.hex()}


def _ports(transport: str, internal: int, external: int, lifetime_s: int) -> dict[str, str]:
    return {
        "transport": str(transport),
        "internal_port": str(internal),
        "external_port": str(external),
        "lifetime": str(lifetime_s),
    }


def _result(data: bytes) -> int | None:
    """The result code of an answer of port 5351: PCP has it in one byte, NAT-PMP in two; None: success."""
    return (data[3] if data[0] else int.from_bytes(data[2:4])) or None


def _error(data: bytes, code: int, epoch_s: int) -> bytes:
    """The answer with this result code to a request that was read."""
    if data[0]:
        return pcp.build_error(data, ResultCode(code), epoch_s)
    message, result = natpmp.parse_request(data), natpmp.NatPmpResult(code)
    if isinstance(message, natpmp.MappingRequest):
        return natpmp_mapping.refuse(message, result, epoch_s)
    return natpmp.build_response(natpmp.AddressResponse(result, epoch_s, natpmp.NO_ADDRESS))
