"""The journal of a program, from packets."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.lab.program.journal import read_journal
from upnp_gw.lab.program.packet import Packet
from upnp_gw.lab.program.report import Exchange
from upnp_gw.model.mapping import Endpoint, Transport
from upnp_gw.protocols.igd.soap import build_fault, build_response
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp.codec import build_error, build_request
from upnp_gw.protocols.pcp.codec import build_response as build_pcp_response
from upnp_gw.protocols.pcp.messages import ANY_IPV4, MapData, Request, Response, ResultCode

CLIENT, GATEWAY = IPv4Address("192.168.77.10"), IPv4Address("192.168.77.1")
EXTERNAL = IPv4Address("11.22.33.44")
URN = "urn:schemas-upnp-org:service:WANIPConnection:1"
TCP, UDP = Transport.TCP, Transport.UDP


def datagrams(port: int, *messages: bytes, client_port: int = 4000) -> list[Packet]:
    """Requests and answers in turn; an empty one is not sent."""
    ends = Endpoint(CLIENT, client_port), Endpoint(GATEWAY, port)
    packets = [Packet(2.0 + n, UDP, *(ends if n % 2 == 0 else ends[::-1]), data) for n, data in enumerate(messages)]
    return [packet for packet in packets if packet.payload]


class Conversation:
    """One TCP connection as packets."""

    def __init__(self, first: int = 0xFFFFFFF0) -> None:
        self.ends = Endpoint(CLIENT, 40_000), Endpoint(GATEWAY, 5000)
        self.next = [first, 7]
        self.packets: list[Packet] = []
        for side in (0, 1):
            self._add(side, b"", begins=True)

    def asks(self, data: bytes) -> "Conversation":
        return self._add(0, data)

    def answers(self, status: str, body: bytes = b"") -> "Conversation":
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
        return self._add(1, head.encode() + body)

    def _add(self, side: int, data: bytes, begins: bool = False) -> "Conversation":
        ends = self.ends if side == 0 else self.ends[::-1]
        self.packets.append(Packet(2.0 + len(self.packets), TCP, *ends, data, self.next[side], begins))
        self.next[side] = (self.next[side] + len(data) + begins) & 0xFFFFFFFF
        return self


def soap(action: str, arguments: str) -> bytes:
    body = (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f'<u:{action} xmlns:u="{URN}">{arguments}</u:{action}></s:Body></s:Envelope>'
    ).encode()
    head = (
        f"POST /c HTTP/1.1\r\nHost: 192.168.77.1:5000\r\nContent-Length: {len(body)}\r\nContent-Type: text/xml\r\n"
    )
    return head.encode() + f'SOAPACTION: "{URN}#{action}"\r\n\r\n'.encode() + body


def journal(packets: list[Packet]) -> list[Exchange]:
    return read_journal(packets, frozenset({CLIENT}), 2.0)


MAP = natpmp.build_request(natpmp.MappingRequest(TCP, 8080, 0, 60))
MAPPED = natpmp.build_response(natpmp.MappingResponse(natpmp.NatPmpResult.SUCCESS, TCP, 1, 8080, 9999, 60))
REFUSED = natpmp.build_response(natpmp.MappingResponse(natpmp.NatPmpResult.REFUSED, TCP, 1, 8080))
PCP_MAP = build_request(Request(120, CLIENT, MapData(b"n" * 12, 6, 80, 81, ANY_IPV4)))
PCP_MAPPED = build_pcp_response(Response(ResultCode.SUCCESS, 120, 1, MapData(b"n" * 12, 6, 80, 81, EXTERNAL)))


@pytest.mark.parametrize(
    ("asked", "answered", "expected"),
    [
        (b"\0\0", natpmp.build_response(natpmp.AddressResponse(natpmp.NatPmpResult.SUCCESS, 1, EXTERNAL)),
         ("NAT-PMP", "external address", "11.22.33.44", True)),
        (MAP, MAPPED, ("NAT-PMP", "map tcp any -> 8080 for 60 s", "port 9999 for 60 s", True)),
        (MAP, REFUSED, ("NAT-PMP", "map tcp any -> 8080 for 60 s", "REFUSED", False)),
        (MAP, b"", ("NAT-PMP", "map tcp any -> 8080 for 60 s", "", False)),
        (b"\0", b"", ("NAT-PMP", "a malformed request (short)", "", False)),
        (PCP_MAP, PCP_MAPPED, ("PCP", "MAP tcp 81 -> 80 for 120 s", "11.22.33.44:81 for 120 s", True)),
        (PCP_MAP, build_error(PCP_MAP, ResultCode.NOT_AUTHORIZED, 1),
         ("PCP", "MAP tcp 81 -> 80 for 120 s", "NOT_AUTHORIZED", False)),
        (PCP_MAP, b"\2", ("PCP", "MAP tcp 81 -> 80 for 120 s", "an error (length)", False)),
    ],
)  # fmt: skip
def test_port_5351(asked: bytes, answered: bytes, expected: tuple[str, str, str, bool]) -> None:
    [exchange] = journal(datagrams(5351, asked, answered))
    assert (exchange.protocol, exchange.asked, exchange.answer, exchange.ok) == expected
    assert exchange.at_s == 0.0


def test_a_datagram_that_is_sent_again_is_one_request() -> None:
    [first, second] = journal(datagrams(5351, MAP, b"", MAP, MAPPED, MAP, REFUSED))
    assert (first.times, first.answer) == (2, "port 9999 for 60 s")
    assert (second.times, second.answer) == (1, "REFUSED")


def test_a_search_has_each_location_once() -> None:
    search = b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nST: ssdp:all\r\nMAN: "ssdp:discover"\r\n\r\n'
    one, two = (b"HTTP/1.1 200 OK\r\nLocation: http://a/%d\r\n\r\n" % n for n in (1, 2))
    [found] = journal(datagrams(1900, search, one, search, two, b"", one))
    assert (found.protocol, found.asked, found.times) == ("SSDP", "search for ssdp:all", 2)
    assert (found.answer, found.ok) == ("http://a/1 http://a/2", True)


def test_actions_and_other_requests_on_one_connection() -> None:
    connection = Conversation().asks(b"GET /igd1.xml HTTP/1.1\r\nHost: a\r\n\r\n").answers("200 OK", b"<root/>")
    connection.asks(soap("AddPortMapping", "<NewExternalPort>80</NewExternalPort>"))
    connection.answers("500 Internal Server Error", build_fault(718, "tom & jerry have it"))
    connection.asks(soap("GetExternalIPAddress", ""))
    connection.answers("200 OK", build_response(URN, "GetExternalIPAddress", [("NewExternalIPAddress", "1.2.3.4")]))
    description, add, address = journal(connection.packets)
    assert (description.protocol, description.asked, description.answer) == ("HTTP", "GET /igd1.xml", "200")
    assert (add.protocol, add.asked, add.arguments) == ("IGD", "AddPortMapping", {"NewExternalPort": "80"})
    assert (add.answer, add.ok) == ("error 718 tom & jerry have it", False)
    assert (address.answer, address.ok) == ("NewExternalIPAddress=1.2.3.4", True)


def test_an_interim_answer_is_not_the_answer() -> None:
    connection = Conversation().asks(soap("AddPortMapping", ""))
    connection._add(1, b"HTTP/1.1 100 Continue\r\n\r\n").answers(
        "200 OK", build_response(URN, "AddPortMapping", [])
    )
    [add] = journal(connection.packets)
    assert (add.answer, add.ok) == ("done", True)


def test_the_answer_to_head_has_no_body() -> None:
    connection = Conversation().asks(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    connection._add(1, b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n")
    assert [(e.answer, e.ok) for e in journal(connection.packets)] == [("404", False)]


def test_what_is_no_http_is_one_request() -> None:
    connection = Conversation().asks(b"\x16\x03\x01\r\n").asks(b"more\r\n").answers("400 Bad Request")
    [exchange] = journal(connection.packets)
    assert exchange.asked.startswith("bytes that are no request")
    assert exchange.answer == "400"


@given(st.lists(st.integers(1, 40), max_size=12), st.booleans())
def test_segments_of_any_size_that_are_sent_again_are_read_once(sizes: list[int], again: bool) -> None:
    request = soap("AddPortMapping", "<NewExternalPort>80</NewExternalPort>")
    connection = Conversation()
    for size in sizes:
        part, request = request[:size], request[size:]
        connection.asks(part)
        if again:
            connection.packets.append(connection.packets[-1])
    connection.asks(request).answers("200 OK", build_response(URN, "AddPortMapping", []))
    [add] = journal(connection.packets)
    assert (add.arguments, add.answer) == ({"NewExternalPort": "80"}, "done")


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([1900, 5351, 5000]), st.binary(max_size=60)), max_size=8))
def test_any_bytes_make_a_journal(messages: list[tuple[bool, int, bytes]]) -> None:
    packets = []
    for asks, port, data in messages:
        ends = Endpoint(CLIENT, 4000), Endpoint(GATEWAY, port)
        transport = TCP if port == 5000 else UDP
        packets.append(Packet(2.0, transport, *(ends if asks else ends[::-1]), data, 7, begins=asks))
    journal(packets)
