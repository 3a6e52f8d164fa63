"""Reads the requests of a program and their answers from its packets.

The packets come from a link inside the lab, so they are in order. A segment that was sent again is ignored.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from ipaddress import IPv4Address

from upnp_gw.lab.program.packet import Packet
from upnp_gw.lab.program.report import Exchange
from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import Endpoint, IPAddress, Transport
from upnp_gw.protocols.http.body import BodyReader
from upnp_gw.protocols.http.head import Head, HeadReader
from upnp_gw.protocols.igd.soap import BODY_MAX, SoapError, parse_call
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp import codec as pcp
from upnp_gw.protocols.pcp.messages import VERSION as PCP_VERSION
from upnp_gw.protocols.pcp.messages import Opcode, ResultCode
from upnp_gw.protocols.port5351 import PORT as PORT_5351
from upnp_gw.protocols.ssdp.groups import PORT as SSDP_PORT

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_FIELD = re.compile(rb"^(st|location)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_FAULT = re.compile(rb"<errorCode>(\d+)</errorCode>\s*<errorDescription>([^<]*)<")
_RESULT = re.compile(rb"<(New\w+|UniqueID|FirewallEnabled|InboundPinholeAllowed)>([^<]*)</")


@dataclass
class _Asked:
    """A request that waits for its answer."""

    at_s: float
    protocol: str
    asked: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    answer: str = ""
    ok: bool = False
    times: int = 1


def read_journal(packets: Iterable[Packet], client: frozenset[IPAddress], began_s: float) -> list[Exchange]:
    """The exchanges of the host with these addresses, in the order of the requests. ``began_s``: the time of the
    packets at which the program was started."""
    journal = _Journal(client)
    for packet in packets:
        journal.add(packet)
    return [
        Exchange(
            max(0.0, each.at_s - began_s),
            each.protocol,
            each.asked,
            each.answer,
            each.ok,
            each.arguments,
            each.times,
        )
        for each in journal.asked
    ]


class _Journal:
    def __init__(self, client: frozenset[IPAddress]) -> None:
        self.asked: list[_Asked] = []
        self._client = client
        self._searches: dict[Endpoint, _Asked] = {}
        self._datagrams: dict[Endpoint, deque[tuple[_Asked, bytes]]] = {}
        self._connections: dict[Endpoint, _Connection] = {}

    def add(self, packet: Packet) -> None:
        asks = packet.source.address in self._client
        if packet.transport is Transport.TCP:
            self._segment(packet, asks)
        elif packet.destination.port == SSDP_PORT and asks:
            self._search(packet)
        elif packet.source.port == SSDP_PORT and not asks:
            self._found(packet)
        elif packet.destination.port == PORT_5351 and asks:
            self._datagram(packet)
        elif packet.source.port == PORT_5351 and self._datagrams.get(packet.destination):
            request, _ = self._datagrams[packet.destination].popleft()
            request.answer, request.ok = _datagram_answer(packet.payload)

    def _datagram(self, packet: Packet) -> None:
        waiting = self._datagrams.setdefault(packet.source, deque())
        for request, sent in waiting:
            if sent == packet.payload:
                request.times += 1
                return
        request = _Asked(packet.at_s, *_datagram_request(packet))
        self.asked.append(request)
        waiting.append((request, packet.payload))

    def _search(self, packet: Packet) -> None:
        if not packet.payload.startswith(b"M-SEARCH"):
            return
        asked = f"search for {_fields(packet.payload).get('st', '(no ST)')}"
        before = self._searches.get(packet.source)
        if before is not None and before.asked == asked:
            before.times += 1
        else:
            self._searches[packet.source] = _Asked(packet.at_s, "SSDP", asked)
            self.asked.append(self._searches[packet.source])

    def _found(self, packet: Packet) -> None:
        search = self._searches.get(packet.destination)
        if search is not None:
            location = _fields(packet.payload).get("location", "(no LOCATION)")
            search.ok = True
            if location not in search.answer.split():
                search.answer = f"{search.answer} {location}".strip()

    def _segment(self, packet: Packet, asks: bool) -> None:
        client = packet.source if asks else packet.destination
        connection = self._connections.get(client)
        if asks and packet.begins:  # a port that is used again is another connection
            connection = self._connections[client] = _Connection()
        if connection is None:
            return
        fresh = (connection.request_bytes if asks else connection.answer_bytes).fresh(packet)
        if fresh and asks:
            self.asked += connection.requested(fresh, packet.at_s)
        elif fresh:
            connection.answered(fresh)


class _Stream:
    """One direction of a connection: which bytes of a segment were not seen before."""

    def __init__(self) -> None:
        self._next: int | None = None

    def fresh(self, packet: Packet) -> bytes:
        begin = (packet.sequence + packet.begins) & 0xFFFFFFFF
        if self._next is None or packet.begins:
            self._next = begin
        seen = (self._next - begin) & 0xFFFFFFFF
        if seen > 1 << 31:  # a segment is missing in the capture: go on behind it
            seen = 0
        payload = packet.payload[seen:]
        if payload:
            self._next = (begin + len(packet.payload)) & 0xFFFFFFFF
        return payload


class _Connection:
    """One HTTP connection: requests, and answers in the same order."""

    def __init__(self) -> None:
        self.request_bytes, self.answer_bytes = _Stream(), _Stream()
        self._heads = HeadReader()
        self._head: Head | None = None
        self._body: BodyReader | None = None
        self._begun_s = 0.0
        self._unreadable = False
        self._waiting: deque[tuple[_Asked, Head | None]] = deque()
        self._answer = b""

    def requested(self, data: bytes, at_s: float) -> Iterator[_Asked]:
        """The requests that these bytes complete. What is no HTTP is one request."""
        if self._unreadable:
            return
        try:
            while data:
                if self._body is None or self._head is None:
                    self._begun_s = self._begun_s if self._heads.begun else at_s
                    self._head, data = self._heads.feed(data)
                    if self._head is None:
                        return
                    self._body = BodyReader(self._head, BODY_MAX)
                data = self._body.feed(data) if not self._body.done else data
                if not self._body.done:
                    return
                yield self._request(self._head, self._body.content)
                self._body = None
        except WireError as error:
            self._unreadable = True
            request = _Asked(at_s, "HTTP", f"bytes that are no request ({error})")
            self._waiting.append((request, None))
            yield request

    def _request(self, head: Head, body: bytes) -> _Asked:
        request = _Asked(self._begun_s, "HTTP", f"{head.method} {head.path}")
        if head.method == "POST":
            try:
                call = parse_call(head.headers, body)
            except SoapError as error:
                request.asked += f", which is no call of an action ({error})"
            else:
                arguments = dict(call.arguments)
                request = _Asked(self._begun_s, "IGD", call.action, arguments)
        self._waiting.append((request, head))
        return request

    def answered(self, data: bytes) -> None:
        self._answer += data
        while (end := self._answer.find(b"\r\n\r\n")) >= 0:
            head, status = self._answer[: end + 2], _STATUS.match(self._answer)
            if status is None:
                return
            code = int(status[1])
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length and not self._answers_head() else 0)
            if len(self._answer) < whole:
                return
            body, self._answer = self._answer[end + 4 : whole], self._answer[whole:]
            if code >= 200 and self._waiting:  # 100 Continue comes before the answer
                request, _ = self._waiting.popleft()
                request.answer, request.ok = _http_answer(request.protocol, code, body)

    def _answers_head(self) -> bool:
        head = self._waiting[0][1] if self._waiting else None
        return head is not None and head.method == "HEAD"


def _http_answer(protocol: str, status: int, body: bytes) -> tuple[str, bool]:
    """The answer in words, and whether it is a success."""
    if fault := _FAULT.search(body):
        return f"error {int(fault[1])} {_text(fault[2])}", False
    if protocol == "IGD" and status == 200:
        values = " ".join(f"{name.decode()}={_text(value)}" for name, value in _RESULT.findall(body))
        return values or "done", True
    return str(status), status < 400


def _datagram_request(packet: Packet) -> tuple[str, str]:
    """Protocol and request of a datagram to port 5351."""
    data = packet.payload
    if data[:1] == bytes([PCP_VERSION]):
        try:
            message = pcp.parse_request(data, packet.source.address)
        except WireError as error:
            return "PCP", f"a malformed request ({error})"
        if message.opcode is Opcode.ANNOUNCE or message.map is None:
            return "PCP", "ANNOUNCE"
        wanted = message.map
        transport = Transport.of_number(wanted.protocol) or f"protocol {wanted.protocol}"
        ports = f"{wanted.external_port or 'any'} -> {wanted.internal_port}"
        return "PCP", f"MAP {transport} {ports} for {message.lifetime_s} s"
    try:
        request = natpmp.parse_request(data)
    except WireError as error:
        return "NAT-PMP", f"a malformed request ({error})"
    match request:
        case natpmp.AddressRequest():
            return "NAT-PMP", "external address"
        case natpmp.MappingRequest(transport, internal, external, lifetime_s):
            return "NAT-PMP", f"map {transport} {external or 'any'} -> {internal} for {lifetime_s} s"
    return "NAT-PMP", f"opcode {data[1]}"


def _datagram_answer(data: bytes) -> tuple[str, bool]:
    """The answer of port 5351 in words, and whether it is a success."""
    try:
        if data[:1] == bytes([PCP_VERSION]):
            response = pcp.parse_response(data)
            answer, ok = response.result.name, response.result is ResultCode.SUCCESS
            if ok and response.map is not None:
                granted = Endpoint(response.map.external_address, response.map.external_port)
                answer = f"{granted} for {response.lifetime_s} s" if response.lifetime_s else "deleted"
            return answer, ok
        message = natpmp.parse_response(data)
    except WireError as error:
        return f"an error ({error})", False
    match message:
        case natpmp.AddressResponse(natpmp.NatPmpResult.SUCCESS, _, address):
            return str(address), address != IPv4Address(0)
        case natpmp.MappingResponse(natpmp.NatPmpResult.SUCCESS, _, _, _, external, lifetime_s):
            return (f"port {external} for {lifetime_s} s" if lifetime_s else "deleted"), True
        case natpmp.VersionResponse():
            return natpmp.NatPmpResult.UNSUPPORTED_VERSION.name, False
    return message.result.name, False


def _text(escaped: bytes) -> str:
    """The text of an element."""
    return unescape(escaped.decode("utf-8", "replace"))


def _fields(message: bytes) -> dict[str, str]:
    """ST and LOCATION of a message of SSDP."""
    return {name.decode().lower(): value.decode("latin-1").strip() for name, value in _FIELD.findall(message)}
