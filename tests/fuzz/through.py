"""Targets with much behind them: a whole request of HTTP with the server's checks, SQLite."""

import json
import sqlite3
from contextlib import suppress
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, ip_address
from types import SimpleNamespace
from typing import Any, cast

from upnp_gw.model.mapping import DecisionId, Endpoint, Hold, Instant, Mapping, MappingKey, Transport, Via
from upnp_gw.model.network import Link, Network
from upnp_gw.model.records import DecisionRecord, RecordFilter
from upnp_gw.protocols.gena import messages as gena
from upnp_gw.protocols.http.body import BodyReader
from upnp_gw.protocols.http.head import Head, HeadReader, MalformedRequest
from upnp_gw.protocols.igd import soap
from upnp_gw.protocols.igd.soap import BODY_MAX
from upnp_gw.protocols.igd_services import IgdVersion, description_path
from upnp_gw.servers.context import LanContext
from upnp_gw.servers.http.connection import Connection
from upnp_gw.servers.http.control import ControlBackend
from upnp_gw.servers.http.framing import BadRequest, check_body, wants_continue
from upnp_gw.servers.http.routes import ServedDescriptions
from upnp_gw.servers.http.server import HttpServer
from upnp_gw.store import decision_rows
from upnp_gw.store import device_rows as notes
from upnp_gw.store.mapping_rows import load_mappings, write_mappings
from upnp_gw.store.schema import SCHEMA
from upnp_gw.store.shared_parts import SharedParts

SOURCE = ip_address("192.168.1.10")
NOW = Instant(1000.0, 1_800_000_000.0)
HOLDS = (Hold(Via.IGD1, 4600.0, 3600),)
NETWORK = Network(
    wan=Link("wan0", 2, True, (IPv4Interface("11.22.33.44/24"),)),
    lans=(Link("lan0", 3, True, (IPv4Interface("192.168.1.1/24"),)),),
)


@cache
def http_server() -> HttpServer:
    """As far as a request's head: it never listens, and nobody answers behind it."""
    documents = {description_path(igd_version): b"" for igd_version in IgdVersion}
    nothing: Any = SimpleNamespace()
    return HttpServer(
        ServedDescriptions(documents, "token", {}, {}, ""),
        LanContext(lambda: NETWORK, lambda: NOW),
        ControlBackend(nothing, nothing),
        nothing,
    )


class Unconnected:
    """A connection, as far as the checks of a head use it."""

    local_address = "fe80::1"


def http_request(data: bytes) -> None:
    """Requests as they come from the network, one after the other, with the server's checks and the bodies. The
    portions of the bytes do not change the result."""
    assert read_requests([data]) == read_requests([data[n : n + 1] for n in range(len(data))])


def read_requests(portions: list[bytes]) -> list[object]:
    """The requests in these bytes, and the status of the answer to the first malformed one."""
    found: list[object] = []
    heads, head, body = HeadReader(), None, None
    try:
        for portion in portions:
            data = portion
            while data:
                if head is None or body is None:
                    head, data = heads.feed(data)
                    body = BodyReader(head, BODY_MAX) if head is not None else None
                else:
                    data = body.feed(data)
                if head is not None and body is not None and body.done:
                    found.append((head.method, head.version, head.path, head.size, head.headers.pairs, body.length))
                    check_request(head, body.content if not body.too_large else b"")
                    head = body = None
    except MalformedRequest as error:
        found.append(error.status)
    return found


def check_request(head: Head, content: bytes) -> None:
    with suppress(BadRequest):
        http_server()._resource(head, cast(Connection, Unconnected()))
    with suppress(BadRequest):
        check_body(head)
    wants_continue(head)
    for method in ("SUBSCRIBE", "UNSUBSCRIBE"):
        gena.parse_request(method, head.headers, SOURCE)
    with suppress(soap.SoapError):
        soap.parse_call(head.headers, content)


@cache
def database() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(SCHEMA + notes.SCHEMA)
    return db


def rows(data: bytes) -> None:
    """Any text of a client comes back from the store as it went in, and alone (SR-20)."""
    text = data.decode("utf-8", "replace")
    key = MappingKey(Transport.TCP, None, 8080, None)
    mapping = Mapping(
        id="m1",
        key=key,
        internal=Endpoint(IPv4Address("192.168.1.10"), 80),
        device=text,
        description=text,
        enabled=True,
        parked=False,
        holds=HOLDS,
        granted_at=NOW.wall,
        decision=DecisionId("d1"),
        rule=text,
        recheck_at=0,
    )
    db = database()
    db.execute("BEGIN")
    try:
        write_mappings(db, [(mapping, 1)], "boot", NOW)
        (row,), _ = load_mappings(db, "boot", NOW)
        assert row.mapping == mapping
        decided(db, text)
        notes.write_notes(db, [notes.Note(notes.NoteKind.DEVICE, text, {"name": text})])
        assert notes.load_notes(db)[notes.NoteKind.DEVICE] == [{"name": text}]
    finally:
        db.execute("ROLLBACK")


def decided(db: sqlite3.Connection, text: str) -> None:
    record = DecisionRecord(
        id=DecisionId("d1"),
        at=NOW.wall,
        via=Via.IGD1,
        device=text,
        address="192.168.1.10",
        action="map",
        transport=Transport.TCP,
        external_port=8080,
        internal_client="192.168.1.10",
        internal_port=80,
        remote_host=None,
        lease_s=None,
        description=text,
        verdict="deny",
        refusal=None,
        rule="rule",
        reasons=(text,),
        policy="",
        facts=json.loads(json.dumps({"text": text})),
    )
    decision_rows.write_decisions(db, [record], SharedParts())
    assert decision_rows.load_decisions(db, RecordFilter(port=80, verdict="deny")) == [record]
