"""IGD from the control point's side: calls, answers, descriptions of other gateways. All of it is foreign."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from tests.fixtures.http_client import served_descriptions
from upnp_gw.model.errors import WireError
from upnp_gw.protocols.igd import soap
from upnp_gw.protocols.igd.control_call import ANSWER_MAX, ActionRefused, build_call, parse_answer
from upnp_gw.protocols.igd.foreign_description import (
    DESCRIPTION_MAX,
    HttpPlace,
    parse_description,
    parse_place,
)
from upnp_gw.protocols.igd_services import SERVICE

GATEWAY = IPv4Address("192.168.1.1")
PLACE = HttpPlace(GATEWAY, 5000, "/igd/root.xml")
URN = f"{SERVICE}WANIPConnection:1"
NS = "urn:schemas-upnp-org:device-1-0"


def envelope(inner: str) -> bytes:
    return f'<s:Envelope xmlns:s="{soap.ENVELOPE}"><s:Body>{inner}</s:Body></s:Envelope>'.encode()


def description(*services: tuple[str, str], base: str = "", udn: str = "uuid:1") -> bytes:
    rows = "".join(
        f"<service><serviceType>{SERVICE}{name}</serviceType><controlURL>{url}</controlURL></service>"
        for name, url in services
    )
    base = f"<URLBase>{base}</URLBase>" if base else ""
    return (
        f'<?xml version="1.0"?><root xmlns="{NS}">{base}<device><UDN>{udn}</UDN><deviceList><device>'
        f"<serviceList>{rows}</serviceList></device></deviceList></device></root>"
    ).encode()


# -- calls


def test_our_own_server_reads_the_call() -> None:
    body = build_call(URN, "AddPortMapping", (("NewPortMappingDescription", 'a <b> & "c"'), ("NewRemoteHost", "")))
    call = soap.parse_call(CIMultiDict({"SOAPACTION": f'"{URN}#AddPortMapping"'}), body)
    assert (call.urn, call.action) == (URN, "AddPortMapping")
    assert call.arguments == (("NewPortMappingDescription", 'a <b> & "c"'), ("NewRemoteHost", ""))


def test_an_answer_of_our_own_server() -> None:
    body = soap.build_response(URN, "GetExternalIPAddress", [("NewExternalIPAddress", "11.22.33.44")])
    assert parse_answer(200, body, "GetExternalIPAddress") == {"NewExternalIPAddress": "11.22.33.44"}


@pytest.mark.parametrize("code", [718, 606, 99999])
def test_a_fault_has_its_code_and_none_of_its_text(code: int) -> None:
    body = soap.build_fault(718, "<script>").replace(b"718", str(code).encode())
    with pytest.raises(ActionRefused) as error:
        parse_answer(500, body, "AddPortMapping")
    assert error.value.code == code
    assert "script" not in str(error.value)


@pytest.mark.parametrize("text", ["", "x", "-5", "1234567", "7.5"])
def test_a_fault_without_a_code_has_0(text: str) -> None:
    body = soap.build_fault(718, "").replace(b"<errorCode>718", f"<errorCode>{text}".encode())
    with pytest.raises(ActionRefused) as error:
        parse_answer(500, body, "AddPortMapping")
    assert error.value.code == 0


BOMB = b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]>'


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (302, envelope("<u:XResponse xmlns:u='u'/>")),
        (200, b""),
        (200, b"<html>"),
        (200, b"<html/>"),
        (200, envelope("")),
        (200, envelope("<u:YResponse xmlns:u='u'/>")),
        (500, envelope("<u:XResponse xmlns:u='u'/>")),
        (200, BOMB + envelope("<u:XResponse xmlns:u='u'>&c;</u:XResponse>")),
        (200, envelope("<a>" * 30 + "</a>" * 30)),
        (200, envelope("<a/>" * 600)),
        (200, envelope(f"<u:XResponse xmlns:u='u'>{'x' * ANSWER_MAX}</u:XResponse>")),
        (200, envelope("<u:XResponse xmlns:u='u'/>").decode().encode("utf-16")),
    ],
    ids=[
        *("redirection", "empty", "cut", "html", "no action", "another action", "no fault", "entities", "deep"),
        *("many", "large", "utf-16"),
    ],
)
def test_what_is_no_answer(status: int, body: bytes) -> None:
    with pytest.raises(WireError):
        parse_answer(status, body, "X")


def test_values_are_cut_and_may_be_latin_1() -> None:
    body = envelope(f"<u:XResponse xmlns:u='u'><A> {'x' * 2000} </A><B>caf\u00e9</B></u:XResponse>")
    found = parse_answer(200, body.decode().encode("latin-1"), "X")
    assert found == {"A": "x" * 1024, "B": "caf\u00e9"}


# -- places


@pytest.mark.parametrize(
    ("url", "port", "path"),
    [
        ("http://192.168.1.1:5000/igd.xml", 5000, "/igd.xml"),
        ("http://192.168.1.1/a?b=c", 80, "/a?b=c"),
        ("HTTP://192.168.1.1", 80, "/"),
    ],
)
def test_a_place_at_the_gateway(url: str, port: int, path: str) -> None:
    assert parse_place(url, GATEWAY) == HttpPlace(GATEWAY, port, path)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://192.168.1.2/",
            "http://127.0.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://router.lan/",
        ),
        *("https://192.168.1.1/", "ftp://192.168.1.1/", "file:///etc/passwd", "http://192.168.1.1:0/", "", "/"),
        *(
            "http://192.168.1.1:99999/",
            "http://x@192.168.1.1/",
            "http://192.168.1.1@192.0.2.1/",
            "http://0300.0250.1.1/",
        ),
        *("http://192.168.1.1/\r\nX: y", "http://192.168.1.1/a b", "http://192.168.001.001/", "http://[::1]/"),
        f"http://192.168.1.1/{'x' * 600}",
    ],
)
def test_a_place_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(WireError):
        parse_place(url, GATEWAY)


# -- descriptions


@pytest.mark.parametrize("version", [1, 2])
def test_our_own_descriptions(version: int) -> None:
    body = served_descriptions().documents[f"/igd{version}.xml"]
    found = parse_description(body, PLACE)
    assert found.connection is not None
    assert found.connection.urn == f"{SERVICE}WANIPConnection:{version}"
    assert (found.firewall is not None) is (version == 2)
    assert found.udn.startswith("uuid:")


@pytest.mark.parametrize(
    ("url", "base", "expected"),
    [
        ("/ctl", "", "http://192.168.1.1:5000/ctl"),
        ("ctl", "", "http://192.168.1.1:5000/igd/ctl"),
        ("http://192.168.1.1:49152/ctl", "", "http://192.168.1.1:49152/ctl"),
        ("/ctl", "http://192.168.1.1:49000", "http://192.168.1.1:49000/ctl"),
    ],
)
def test_a_control_url_is_resolved(url: str, base: str, expected: str) -> None:
    found = parse_description(description(("WANIPConnection:1", url), base=base), PLACE)
    assert found.connection is not None
    assert found.connection.place.url == expected


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://192.0.2.1/ctl", ""),
        ("/ctl", "http://192.0.2.1/"),
        ("//192.0.2.1/ctl", ""),
        ("javascript:alert(1)", ""),
        ("http://[", ""),
    ],
)
def test_a_control_url_at_another_host_is_left_out(url: str, base: str) -> None:
    found = parse_description(description(("WANIPConnection:1", url), base=base), PLACE)
    assert (found.connection, found.firewall) == (None, None)


def test_the_best_service_is_taken() -> None:
    rows = [("WANPPPConnection:1", "/ppp"), ("WANIPConnection:1", "/ip"), ("Foo:1", "/foo")]
    found = parse_description(description(*rows), PLACE)
    assert found.connection is not None
    assert found.connection.place.path == "/ip"
    assert found.connection.version == 1
    ppp = parse_description(description(rows[0]), PLACE)
    assert ppp.connection is not None
    assert ppp.connection.place.path == "/ppp"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<root/>",
        description().replace(b"<device>", b"<device>" * 30),
        BOMB + description(),
        description(("X:1", "x" * DESCRIPTION_MAX)),
        description(*[("X:1", "/x")] * 2000),
    ],
    ids=["empty", "other namespace", "broken", "entities", "large", "many"],
)
def test_what_is_no_description(body: bytes) -> None:
    with pytest.raises(WireError):
        parse_description(body, PLACE)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_an_error(data: bytes) -> None:
    for body in (
        data,
        envelope("@").replace(b"@", data),
        description(("WANIPConnection:1", "@")).replace(b"@", data),
    ):
        for parse in (lambda b: parse_answer(200, b, "X"), lambda b: parse_description(b, PLACE)):
            try:
                parse(body)
            except (WireError, ActionRefused):
                continue
