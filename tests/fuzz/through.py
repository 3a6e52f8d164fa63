"""Targets that go through somebody else's code: aiohttp's parser of requests, SQLite."""

import asyncio
import json
import sqlite3
from contextlib import suppress
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, ip_address
from types import SimpleNamespace
from typing import Any, cast

from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser

from upnp_gw.model.mapping import DecisionId, Endpoint, Hold, Instant, Mapping, MappingKey, Transport, Via
from upnp_gw.model.network import Link, Network
from upnp_gw.model.records import DecisionRecord, RecordFilter
from upnp_gw.protocols.gena import messages as gena
from upnp_gw.protocols.igd import soap
from upnp_gw.protocols.igd_services import IgdVersion, description_path
from upnp_gw.servers.context import LanContext
from upnp_gw.servers.http.control import ControlBackend
from upnp_gw.servers.http.framing import BadRequest
from upnp_gw.servers.http.limits import HttpLimits
from upnp_gw.servers.http.routes import ServedDescriptions
from upnp_gw.servers.http.server import HttpServer
from upnp_gw.store import decision_rows
from upnp_gw.store import device_rows as notes
from upnp_gw.store.mapping_rows import mapping_values, stored_row
from upnp_gw.store.schema import SCHEMA

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


@cache
def loop() -> asyncio.AbstractEventLoop:
    """One that never runs: aiohttp's parser wants to be given one."""
    return asyncio.new_event_loop()


def http_request(data: bytes) -> None:
    """A request as it comes from the network: what aiohttp makes of it meets our checks, body and all."""
    size = HttpLimits().head
    protocol = BaseProtocol(loop())
    parser = HttpRequestParser(protocol, loop(), 2**16, max_line_size=size, max_field_size=size)
    try:
        messages, _, _ = parser.feed_data(data)
    except HttpProcessingError:
        return
    for message, payload in messages:
        request = SimpleNamespace(
            raw_headers=message.raw_headers,
            headers=message.headers,
            method=message.method,
            raw_path=message.path,
            rel_url=message.url,
            version=message.version,
            transport=None,
        )
        with suppress(BadRequest):
            http_server()._resource(cast(web.BaseRequest, request))
        for method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            gena.parse_request(method, message.headers, SOURCE)
        with suppress(soap.SoapError):
            soap.parse_call(message.headers, b"".join(getattr(payload, "_buffer", ())))


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
        marks = ",".join("?" * len(mapping_values(mapping, 1)))
        db.execute(f"INSERT INTO mappings VALUES ({marks})", mapping_values(mapping, 1))
        (row,) = db.execute("SELECT * FROM mappings").fetchall()
        assert stored_row(row, HOLDS).mapping == mapping
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
    decision_rows.write_decisions(db, [record], decision_rows.KEEP, NOW)
    assert decision_rows.load_decisions(db, RecordFilter(port=80, verdict="deny")) == [record]
