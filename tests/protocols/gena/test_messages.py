"""GENA on the wire: what a SUBSCRIBE may say, where NOTIFY may go, how it looks."""

import json
from http import HTTPStatus
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from multidict import CIMultiDict

from tests import ROOT
from upnp_gw.protocols.gena.messages import (
    CALLBACK_LIMIT,
    CALLBACKS_MAX,
    TIMEOUT_MAX_S,
    TIMEOUT_MIN_S,
    Callback,
    RejectedRequest,
    Renew,
    Subscribe,
    Unsubscribe,
    build_notify,
    build_propertyset,
    parse_callbacks,
    parse_request,
    parse_status,
)

HOST = ip_address("192.168.1.20")
SID = "uuid:7a3c1d0e-0c1f-4f6e-9a55-1c0c0ffe6e59"
NEW = {"NT": "upnp:event", "CALLBACK": "<http://192.168.1.20:49200/a>"}
CALLBACK = Callback(HOST, 49200, "/a")
BAD, PRECONDITION = HTTPStatus.BAD_REQUEST, HTTPStatus.PRECONDITION_FAILED


@pytest.mark.parametrize(
    ("method", "headers", "message"),
    [
        ("SUBSCRIBE", NEW, Subscribe((CALLBACK,), 1800)),
        ("SUBSCRIBE", {k.lower(): v for k, v in NEW.items()}, Subscribe((CALLBACK,), 1800)),
        ("SUBSCRIBE", {**NEW, "TIMEOUT": "Second-3600", "STATEVAR": "x"}, Subscribe((CALLBACK,), 3600)),
        ("SUBSCRIBE", {**NEW, "NT": " upnp:event "}, Subscribe((CALLBACK,), 1800)),
        ("SUBSCRIBE", {"SID": SID, "TIMEOUT": "Second-2000"}, Renew(SID, 2000)),
        ("SUBSCRIBE", {"Sid": f" {SID} "}, Renew(SID, 1800)),
        ("UNSUBSCRIBE", {"SID": SID}, Unsubscribe(SID)),
        ("UNSUBSCRIBE", {"SID": SID, "TIMEOUT": "Second-1"}, Unsubscribe(SID)),
    ],
)
def test_a_request_is_read(method: str, headers: dict[str, str], message: Subscribe | Renew | Unsubscribe) -> None:
    assert parse_request(method, headers, HOST) == message


@pytest.mark.spec("IGD-183")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"NT": "upnp:event"},
        {"NT": "upnp:event", "CALLBACK": ""},
        {"NT": "upnp:event", "CALLBACK": "<>"},
        {"NT": "upnp:event", "CALLBACK": "http://192.168.1.20:49200/a"},
        {"NT": "upnp:event", "CALLBACK": "<ftp://192.168.1.20:49200/a>"},
        {"NT": "upnp:event", "CALLBACK": "<https://192.168.1.20:49200/a>"},
        {"CALLBACK": NEW["CALLBACK"]},
        {"CALLBACK": NEW["CALLBACK"], "NT": ""},
        {"CALLBACK": NEW["CALLBACK"], "NT": "upnp:other"},
    ],
)
def test_an_incomplete_subscribe_fails_the_precondition(headers: dict[str, str]) -> None:
    answer = parse_request("SUBSCRIBE", headers, HOST)
    assert isinstance(answer, RejectedRequest)
    assert answer.status == PRECONDITION


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        pytest.param("SUBSCRIBE", {"SID": SID, "NT": "upnp:event"}, BAD, marks=pytest.mark.spec("IGD-184")),
        pytest.param(
            "SUBSCRIBE", {"SID": SID, "CALLBACK": NEW["CALLBACK"]}, BAD, marks=pytest.mark.spec("IGD-184")
        ),
        pytest.param("SUBSCRIBE", {"SID": "", **NEW}, BAD, marks=pytest.mark.spec("IGD-184")),
        pytest.param("UNSUBSCRIBE", {"SID": SID, "NT": "upnp:event"}, BAD, marks=pytest.mark.spec("IGD-187")),
        pytest.param("UNSUBSCRIBE", {"SID": SID, "CALLBACK": "<x>"}, BAD, marks=pytest.mark.spec("IGD-187")),
        pytest.param("UNSUBSCRIBE", {}, PRECONDITION, marks=pytest.mark.spec("IGD-187")),
        pytest.param("UNSUBSCRIBE", {"SID": " "}, PRECONDITION, marks=pytest.mark.spec("IGD-187")),
        pytest.param("SUBSCRIBE", {"SID": ""}, PRECONDITION, marks=pytest.mark.spec("IGD-186")),
    ],
)
def test_contradictory_headers_are_refused(method: str, headers: dict[str, str], status: HTTPStatus) -> None:
    answer = parse_request(method, headers, HOST)
    assert isinstance(answer, RejectedRequest)
    assert answer.status == status


def test_a_repeated_header_is_always_refused() -> None:
    headers = CIMultiDict([*NEW.items(), ("callback", "<http://192.168.1.20:49201/b>")])
    assert parse_request("SUBSCRIBE", headers, HOST) == RejectedRequest(BAD, "duplicate-header")


@pytest.mark.parametrize(
    ("requested", "granted_s"),
    [
        pytest.param("Second-1800", 1800, marks=pytest.mark.spec("IGD-180")),
        pytest.param("Second-infinite", TIMEOUT_MIN_S, marks=pytest.mark.spec("IGD-182")),
        ("Second-540", TIMEOUT_MIN_S),  # async-upnp-client; it reads what it was granted
        ("second-7200", 7200),
        ("Second-007200", 7200),
        ("Second-0", TIMEOUT_MIN_S),
        ("Second-86401", TIMEOUT_MAX_S),
        ("Second-" + "9" * 5000, TIMEOUT_MAX_S),
        ("Second--5", TIMEOUT_MIN_S),
        ("Second-7200 s", TIMEOUT_MIN_S),
        ("Second-٧٢٠٠", TIMEOUT_MIN_S),
        ("7200", TIMEOUT_MIN_S),
        ("", TIMEOUT_MIN_S),
    ],
)
def test_the_time_granted_is_finite_and_not_short(requested: str, granted_s: int) -> None:
    for headers in ({**NEW, "TIMEOUT": requested}, {"SID": SID, "TIMEOUT": requested}):
        message = parse_request("SUBSCRIBE", headers, HOST)
        assert isinstance(message, Subscribe | Renew)
        assert message.timeout_s == granted_s


REFUSED_CALLBACKS = [
    pytest.param("<http://203.0.113.9:49200/a>", marks=pytest.mark.spec("IGD-189"), id="the internet"),
    pytest.param("<http://192.168.1.21:49200/a>", marks=pytest.mark.spec("IGD-190"), id="another LAN host"),
    pytest.param("<http://192.168.1.1:49200/a>", id="the gateway"),
    pytest.param("<http://127.0.0.1:49200/a>", id="loopback"),
    pytest.param("<http://localhost:49200/a>", id="a name"),
    pytest.param("<http://192.168.1.20.example:49200/a>", id="a name that begins like the address"),
    pytest.param("<http://[::ffff:192.168.1.20]:49200/a>", id="v4-mapped"),
    pytest.param("<http://[::ffff:c0a8:114]:49200/a>", id="v4-mapped in hexadecimal"),
    pytest.param("<http://3232235796:49200/a>", id="one number"),
    pytest.param("<http://0xc0a80114:49200/a>", id="hexadecimal"),
    pytest.param("<http://192.168.1.024:49200/a>", id="octal"),
    pytest.param("<http://192.168.276:49200/a>", id="short"),
    pytest.param("<http://192.168.1.20.:49200/a>", id="trailing dot"),
    pytest.param("<http://192.168.1.20@203.0.113.9:49200/a>", id="userinfo as a mask"),
    pytest.param("<http://u:p@192.168.1.20:49200/a>", id="userinfo"),
    pytest.param("<http://192.168.1.20:49200#@203.0.113.9/>", id="fragment"),
    pytest.param("<http://192.168.1.20:49200\\@203.0.113.9/>", id="backslash"),
    pytest.param("<http://192.168.1.20/a>", id="port 80, unsaid"),
    pytest.param("<http://192.168.1.20:22/a>", id="port 22"),
    pytest.param("<http://192.168.1.20:1023/a>", id="port 1023"),
    pytest.param("<http://192.168.1.20:00080/a>", id="port 80 with zeros"),
    pytest.param("<http://192.168.1.20:65536/a>", id="port too high"),
    pytest.param("<http://192.168.1.20:66560/a>", id="port that wraps"),
    pytest.param("<http://192.168.1.20:4920٠/a>", id="another script's digit"),
    pytest.param("<http://192.168.1.20:49200/a b>", id="space in the path"),
    pytest.param("<http://192.168.1.20:49200/a\r\nHOST: x>", id="CR LF in the path"),
    pytest.param("<http://192.168.1.20:49200/a\tb>", id="tab in the path"),
    pytest.param("<http://192.168.1.20:49200/é>", id="not ASCII"),
    pytest.param("<http:///192.168.1.20:49200/a>", id="no host"),
    pytest.param("<//192.168.1.20:49200/a>", id="no scheme"),
    pytest.param("<gopher://192.168.1.20:49200/a>", id="gopher"),
    pytest.param("<http://192.168.1.20:49200/" + "a" * CALLBACK_LIMIT + ">", id="endless"),
]


@pytest.mark.spec("SR-8", "SR-16")
@pytest.mark.parametrize("callback", REFUSED_CALLBACKS)
def test_a_callback_to_anything_but_the_subscriber_is_refused(callback: str) -> None:
    assert parse_callbacks(callback, HOST) == ()
    answer = parse_request("SUBSCRIBE", {**NEW, "CALLBACK": callback}, HOST)
    assert answer == RejectedRequest(PRECONDITION, "callback-refused")


@pytest.mark.spec("SR-8")
def test_a_v4_mapped_subscriber_has_no_callback() -> None:
    """No listener of ours is dual-stack; should one become so, this must not open a way around the rules."""
    for url in ("http://[::ffff:192.168.1.20]:49200/a", "http://192.168.1.20:49200/a"):
        assert parse_callbacks(f"<{url}>", ip_address("::ffff:192.168.1.20")) == ()


@pytest.mark.spec("SR-8")
def test_of_several_callbacks_those_that_pass_are_kept_in_order() -> None:
    text = (
        "<http://203.0.113.9:49200/x> <http://192.168.1.20:49201/b>"
        "<HTTP://192.168.1.20:49200><http://192.168.1.20:49201/b><http://192.168.1.20:22/>"
    )
    assert parse_callbacks(text, HOST) == (Callback(HOST, 49201, "/b"), Callback(HOST, 49200, "/"))


@pytest.mark.spec("SR-8")
def test_the_number_of_callbacks_is_bounded() -> None:
    text = "".join(f"<http://192.168.1.20:{port}/>" for port in range(2000, 2060))
    assert [c.port for c in parse_callbacks(text, HOST)] == list(range(2000, 2000 + CALLBACKS_MAX))


@pytest.mark.parametrize(
    ("url", "host_header"),
    [
        ("http://[fe80::1:2]:49200/a", "[fe80::1:2]:49200"),
        ("http://[FE80:0::1:2%25eth0]:49200/a", "[fe80::1:2]:49200"),
        ("http://[fe80::1:2%3]:49200/a", "[fe80::1:2]:49200"),
    ],
)
def test_a_link_local_callback_may_carry_the_subscribers_own_zone(url: str, host_header: str) -> None:
    (callback,) = parse_callbacks(f"<{url}>", ip_address("fe80::1:2"))
    assert callback.host == host_header


@pytest.mark.spec("SR-8")
@given(st.text(max_size=300))
def test_any_callback_text_leads_to_the_subscriber_or_nowhere(text: str) -> None:
    for candidate in (text, f"<{text}>", f"<http://{text}>", f"<http://192.168.1.20:{text}>"):
        for callback in parse_callbacks(candidate, HOST):
            assert callback.address == HOST
            assert 1024 <= callback.port <= 65535
            assert callback.target.startswith("/")
            request = build_notify(callback, SID, 0, {})
            assert request.split(b"\r\n")[0] == f"NOTIFY {callback.target} HTTP/1.1".encode()
            assert request.count(b"\r\n") == 10


HEADER_TEXT = st.one_of(
    st.text(max_size=60), st.sampled_from([SID, "upnp:event", NEW["CALLBACK"], "Second-1800", ""])
)


@given(
    st.sampled_from(["SUBSCRIBE", "UNSUBSCRIBE"]),
    st.dictionaries(st.sampled_from(["SID", "sid", "NT", "Callback", "TIMEOUT", "Host"]), HEADER_TEXT),
)
def test_any_headers_give_a_message_or_a_status(method: str, headers: dict[str, str]) -> None:
    match parse_request(method, headers, HOST):
        case RejectedRequest(status, reason):
            assert status in (BAD, PRECONDITION)
            assert reason
        case Subscribe(callbacks, timeout_s):
            assert method == "SUBSCRIBE"
            assert callbacks == (CALLBACK,)
            assert TIMEOUT_MIN_S <= timeout_s <= TIMEOUT_MAX_S
        case Renew(sid, timeout_s):
            assert sid == sid.strip() != ""
            assert TIMEOUT_MIN_S <= timeout_s <= TIMEOUT_MAX_S
        case Unsubscribe(sid):
            assert sid == sid.strip() != ""


def captured() -> list[tuple[str, str, dict[str, str]]]:
    """Every event request among the captured ones: client, method, headers."""
    found = []
    for line in (ROOT / "tests" / "captures" / "captures.jsonl").read_text("utf-8").splitlines():
        entry = json.loads(line)
        method = entry["bytes"].split(" ", 1)[0]
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            lines = entry["bytes"].split("\r\n\r\n")[0].split("\r\n")[1:]
            found.append((entry["client"], method, dict(line.split(":", 1) for line in lines)))
    return found


@pytest.mark.parametrize(("client", "method", "headers"), captured())
def test_every_captured_client_is_understood(client: str, method: str, headers: dict[str, str]) -> None:
    message = parse_request(method, headers, ip_address("192.168.77.10"))
    assert isinstance(message, Subscribe if method == "SUBSCRIBE" else Unsubscribe)


def test_there_are_captured_clients_of_both_kinds() -> None:
    assert {method for _, method, _ in captured()} == {"SUBSCRIBE", "UNSUBSCRIBE"}


@pytest.mark.spec("IGD-198")
def test_notify_byte_for_byte() -> None:
    assert build_notify(CALLBACK, SID, 7, {"ExternalIPAddress": "", "PortMappingNumberOfEntries": "3"}) == (
        b"NOTIFY /a HTTP/1.1\r\n"
        b"HOST: 192.168.1.20:49200\r\n"
        b'CONTENT-TYPE: text/xml; charset="utf-8"\r\n'
        b"NT: upnp:event\r\n"
        b"NTS: upnp:propchange\r\n"
        b"SID: uuid:7a3c1d0e-0c1f-4f6e-9a55-1c0c0ffe6e59\r\n"
        b"SEQ: 7\r\n"
        b"CONTENT-LENGTH: 245\r\n"
        b"CONNECTION: close\r\n"
        b"\r\n"
        b'<?xml version="1.0"?>\n'
        b'<e:propertyset xmlns:e="urn:schemas-upnp-org:event-1-0">\n'
        b"<e:property><ExternalIPAddress></ExternalIPAddress></e:property>\n"
        b"<e:property><PortMappingNumberOfEntries>3</PortMappingNumberOfEntries></e:property>\n"
        b"</e:propertyset>\n"
    )


XML_TEXT = st.text(
    st.characters(min_codepoint=0x20, exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
)


@pytest.mark.spec("IGD-198")
@given(XML_TEXT)
def test_a_value_is_escaped_once(value: str) -> None:
    (written,) = etree.fromstring(build_propertyset({"X": value})).iterfind(
        "{urn:schemas-upnp-org:event-1-0}property/X"
    )
    assert (written.text or "") == value


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 200),
        (b"HTTP/1.0 412 Precondition Failed\r\n", 412),
        (b"HTTP/1.1 200\r\n\r\n", 200),
        (b"HTTP/1.1 2000 OK\r\n\r\n", None),
        (b"HTTP/1.1 20", None),
        (b"HTTP/1.1 999 X\r\n", None),
        (b"ICY 200 OK\r\n", None),
        (b"", None),
    ],
)
def test_the_subscribers_status_is_read(answer: bytes, status: int | None) -> None:
    assert parse_status(answer) == status


@given(st.binary(max_size=100))
def test_any_answer_is_a_status_or_none(answer: bytes) -> None:
    assert parse_status(answer) in (None, *range(100, 600))
