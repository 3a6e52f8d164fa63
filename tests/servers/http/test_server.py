"""The HTTP server over loopback: what is served, what is refused, and in which shape."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from ipaddress import ip_interface

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.fixtures.fake_gateway import LOOPBACK, TOKEN, served_documents
from tests.fixtures.http_client import (
    CONTROL,
    EVENTS,
    HttpFixture,
    answer,
    body_of,
    fault_code,
    header,
    serving,
    status_of,
)
from tests.fixtures.waiting import async_until
from upnp_gw.model.mapping import Via
from upnp_gw.model.network import Link, Network
from upnp_gw.model.request import Source, WanStatus
from upnp_gw.protocols.http.head import HeadReader
from upnp_gw.protocols.igd_services import SERVICES, IgdVersion, control_path
from upnp_gw.servers.http.connection import Connection
from upnp_gw.servers.http.host_header import REMEMBERED_MAX, split_host
from upnp_gw.servers.http.limits import HttpLimits
from upnp_gw.servers.http.server import STOP_S


@pytest.fixture
async def fixture() -> AsyncIterator[HttpFixture]:
    async with serving() as served:
        yield served


@pytest.mark.spec("IGD-001")
async def test_every_document(fixture: HttpFixture) -> None:
    for path, document in served_documents().items():
        data = await fixture.send(fixture.head(f"GET {path}"))
        assert status_of(data) == 200
        assert header(data, "Content-Type") == 'text/xml; charset="utf-8"'
        assert header(data, "Server") == "Linux/6.1 UPnP/1.1 upnp-gw/0.1.0"
        assert header(data, "Date")
        assert header(data, "Content-Language") is None
        assert header(data, "Access-Control-Allow-Origin") is None
        assert body_of(data) == document


@pytest.mark.spec("IGD-026")
async def test_head(fixture: HttpFixture) -> None:
    for path, document in served_documents().items():
        reader, writer = await fixture.connect()
        writer.write(fixture.head(f"HEAD {path}", "Connection: close"))
        data = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert status_of(data) == 200
        assert header(data, "Content-Length") == str(len(document))
        assert header(data, "Content-Type") == 'text/xml; charset="utf-8"'
        assert body_of(data) == b""


@pytest.mark.spec("IGD-025")
@pytest.mark.parametrize("extra", [[], ["Content-Length: 0", "Connection: close"], ["Connection: keep-alive"]])
async def test_http_1_0(fixture: HttpFixture, extra: list[str]) -> None:
    for host in (None, ""):
        data = await fixture.send(fixture.head("GET /igd1.xml", *extra, version="1.0", host=host))
        assert status_of(data) == 200
        assert header(data, "Transfer-Encoding") is None
        assert body_of(data) == served_documents()["/igd1.xml"]


@pytest.mark.spec("IGD-015")
@pytest.mark.parametrize("agent", ["Microsoft-Windows/10.0 UPnP/1.0", "FDSSDP"])
async def test_windows_gets_version_1_everywhere(fixture: HttpFixture, agent: str) -> None:
    documents = served_documents()
    for path, old in (
        ("/igd2.xml", "/igd1.xml"),
        ("/scpd/igd2/WANIPConnection.xml", "/scpd/igd1/WANIPConnection.xml"),
        ("/igd1.xml", "/igd1.xml"),
    ):
        data = await fixture.send(fixture.head(f"GET {path}", f"User-Agent: {agent}"))
        assert body_of(data) == documents[old]


@pytest.mark.spec("IGD-024", "SR-13", "SR-10")
@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/../igd1.xml",
        "/./igd1.xml",
        "/%69gd1.xml/",
        "//igd1.xml",
        "/igd1.xml/",
        "/scpd",
        "/etc/passwd",
        "*",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/wrongtoken/control/igd2/WANIPConnection",
        "/control/igd2/WANIPConnection",
        f"/{TOKEN}",
    ],
)
async def test_unknown_paths_are_404(fixture: HttpFixture, path: str) -> None:
    for method in ("GET", "POST", "SUBSCRIBE"):
        assert status_of(await fixture.send(fixture.head(f"{method} {path}", "Content-Length: 0"))) in (400, 404)


@pytest.mark.spec("IGD-024", "IGD-083", "SR-13")
async def test_wrong_methods(fixture: HttpFixture) -> None:
    for method, path, allow in (
        ("POST", "/igd1.xml", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("PUT", "/igd2.xml", "GET, HEAD"),
        ("OPTIONS", CONTROL, "POST"),
        ("GET", CONTROL, "POST"),
        ("GET", EVENTS, "SUBSCRIBE, UNSUBSCRIBE"),
        ("POST", EVENTS, "SUBSCRIBE, UNSUBSCRIBE"),
    ):
        data = await fixture.send(fixture.head(f"{method} {path}", "Content-Length: 0"))
        assert (status_of(data), header(data, "Allow")) == (405, allow)
        assert body_of(data) == b""
    for igd_version in IgdVersion:
        for service in SERVICES[igd_version]:
            path = control_path(TOKEN, igd_version, service)
            assert status_of(await fixture.send(fixture.head(f"POST {path}", "Content-Length: 0"))) == 400


@pytest.mark.spec("IGD-084")
@pytest.mark.parametrize("method", ["M-POST", "BREW", "get", "NOTIFY", "M-SEARCH", "PROPFIND"])
async def test_unknown_methods_are_501(fixture: HttpFixture, method: str) -> None:
    data = await fixture.send(
        fixture.head(
            f"{method} {CONTROL}",
            'MAN: "http://schemas.xmlsoap.org/soap/envelope/"; ns=01',
            "Content-Length: 0",
        )
    )
    assert status_of(data) == 501


@pytest.mark.spec("SR-9", "IGD-027")
async def test_host(fixture: HttpFixture) -> None:
    def get(host: str, version: str = "1.1") -> bytes:
        return fixture.head("GET /igd1.xml", version=version, host=host)

    port = fixture.port
    for own in ("127.0.0.1", f"127.0.0.1:{port}", f"[::1]:{port}", "[::1]", " 127.0.0.1 ", f"[::1%lo]:{port}"):
        assert status_of(await fixture.send(get(own))) == 200, own
    for other in (
        "router.local",
        f"localhost:{port}",
        "192.168.1.1",
        "198.51.100.7",
        "127.0.0.1:1",
        f"127.0.0.1:{port}0",
        "127.1",
        "0x7f000001",
        "127.0.0.1.example.org",
        "[::2]",
        "::1",
        "127.0.0.1@evil",
        f"127.0.0.1:{port}, evil",
    ):
        for version in ("1.1", "1.0"):
            assert status_of(await fixture.send(get(other, version))) in (400, 403), other
    for target in (
        f"http://127.0.0.1:{port}/igd1.xml",
        "HTTP://127.0.0.1/igd1.xml",
        f"http://[::1]:{port}/igd1.xml",
    ):
        assert status_of(await fixture.send(fixture.head(f"GET {target}"))) == 200, target
    for target in ("http://router.local/igd1.xml", "http://127.0.0.1:1/igd1.xml", "http://127.0.0.1@evil/igd1.xml"):
        assert status_of(await fixture.send(fixture.head(f"GET {target}"))) in (400, 403), target
    assert status_of(await fixture.send(get(""))) == 400
    twice = fixture.head("GET /igd1.xml", "Host: 127.0.0.1")
    assert status_of(await fixture.send(twice)) in (400, 403)
    assert fixture.server.counts["host"] > 20


@pytest.mark.spec("SR-9")
async def test_remembered_names_of_hosts_are_few_and_short(fixture: HttpFixture) -> None:
    known = fixture.server._hosts._known
    assert status_of(await fixture.send(fixture.head("GET /igd1.xml", host="a" * 7000))) == 403
    assert known == {}
    for number in range(REMEMBERED_MAX + 10):
        head, _ = HeadReader().feed(fixture.head("GET /igd1.xml", host=f"host-{number}"))
        assert head is not None
        assert fixture.server._hosts.wrong_host(head, fixture.network, fixture.port) == 403
        assert len(known) <= REMEMBERED_MAX


@pytest.mark.spec("SR-9")
@given(st.text(max_size=60))
def test_any_host_header_is_parsed(host: str) -> None:
    literal, port = split_host(host)
    assert literal in host
    assert port in host


@pytest.mark.spec("SR-9")
@pytest.mark.parametrize(
    "line",
    [
        "Origin: http://evil",
        "Origin: null",
        "Origin: http://127.0.0.1",
        "Origin:",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Site: none",
        "sec-fetch-dest: empty",
        "Sec-Fetch-User: ?1",
        "Sec-Fetch-Storage-Access: none",
        "Sec-CH-UA: x",
        "Sec-Purpose: prefetch",
        "sec-fetch-mode: no-cors",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Mode:",
        "Sec-Fetch-Mode: cors\r\nSec-Fetch-Mode: navigate",
        "Sec-Fetch-Mode: cors\r\nSec-Fetch-Site: cross-site",
        "Sec-Fetch-Mode: cors\r\nOrigin: http://evil",
    ],
)
async def test_control_and_eventing_refuse_browsers(fixture: HttpFixture, line: str) -> None:
    assert status_of(await fixture.send(fixture.post("ForceTermination", "", line))) == 403
    data = await fixture.send(fixture.head(f"SUBSCRIBE {EVENTS}", line, "NT: upnp:event"))
    assert status_of(data) == 403
    assert header(data, "Access-Control-Allow-Origin") is None
    assert fixture.eventing.calls == []
    assert fixture.gateway.requests == []


@pytest.mark.spec("SR-9")
@pytest.mark.parametrize("mode", ["sec-fetch-mode: cors", "Sec-Fetch-Mode: cors", "sec-fetch-mode:  CORS "])
async def test_the_fetch_of_node_is_not_refused_as_a_browser(fixture: HttpFixture, mode: str) -> None:
    """undici, which is fetch of Node, sends this one header of a browser's and no other."""
    beside = ("accept: */*", "accept-language: *", mode, "user-agent: node", "accept-encoding: gzip, deflate")
    assert status_of(await fixture.send(fixture.post("AddPortMapping", ADD, *beside))) == 200
    assert len(fixture.gateway.requests) == 1
    data = await fixture.send(
        fixture.head(f"SUBSCRIBE {EVENTS}", *beside, "NT: upnp:event", "CALLBACK: <http://x/>")
    )
    assert status_of(data) == 200


ADD = "".join(
    f"<{name}>{value}</{name}>"
    for name, value in {
        "NewRemoteHost": "",
        "NewExternalPort": "21000",
        "NewProtocol": "TCP",
        "NewInternalPort": "21001",
        "NewInternalClient": "192.168.77.10",
        "NewEnabled": "1",
        "NewPortMappingDescription": "&lt;a&gt; &amp; &quot;b&quot; &#13;&#10;\u00e9",
        "NewLeaseDuration": "600",
    }.items()
)
KEY = "<NewRemoteHost/><NewExternalPort>21000</NewExternalPort><NewProtocol>TCP</NewProtocol>"


def add(fixture: HttpFixture, igd_version: IgdVersion = IgdVersion.IGD2) -> bytes:
    return fixture.post("AddPortMapping", ADD, igd_version=igd_version)


@pytest.mark.spec("IGD-070", "IGD-077", "IGD-090", "IGD-111")
@pytest.mark.parametrize("igd_version", IgdVersion)
async def test_add_and_get(fixture: HttpFixture, igd_version: IgdVersion) -> None:
    data = await fixture.send(add(fixture, igd_version))
    assert status_of(data) == 200
    assert header(data, "Ext") == ""
    assert header(data, "Content-Type") == 'text/xml; charset="utf-8"'
    urn = f"urn:schemas-upnp-org:service:WANIPConnection:{igd_version.version}"
    assert f'<u:AddPortMappingResponse xmlns:u="{urn}"></u:AddPortMappingResponse>'.encode() in data
    data = await fixture.send(fixture.post("GetSpecificPortMappingEntry", KEY, igd_version=igd_version))
    response = etree.fromstring(body_of(data)).find(f".//{{{urn}}}GetSpecificPortMappingEntryResponse")
    assert response is not None
    assert [(child.tag, child.text) for child in response] == [
        ("NewInternalPort", "21001"),
        ("NewInternalClient", "192.168.77.10"),
        ("NewEnabled", "1"),
        ("NewPortMappingDescription", '<a> & "b" \r\n\u00e9'),
        ("NewLeaseDuration", "600"),
    ]


@pytest.mark.spec("IGD-091")
async def test_version_2_serves_version_1_calls(fixture: HttpFixture) -> None:
    call = fixture.post().replace(b"WANIPConnection:2", b"WANIPConnection:1")
    data = await fixture.send(call)
    assert status_of(data) == 200
    assert b'xmlns:u="urn:schemas-upnp-org:service:WANIPConnection:1"' in data


async def test_version_1_answers_version_2_actions_as_version_2(fixture: HttpFixture) -> None:
    """upnpc -n and -N ask the IGD:1 that they found, though its description does not list the action (IGD-016)."""
    data = await fixture.send(fixture.post("AddAnyPortMapping", ADD, igd_version=IgdVersion.IGD1))
    assert status_of(data) == 200
    urn = b'xmlns:u="urn:schemas-upnp-org:service:WANIPConnection:1"'
    assert b"<u:AddAnyPortMappingResponse " + urn + b"><NewReservedPort>21000</NewReservedPort>" in data
    [request] = fixture.gateway.requests
    assert request.via is Via.IGD2
    taken = ADD.replace("<NewInternalPort>21001<", "<NewInternalPort>0<")
    assert (
        fault_code(await fixture.send(fixture.post("AddAnyPortMapping", taken, igd_version=IgdVersion.IGD1))) == 732
    )
    assert fault_code(await fixture.send(fixture.post("AddPortMapping", taken, igd_version=IgdVersion.IGD1))) == 402


@pytest.mark.spec("IGD-073", "IGD-074", "IGD-155", "IGD-087", "IGD-080")
async def test_faults_are_500_with_a_code(fixture: HttpFixture) -> None:
    for call, code in (
        (fixture.post("NoSuchAction"), 401),
        (fixture.post("AddPortMapping", KEY), 402),
        (fixture.post("DeletePortMapping", KEY), 714),
        (fixture.post().replace(b"#GetExternalIPAddress", b"#ForceTermination"), 401),
    ):
        data = await fixture.send(call)
        assert (status_of(data), fault_code(data)) == (500, code)
        assert header(data, "Content-Type") == 'text/xml; charset="utf-8"'


@pytest.mark.spec("IGD-170")
async def test_version_1_serves_actions_that_only_version_2_declares(fixture: HttpFixture) -> None:
    """Deviation: upnpc -n asks the IGD:1 service it found for AddAnyPortMapping; its description lists none."""
    data = await fixture.send(fixture.post("AddAnyPortMapping", ADD, igd_version=IgdVersion.IGD1))
    assert status_of(data) == 200
    assert b"<NewReservedPort>" in data


@pytest.mark.spec("IGD-090")
async def test_a_raw_description_is_served(fixture: HttpFixture) -> None:
    """As libminiupnpc sends it, and in Latin-1."""
    for raw, shown in ((b"Command & Conquer", b"Command &amp; Conquer"), (b"caf\xe9 <3", b"caf\xc3\xa9 &lt;3")):
        head, _, body = add(fixture).partition(b"\r\n\r\n")
        start, end = body.index(b"Description>") + len("Description>"), body.index(b"</NewPortMappingDescription")
        body = body[:start] + raw + body[end:]
        head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head)
        assert status_of(await fixture.send(head + b"\r\n\r\n" + body)) == 200
        data = await fixture.send(fixture.post("GetSpecificPortMappingEntry", KEY))
        assert b"<NewPortMappingDescription>" + shown + b"</" in data


@pytest.mark.spec("IGD-080", "IGD-088")
async def test_a_malformed_argument_is_named(fixture: HttpFixture, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    good = add(fixture)
    for wrong, name in (
        (good.replace(b"&lt;a&gt;", b"& \x01 &lt;a"), "NewPortMappingDescription"),
        (
            good.replace(b"&lt;a&gt;", b"</NewPortMappingDescription><NewLeaseDuration>"),
            "NewPortMappingDescription",
        ),
        (good.replace(b">TCP<", b">T&P<"), "NewProtocol"),
        (good.replace(b"<NewEnabled>1<", b"<NewEnabled><1<"), "NewEnabled"),
    ):
        head, _, body = wrong.partition(b"\r\n\r\n")
        head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head)
        data = await fixture.send(head + b"\r\n\r\n" + body)
        assert (status_of(data), fault_code(data)) == (500, 402)
        assert f"<errorDescription>Invalid Args: {name} cannot be read</errorDescription>".encode() in data
    assert fixture.gateway.requests == []
    assert fixture.server.counts["malformed-xml"] == 4
    messages = [record.message for record in caplog.records if "malformed-xml" in record.message]
    assert messages == ["HTTP: refused a request of 127.0.0.1: malformed-xml"], "once a minute"


@pytest.mark.spec("IGD-093")
async def test_query_state_variable(fixture: HttpFixture) -> None:
    def query(name: str) -> bytes:
        urn = "urn:schemas-upnp-org:control-1-0"
        return fixture.post("QueryStateVariable", f"<u:varName>{name}</u:varName>", urn=urn)

    data = await fixture.send(query("ConnectionStatus"))
    assert status_of(data) == 200
    assert b"<return>Connected</return>" in data
    assert fault_code(await fixture.send(query("NoSuch"))) == 404


@pytest.mark.spec("SR-9", "IGD-081", "IGD-088", "IGD-086")
async def test_requests_that_are_no_soap_call(fixture: HttpFixture) -> None:
    call = fixture.post()
    for wrong, status in (
        (call.replace(b"SOAPACTION", b"X-ACTION"), 400),
        (call.replace(b"text/xml", b"text/htm"), 415),
        (call.replace(b"<s:Body>", b"<s:Bod!>"), 400),
        (fixture.head(f"POST {CONTROL}", "SOAPACTION: x"), 411),
        (call.replace(b"Content-Type", b"Content-Encoding: gzip\r\nContent-Type"), 415),
        (fixture.head(f"POST {CONTROL}", "Content-Length: 16385", "SOAPACTION: x"), 413),
        (fixture.head(f"POST {CONTROL}", "Content-Length: 99999999999", "SOAPACTION: x"), 413),
        (fixture.head(f"POST {CONTROL}", "Content-Length: -1", "SOAPACTION: x"), 400),
        (fixture.head(f"POST {CONTROL}", "Content-Length: 1", "Expect: magic", "SOAPACTION: x"), 417),
    ):
        data = await fixture.send(wrong)
        assert (status_of(data), body_of(data)) == (status, b""), wrong[:80]
        assert data.startswith(b"HTTP/1.0") or header(data, "Connection") == "close"
    assert fixture.gateway.requests == []


@pytest.mark.spec("IGD-082")
async def test_chunked_body(fixture: HttpFixture) -> None:
    head, _, body = add(fixture).partition(b"\r\n\r\n")
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 50]), body[i : i + 50]) for i in range(0, len(body), 50))
    head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length"))
    call = head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    assert status_of(await fixture.send(call)) == 200
    assert len(fixture.gateway.requests) == 1
    endless = head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + b" " * 0x1000 + b"\r\n") * 5
    assert status_of(await fixture.send(endless)) == 413
    broken = head + b"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    assert status_of(await fixture.send(broken)) == 400


@pytest.mark.spec("IGD-085")
async def test_expect_100_continue(fixture: HttpFixture) -> None:
    head, _, body = add(fixture).partition(b"\r\n\r\n")
    reader, writer = await fixture.connect()
    writer.write(head + b"\r\nExpect: 100-continue\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    data = await answer(reader)
    writer.close()
    await writer.wait_closed()
    assert status_of(data) == 200


async def test_expect_of_a_body_that_is_too_large_is_refused_before_it_is_sent(fixture: HttpFixture) -> None:
    data = await fixture.send(
        fixture.head(f"POST {CONTROL}", "Content-Length: 20000", "Expect: 100-continue", "SOAPACTION: x")
    )
    assert status_of(data) == 413


async def test_content_language(fixture: HttpFixture) -> None:
    data = await fixture.send(fixture.head("GET /igd1.xml", "Accept-Language: de"))
    assert header(data, "Content-Language") == "en"
    data = await fixture.send(fixture.post("GetExternalIPAddress", "", "Accept-Language: de"))
    assert header(data, "Content-Language") == "en"


async def test_keep_alive_serves_many_requests(fixture: HttpFixture) -> None:
    reader, writer = await fixture.connect()
    for _ in range(20):
        writer.write(fixture.post())
        assert status_of(await answer(reader)) == 200
    writer.write(fixture.post() + fixture.post("ForceTermination"))
    assert [status_of(await answer(reader)) for _ in range(2)] == [200, 500]
    writer.close()
    await writer.wait_closed()


@pytest.mark.spec("IGD-181")
async def test_the_initial_event_waits_for_the_answer(fixture: HttpFixture) -> None:
    data = await fixture.send(
        fixture.head(f"SUBSCRIBE {EVENTS}", "CALLBACK: <http://127.0.0.1:9/>", "NT: upnp:event")
    )
    assert status_of(data) == 200
    assert (header(data, "SID"), header(data, "TIMEOUT")) == ("uuid:1", "Second-1800")
    assert (header(data, "Content-Length"), header(data, "Content-Type")) == ("0", None)
    assert fixture.eventing.calls == ["SUBSCRIBE igd2 WANIPConnection 127.0.0.1", "delivered uuid:1"]
    data = await fixture.send(fixture.head(f"UNSUBSCRIBE {EVENTS}", "SID: uuid:1"))
    assert status_of(data) == 200
    assert fixture.eventing.calls[2:] == ["UNSUBSCRIBE igd2 WANIPConnection 127.0.0.1"]


@pytest.mark.spec("IGD-089", "IGD-145")
async def test_a_hanging_backend_is_fault_501() -> None:
    async with serving(HttpLimits(backend_s=0.05)) as fixture:
        fixture.gateway.hang = asyncio.Event()
        data = await fixture.send(add(fixture))
        assert (status_of(data), fault_code(data)) == (500, 501)
        assert status_of(await fixture.send(fixture.post())) == 200
        fixture.gateway.hang = None
        assert status_of(await fixture.send(add(fixture))) == 200


@pytest.mark.spec("IGD-145")
async def test_a_defect_is_fault_501_and_shows_nothing(
    fixture: HttpFixture, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("a secret of ours")

    fixture.gateway.reply = lambda request: fail()  # type: ignore[method-assign,assignment,return-value]
    data = await fixture.send(add(fixture))
    assert (status_of(data), fault_code(data)) == (500, 501)
    assert b"secret" not in data
    assert "a secret of ours" in caplog.text


async def test_a_view_that_fails_is_a_bare_500(fixture: HttpFixture, caplog: pytest.LogCaptureFixture) -> None:
    def fail(source: Source) -> WanStatus:
        raise RuntimeError("a secret of ours")

    fixture.gateway.wan = fail  # type: ignore[method-assign]
    data = await fixture.send(fixture.post())
    assert status_of(data) == 500
    assert b"secret" not in data
    assert "a secret of ours" in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nA B: c\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n\r\n\0\0\0\0",
    ],
)
async def test_malformed_http_is_answered_without_its_bytes(
    fixture: HttpFixture, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    received = await fixture.send(data)
    assert status_of(received) in (400, 501)
    assert body_of(received) == b""
    assert header(received, "Server") == "Linux/6.1 UPnP/1.1 upnp-gw/0.1.0"
    assert "A B" not in caplog.text


async def test_refusals_are_counted_and_logged_once(fixture: HttpFixture, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(5):
        await fixture.send(fixture.head("GET /\x1b[31mnothing"))
        await fixture.send(fixture.head("GET /nothing"))
    assert fixture.server.counts["no-such-path"] >= 5
    assert caplog.text.count("no-such-path") == 1
    assert "\x1b" not in caplog.text


@pytest.mark.spec("SR-1", "IGD-092", "IGD-200")
async def test_a_source_that_is_not_on_the_link_gets_no_byte() -> None:
    narrow = Network(
        wan=LOOPBACK.wan, lans=(Link("lo", 1, True, (ip_interface("127.0.0.1/32"), ip_interface("::1/128"))),)
    )
    async with serving(network=narrow) as fixture:
        assert await fixture.send(fixture.head("GET /igd1.xml"), source="127.0.0.2") == b""
        assert fixture.server.counts["not-on-the-lan"] == 1
        assert status_of(await fixture.send(fixture.head("GET /igd1.xml"))) == 200


@pytest.mark.spec("SR-1")
async def test_listens_only_on_lan_addresses_and_follows_them(fixture: HttpFixture) -> None:
    assert (
        status_of(await fixture.send(fixture.head("GET /igd1.xml", host=f"[::1]:{fixture.port}"), host="::1"))
        == 200
    )
    with pytest.raises(ConnectionRefusedError):
        await fixture.connect("127.0.0.3")
    fixture.network = Network(
        wan=LOOPBACK.wan, lans=(Link("lo", 1, True, (ip_interface("127.0.0.3/8"), ip_interface("127.0.0.1/8"))),)
    )
    await fixture.server.network_changed(fixture.network)
    assert status_of(await fixture.send(fixture.head("GET /igd1.xml", host="127.0.0.3"), host="127.0.0.3")) == 200
    with pytest.raises(ConnectionRefusedError):
        await fixture.connect("::1")
    await fixture.server.network_changed(
        Network(
            wan=LOOPBACK.wan,
            lans=(*fixture.network.lans, Link("nosuch0", 77, True, (ip_interface("127.0.0.9/8"),))),
        )
    )  # an interface that is gone by now: logged, and the others still serve
    assert status_of(await fixture.send(fixture.head("GET /igd1.xml"))) == 200


async def test_a_port_in_use_is_an_error_at_start(fixture: HttpFixture) -> None:
    with pytest.raises(OSError, match="in use"):
        await fixture.server.start(LOOPBACK, fixture.port)


async def test_a_stop_does_not_wait_for_a_connection_made_at_that_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp ignores what a connection sends after ``pre_shutdown``, and waits STOP_S for its first request."""
    async with serving() as fixture:
        stopping: list[asyncio.Task[None]] = []
        begin = Connection.begin

        def stop_then_begin(connection: Connection) -> None:
            stopping.append(asyncio.create_task(fixture.server.stop()))
            begin(connection)

        monkeypatch.setattr(Connection, "begin", stop_then_begin)
        reader, writer = await fixture.connect()
        writer.write(fixture.post())
        async with asyncio.timeout(STOP_S / 2):
            assert await answer(reader) == b""
            await stopping[0]
        writer.close()


async def test_stop_finishes_running_requests() -> None:
    async with serving() as fixture:
        fixture.gateway.hang = asyncio.Event()
        idle, idle_writer = await fixture.connect()
        reader, writer = await fixture.connect()
        writer.write(add(fixture))
        await fixture.gateway.asked.wait()
        stopping = asyncio.create_task(fixture.server.stop())
        await asyncio.sleep(0)
        fixture.gateway.hang.set()
        assert status_of(await answer(reader)) == 200
        await stopping
        assert await idle.read() == b""
        for each in (writer, idle_writer):
            each.close()
            await asyncio.gather(each.wait_closed(), return_exceptions=True)
        with pytest.raises(ConnectionRefusedError):
            await fixture.connect()


def test_on_uvloop() -> None:
    """Nothing may lean on asyncio's own transports: admission, early bytes, keep-alive, stop."""

    async def scenario() -> None:
        async with serving(HttpLimits(per_host=2, waiting_per_host=10)) as fixture, asyncio.timeout(20):
            sent = [fixture.send(fixture.post()) for _ in range(12)]
            assert [status_of(data) for data in await asyncio.gather(*sent)] == [200] * 12
            assert status_of(await fixture.send(add(fixture))) == 200
            reader, writer = await fixture.connect()
            for _ in range(3):
                writer.write(fixture.head("GET /igd2.xml"))
                assert status_of(await answer(reader)) == 200
            writer.close()

    uvloop.run(scenario())


async def test_a_stop_ends_a_kept_connection_with_its_running_answer_and_serves_none_that_waits() -> None:
    async with serving(HttpLimits(head_s=STOP_S, per_host=1)) as fixture:
        fixture.gateway.hang = asyncio.Event()
        running, running_writer = await fixture.connect()
        running_writer.write(add(fixture))
        await fixture.gateway.asked.wait()
        waiting, waiting_writer = await fixture.connect()
        waiting_writer.write(fixture.post())
        await async_until(lambda: len(fixture.server._admission) == 2)
        stopping = asyncio.create_task(fixture.server.stop())
        await asyncio.sleep(0)
        fixture.gateway.hang.set()
        async with asyncio.timeout(STOP_S / 2):
            data = await running.read()
            await stopping
        assert (status_of(data), header(data, "Connection")) == (200, "close")
        assert fixture.server.counts["requests"] == 1
        with suppress(ConnectionResetError):
            assert await waiting.read() == b""
        for writer in (running_writer, waiting_writer):
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.mark.spec("SR-1", "SR-9")
async def test_senders_and_hosts_are_judged_by_the_network_as_it_is_now(fixture: HttpFixture) -> None:
    async def status(host: str, source: str) -> int:
        return status_of(await fixture.send(fixture.head("GET /igd1.xml", host=host), source=source))

    other = ("127.0.0.9", "127.0.0.2")
    assert await status(*other) == 403
    assert await status("127.0.0.1", "127.0.0.2") == 200
    narrow = (ip_interface("127.0.0.1/32"), ip_interface("127.0.0.9/32"))
    fixture.network = Network(wan=LOOPBACK.wan, lans=(Link("lo", 1, True, narrow),))
    assert await status(*other) == 0, "the sender is not on the LAN any more"
    assert await status("127.0.0.9", "127.0.0.1") == 200, "an address of ours now"
    assert await status("127.0.0.1", "127.0.0.1") == 200
