"""Writes the seed corpora: ``python -m tests.fuzz.seeds``. From captures of clients, byte vectors and examples.

What a fuzzer or a field report found is put beside them by hand, under a name that says what it is; so are the
listings of ``ruleset`` and ``iptables``, which nft printed.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator
from socket import AF_INET, AF_INET6

from tests import ROOT
from tests.fixtures import port5351_vectors as vectors
from tests.fuzz.targets import CORPUS
from tests.gate import test_address_lists
from tests.migration import test_lease_file
from tests.model import test_dhcp
from tests.protocols.igd import test_raw_description as raw
from tests.system import test_neighbour_messages as neighbour
from tests.system import test_rtnetlink as route
from upnp_gw.firewall.netlink import nfgen_body
from upnp_gw.store.high_water import HighWaterMark, as_bytes
from upnp_gw.system.neighbour_messages import ND, arp_request
from upnp_gw.system.netlink import attribute, build_message, nest
from upnp_gw.system.rtnetlink import MessageType, NeighbourState

CAPTURES = ROOT / "tests" / "captures" / "captures.jsonl"
SUBSCRIBES = (
    "CALLBACK: <http://192.168.1.10:2869/event>\r\nNT: upnp:event\r\nTIMEOUT: Second-1800\r\n",
    "CALLBACK: <http://192.168.1.10:1025/a><http://[fe80::1%25lan0]:1025/b>\r\nNT: upnp:event\r\n",
    "SID: uuid:4a3b\r\nTIMEOUT: Second-infinite\r\n",
    "HTTP/1.1 412 Precondition Failed\r\n\r\n",
)
FRAMINGS = (
    ("1.1", "Transfer-Encoding: chunked", "4;a=b\r\n<a/>\r\n0\r\nX-Trailer: c\r\n\r\n"),
    ("1.1", "Transfer-Encoding: chunked\r\nContent-Length: 4", "4\r\n<a/>\r\n0\r\n\r\n"),
    ("1.1", "Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
    ("1.0", "Transfer-Encoding: chunked", "0\r\n\r\n"),
    ("1.1", "Content-Length: 4\r\nContent-Length: 5", "<a/>"),
    ("2.0", "Content-Length: 4\r\nExpect: 100-continue\r\nUpgrade: h2c", "<a/>"),
    ("1.1", "Transfer-Encoding: chunked", '00a;b="c\\"d";e\r\n0123456789\r\n000\r\nContent-Length: 3\r\n\r\n'),
    ("1.1", "Content-Length: 0004\r\nConnection: keep-alive, close", "<a/>GET http://a/b?c#d HTTP/1.0\r\n\r\n"),
)
"""Version of HTTP, header lines, body."""
ODD_XML = (
    '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    '<?xml version="1.0" encoding="utf-7"?><a/>',
    "<a>" * 9 + "</a>" * 9,
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'
    '<s:Body><u:A xmlns:u=""/></s:Body></s:Envelope>',
)
BODIES = (
    '{"transport": "tcp", "external_port": 8080, "internal_client": "192.168.1.10", "internal_port": 80,'
    ' "lease_s": 3600, "remote_host": "198.51.100.0/24", "description": "web"}',
    '{"name": "ps5"}',
    '{"ports": ["3074", "8000-8999"], "proto": ["udp"], "for_s": 86400, "max_mappings": 4}',
    '{"via": "pcp", "device": "ps5", "transport": "udp", "external_port": 0, "internal_port": 3074, "choice": "x"}',
    "device: ps5\nverdict: deny\nlimit: 10\nsince: 2026-01-01T00:00:00Z\nport: 80\nbefore: d7",
)
TEXTS = (
    "'; DROP TABLE mappings;--",
    "\x1b]0;title\x07\x1b[2J\r\nd1 allow",
    "\u202egnp.exe\u2066\u200b\ufeff",
    "a\0b",
    "\U0001f600" * 64,
)


def framed(framing: tuple[str, str, str]) -> str:
    version, fields, body = framing
    head = f"POST /ctl HTTP/{version}\r\nHost: 192.168.1.1:5000\r\nContent-Type: text/xml\r\n{fields}"
    return f"{head}\r\n\r\n{body}"


def captured(kind: str) -> Iterator[str]:
    for line in CAPTURES.read_text("utf-8").splitlines():
        capture = json.loads(line)
        if capture["kind"] == kind:
            yield capture["bytes"]


def of_http() -> tuple[list[str], list[str], list[str]]:
    """Heads, event requests and SOAP calls (headers, empty line, body)."""
    heads, events, calls = [], [], []
    for request in captured("http"):
        line, _, rest = request.partition("\r\n")
        head = rest.partition("\r\n\r\n")[0]
        heads.append(head)
        if line.startswith("POST"):
            calls.append(rest)
        elif line.startswith(("SUBSCRIBE", "UNSUBSCRIBE")):
            events.append(head)
    return heads, events, calls


def filter_messages() -> Iterator[bytes]:
    """A flow as conntrack dumps it, and an element as nf_tables does."""
    for port in (80, 81):
        way = nest(1, attribute(1, bytes([11, 22, 33, 9])), attribute(2, bytes([11, 22, 33, 1])))
        proto = nest(
            2,
            attribute(1, b"\x06"),
            attribute(2, struct.pack("!H", 4000)),
            attribute(3, struct.pack("!H", port)),
        )
        flow = nest(1, way, proto) + nest(2, way, proto) + attribute(3, bytes([0, 0, 0, 8]))
        yield build_message(1 << 8 | 0, 2, 1, nfgen_body(2, flow))
    key = nest(1, attribute(1, bytes([6, 0, 0, 0, 192, 168, 1, 10, 0, 80, 0, 0])))
    counter = nest(7, attribute(1, b"counter\0"), nest(2, attribute(1, bytes(8)), attribute(2, bytes(8))))
    element = nest(1, key, attribute(5, bytes(8)), attribute(6, b"\x00\x03m1\x00"), counter)
    yield build_message(10 << 8 | 12, 2, 1, nfgen_body(1, nest(3, element)))


def corpora() -> dict[str, Iterable[str | bytes]]:
    heads, events, calls = of_http()
    hexes = [*vectors.NATPMP_REQUESTS.values(), *vectors.NATPMP_RESPONSES.values()]
    pcp = [*vectors.PCP_REQUESTS.values(), *vectors.PCP_RESPONSES.values()]
    policies = [*(ROOT / "examples" / "policies").glob("*.toml"), ROOT / "upnp_gw" / "gate" / "home.toml"]
    return {
        "ssdp": captured("ssdp"),
        "http": heads[::4],
        "http-request": [*list(captured("http"))[::6], *map(framed, FRAMINGS)],
        "gena": [*events, *SUBSCRIBES],
        "soap": [*calls[::3], *("content-type: text/xml\r\n\r\n" + xml for xml in ODD_XML)],
        "natpmp": [bytes.fromhex(hexa) for hexa, _ in hexes],
        "pcp": [bytes.fromhex(hexa) for hexa, _ in pcp],
        "policy": [path.read_text("utf-8") for path in policies],
        "miniupnpd": [
            path.read_text("utf-8")
            for directory in ("cases", "openwrt")
            for path in sorted((ROOT / "tests" / "migration" / directory).iterdir())
        ],
        "config": [path.read_text("utf-8") for path in (ROOT / "examples" / "config").glob("*.toml")],
        "address-list": [
            test_address_lists.PLAIN.encode(),
            b'["203.0.113.0/24", "2001:db8::/32"]',
            b"1.2.3.4/32 ; x\r\n",
        ],
        "lease-file": test_lease_file.SEEDS,
        "leases": [test_dhcp.DNSMASQ, test_dhcp.KEA, test_dhcp.ISC, test_dhcp.NETWORKD],
        "netlink-route": [route.link(), *route_messages()],
        "netlink-filter": filter_messages(),
        "control": BODIES,
        "neighbours": claims(),
        "description": raw_bodies(),
        "highwater": marks(),
        "rows": TEXTS,
    }


def claims() -> Iterator[bytes]:
    """Answers to "who has this address?", and a question in ARP, which claims one too."""
    for four in neighbour.FOUR:
        yield neighbour.arp(neighbour.MACS[0], four)
    yield arp_request(neighbour.MACS[1], *neighbour.FOUR)
    for six in neighbour.SIX[:2]:
        yield neighbour.advertisement(neighbour.MACS[0], six)
    nonce = b"\x0e\x01" + bytes(6)
    found = neighbour.advertisement(neighbour.MACS[2], neighbour.SIX[3])
    yield found[: ND.size] + nonce + found[ND.size :]


def raw_bodies() -> Iterator[bytes]:
    for charset, sent in (*((b"", sent) for sent, _ in raw.RAW), (b"windows-1251", b"\xcf\xf0 & x")):
        yield b"text/xml; charset=" + charset + b"\n\n" + raw.body(sent)


def marks() -> Iterator[bytes]:
    yield as_bytes(HighWaterMark("0123456789abcdef0123456789abcdef", 12, 7, 1_800_000_000))
    yield as_bytes(HighWaterMark("0123456789abcdef0123456789abcdef", 0, 0, 0))
    yield b'{"store": "a", "transaction": ' + b"9" * 40 + b', "moved": 0, "at": 0}'
    yield b'{"store": "a", "transaction": 3, "moved": 5, "at": -1e999}'


def route_messages() -> Iterator[bytes]:
    yield route.address(MessageType.NEWADDR, AF_INET, 24, 0, route.DST4)
    yield route.address(MessageType.NEWADDR, AF_INET6, 64, 0x44, route.DST6)
    yield route.neighbour(MessageType.NEWNEIGH, AF_INET, NeighbourState.REACHABLE, 0, route.DST4, route.MAC)
    yield route.route(0, 254, 1, attribute(4, struct.pack("=I", 7)))


def write() -> None:
    for name, found in corpora().items():
        directory = CORPUS / name
        directory.mkdir(parents=True, exist_ok=True)
        for seed in found:
            data = seed.encode() if isinstance(seed, str) else seed
            (directory / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)


if __name__ == "__main__":
    write()
