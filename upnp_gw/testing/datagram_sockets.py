"""UDP sockets on the emulator's address or a LAN of the lab: they note datagrams, and answer as the test asks."""

import asyncio
import re
from collections.abc import Callable
from typing import Protocol

from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import IPAddress, Transport
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.natpmp import mapping as natpmp_mapping
from upnp_gw.protocols.pcp import codec as pcp
from upnp_gw.protocols.pcp.messages import ResultCode
from upnp_gw.protocols.pcp.options import PcpError
from upnp_gw.protocols.peer import Peer
from upnp_gw.protocols.ssdp.search import parse_search
from upnp_gw.servers.port5351.socket import Port5351Socket
from upnp_gw.servers.ssdp.socket import SsdpSocket
from upnp_gw.servers.udp.socket import Datagram, SocketKey
from upnp_gw.servers.udp.sockets import LanSocket
from upnp_gw.system.tasks import BackgroundTasks
from upnp_gw.testing.fault import LateDatagram
from upnp_gw.testing.faults.octets import field_of
from upnp_gw.testing.journal import Journal, Request
from upnp_gw.testing.plain_sockets import PlainSocket
from upnp_gw.testing.rules import Rules, Struck


class Noted(Protocol):
    """The emulator's journal and rules, as a socket uses them."""

    journal: Journal
    rules: Rules

    def epoch_s(self) -> int: ...


class NotedSocket:
    """A ``LanSocket`` around another one."""

    def __init__(
        self, inner: LanSocket, noted: Noted, read: Callable[[bytes, Peer], tuple[str, str, dict[str, str]]]
    ):
        self._inner = inner
        self._noted = noted
        self._read = read
        self._open: dict[Peer, tuple[Request, Struck | None]] = {}
        """Sender -> its latest request, and the faults of its answers."""
        self._late = BackgroundTasks()
        self._closed = False
        self._announced: dict[bytes, tuple[bytes, Peer, IPAddress | None]] = {}
        """USN -> its latest announcement."""
        self._alive = asyncio.Event()

    @property
    def dropped(self) -> int:
        return self._inner.dropped

    def filenos(self) -> tuple[int, ...]:
        return self._inner.filenos()

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

    async def send_byebye(self) -> None:
        """ssdp:byebye for all that was announced with ssdp:alive, when the first announcement has left."""
        await self._alive.wait()
        for data, peer, own in self._announced.values():
            said = re.sub(rb"(?i)\r\n(CACHE-CONTROL|LOCATION|SERVER):[^\r\n]*", b"", data)
            self._send(said.replace(b"ssdp:alive", b"ssdp:byebye"), peer, own)

    def send(self, data: bytes, peer: Peer, own: IPAddress | None = None) -> None:
        if peer.address.is_multicast:
            self._announce(data, peer, own)
            return
        _, struck = self._open.get(peer, (None, None))
        if struck is not None:
            self._answer(data, peer, own, struck)
        else:
            self._send(data, peer, own)

    def _announce(self, data: bytes, peer: Peer, own: IPAddress | None) -> None:
        for fault in self._noted.rules.lasting:
            for changed in fault.write_datagram(data, None):
                data = changed.data
        if b"ssdp:alive" in data:
            self._announced[field_of(data, b"USN")] = data, peer, own
            self._alive.set()
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
                self._late.spawn(self._send_late(each, peer, own))
            else:
                self._send(each.data, peer, own)

    async def _send_late(self, late: LateDatagram, peer: Peer, own: IPAddress | None) -> None:
        await self._noted.rules.delay(late.delay_s)
        if not self._closed:
            self._send(late.data, peer, own)

    def _send(self, data: bytes, peer: Peer, own: IPAddress | None) -> None:
        request, _ = self._open.get(peer, (None, None))
        if request is not None:
            error = _result(data) if request.protocol != "ssdp" else None
            self._noted.journal.answered(request, data, error)
        self._inner.send(data, peer, own)


def search_socket(noted: Noted, sock: PlainSocket) -> NotedSocket:
    """For searches to the emulator."""
    return NotedSocket(sock, noted, _read_search)


def port5351_socket(noted: Noted, sock: PlainSocket) -> NotedSocket:
    """For NAT-PMP and PCP of the emulator."""
    return NotedSocket(sock, noted, _read_5351)


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
