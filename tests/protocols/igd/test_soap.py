"""The SOAP codec: every shape of a call that real clients send, and everything that is none."""

import time
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from multidict import CIMultiDict

from upnp_gw.model.errors import WireError
from upnp_gw.protocols.igd.soap import (
    CONTROL,
    ENVELOPE,
    Call,
    SoapError,
    build_fault,
    build_query_response,
    build_response,
    parse_call,
)
from upnp_gw.protocols.igd_services import IgdVersion, Service, service_of
from upnp_gw.protocols.xml import Document

URN = "urn:schemas-upnp-org:service:WANIPConnection:1"


def headers(action: str = "X", **extra: str) -> CIMultiDict[str]:
    fields = {"Content-Type": 'text/xml; charset="utf-8"', "SOAPACTION": f'"{URN}#{action}"'} | extra
    return CIMultiDict({name.replace("_", "-"): value for name, value in fields.items()})


def envelope(inner: str, prolog: str = '<?xml version="1.0"?>') -> bytes:
    return f'{prolog}<s:Envelope xmlns:s="{ENVELOPE}"><s:Body>{inner}</s:Body></s:Envelope>'.encode()


SIMPLE = envelope(f'<u:X xmlns:u="{URN}"><A>1</A><B></B><C/></u:X>')
CALL = Call(URN, "X", (("A", "1"), ("B", ""), ("C", "")))
SHAPES = {
    "plain": SIMPLE,
    "no declaration": envelope(f'<u:X xmlns:u="{URN}"><A>1</A><B></B><C/></u:X>', ""),
    "default namespace": envelope(f'<X xmlns="{URN}"><A xmlns="">1</A><B xmlns=""/><C xmlns=""/></X>'),
    "qualified arguments": envelope(f'<u:X xmlns:u="{URN}"><u:A>1</u:A><u:B/><u:C/></u:X>'),
    "other prefixes": SIMPLE.replace(b"<s:", b"<E:").replace(b"</s:", b"</E:").replace(b":s=", b":E="),
    "white space between": envelope(f'\r\n\t<u:X xmlns:u="{URN}">\r\n<A>1</A>\n<B></B>\t<C/>\r\n</u:X>\r\n'),
    "newlines around": b"\r\n\n" + SIMPLE + b"\r\n\r\n",
    "final NUL": SIMPLE + b"\0",
    "byte order mark": b"\xef\xbb\xbf" + SIMPLE,
    "comments": SIMPLE.replace(b"<A>1", b"<A><!-- one -->1<!-- one -->"),
    "CDATA": SIMPLE.replace(b"<A>1", b"<A><![CDATA[1]]>"),
    "encoding declared": envelope(
        f'<u:X xmlns:u="{URN}"><A>1</A><B/><C/></u:X>', '<?xml version="1.0" encoding="utf-8"?>'
    ),
    "optional header": SIMPLE.replace(b"<s:Body>", b"<s:Header><h:a xmlns:h='x'/></s:Header><s:Body>"),
}


@pytest.mark.spec("IGD-071", "IGD-076")
@pytest.mark.parametrize("body", SHAPES.values(), ids=SHAPES.keys())
def test_every_legal_shape_is_the_same_call(body: bytes) -> None:
    assert parse_call(headers(), body) == CALL


@pytest.mark.spec("IGD-072")
@pytest.mark.parametrize("value", [f'"{URN}#X"', f"{URN}#X", f' "{URN}#X" ', '"#X"', "#X", f'"{URN}:2#X"'])
def test_soapaction_quoted_or_not_with_any_type(value: str) -> None:
    assert parse_call(headers(SOAPACTION=value), SIMPLE) == CALL


def test_header_names_in_any_case() -> None:
    assert parse_call(CIMultiDict({"soapaction": f"{URN}#X"}), SIMPLE) == CALL


def refused(fields: CIMultiDict[str], body: bytes) -> SoapError:
    with pytest.raises(SoapError) as caught:
        parse_call(fields, body)
    return caught.value


@pytest.mark.spec("SR-9", "IGD-081")
@pytest.mark.parametrize("value", ["application/json", "text/plain", "application/x-www-form-urlencoded", "text"])
def test_other_content_types_are_415(value: str) -> None:
    assert refused(headers(Content_Type=value), SIMPLE).status == 415


@pytest.mark.parametrize("value", ["", "text/xml", "TEXT/XML; charset=UTF-8", "application/soap+xml"])
def test_xml_content_types_pass(value: str) -> None:
    assert parse_call(headers(Content_Type=value), SIMPLE) == CALL


@pytest.mark.spec("SR-9")
@pytest.mark.parametrize("value", [None, "", '""', "  "])
def test_soapaction_missing_is_400(value: str | None) -> None:
    fields = headers()
    del fields["SOAPACTION"]
    if value is not None:
        fields["SOAPACTION"] = value
    error = refused(fields, SIMPLE)
    assert (error.status, error.fault, error.reason) == (400, None, "soapaction-missing")


@pytest.mark.spec("IGD-087")
@pytest.mark.parametrize("value", [f'"{URN}#Y"', f'"{URN}#x"', f'"{URN}"', '"X#"', "garbage"])
def test_soapaction_and_body_disagree_is_fault_401(value: str) -> None:
    error = refused(headers(SOAPACTION=value), SIMPLE)
    assert (error.status, error.fault) == (500, 401)


BAD_XML = {
    "empty": b"",
    "no xml": b"hello",
    "truncated": SIMPLE[:-20],
    "cut in a tag": SIMPLE[:60],
    "not an envelope": b"<a/>",
    "other envelope": SIMPLE.replace(ENVELOPE.encode(), b"http://www.w3.org/2003/05/soap-envelope"),
    "no body": f'<s:Envelope xmlns:s="{ENVELOPE}"/>'.encode(),
    "empty body": envelope(""),
    "two bodies": SIMPLE.replace(b"</s:Envelope>", b"<s:Body/></s:Envelope>"),
    "two actions": envelope(f'<u:X xmlns:u="{URN}"/><u:X xmlns:u="{URN}"/>'),
    "latin-1": SIMPLE.replace(b"<A>1", b"<A>\xe9"),
    "latin-1 declared": SIMPLE.replace(b"?>", b" encoding='iso-8859-1'?>").replace(b"<A>1", b"<A>\xe9"),
    "UTF-16": SIMPLE.decode().encode("utf-16"),
    "UTF-7 declared": b'<?xml version="1.0" encoding="utf-7"?>+ADw-a/+AD4-',
    "NUL inside": SIMPLE.replace(b"<A>1", b"<A>\0"),
    "doctype": SIMPLE.replace(b"?>", b"?><!DOCTYPE a>"),
    "external entity": SIMPLE.replace(b"?>", b'?><!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>').replace(
        b"<A>1", b"<A>&e;"
    ),
    "undeclared entity": SIMPLE.replace(b"<A>1", b"<A>&e;"),
    "processing instruction before": SIMPLE.replace(b"?>", b"?><?x y?>"),
    "processing instruction after": SIMPLE + b"<?x y?>",
    "processing instruction inside": SIMPLE.replace(b"<A>1", b"<A><?x y?>1"),
    "too deep": envelope("<a>" * 7 + "</a>" * 7),
    "deep beyond the parser": envelope("<a>" * 400 + "</a>" * 400),
    "too many": envelope("<X>" + "<a/>" * 62 + "</X>"),
}


@pytest.mark.spec("IGD-088", "IGD-086", "SR-14")
@pytest.mark.parametrize("body", BAD_XML.values(), ids=BAD_XML.keys())
def test_a_body_without_a_call_is_400(body: bytes) -> None:
    error = refused(headers(), body)
    assert (error.status, error.fault) == (400, None)


@pytest.mark.spec("SR-14")
def test_the_limits_themselves_pass() -> None:
    deepest = envelope(f'<u:X xmlns:u="{URN}"><A>1</A></u:X>')
    assert parse_call(headers(), deepest).arguments == (("A", "1"),)
    most = envelope("<X>" + "<a/>" * 61 + "</X>")
    assert len(parse_call(headers(), most).arguments) == 61


@pytest.mark.spec("SR-14", "IGD-086")
@pytest.mark.parametrize(
    "body",
    [
        b"<?xml version='1.0'?><!DOCTYPE l [<!ENTITY a 'ha'>"
        + b"".join(b"<!ENTITY %c '%s'>" % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(12))
        + b"]><l>&m;</l>",
        b"<?xml version='1.0'?><!DOCTYPE l [<!ENTITY a '" + b"a" * 8000 + b"'>]><l>" + b"&a;" * 2500 + b"</l>",
        SIMPLE.replace(b"<A>", b"<A" + b"".join(b" a%d=''" % i for i in range(1200)) + b">"),
        b"<s>" * 5400,
        b"<a/>" * 4000,
        b"<![CDATA[" * 1800,
        b"<" * 16384,
        b"&" * 16384,
        b"\x00" * 16384,
    ],
    ids=["laughs", "quadratic", "attributes", "deep", "wide", "cdata", "angles", "ampersands", "zeros"],
)
def test_bombs_cost_little(body: bytes) -> None:
    tracemalloc.start()
    started = time.process_time()
    with suppress(SoapError):
        parse_call(headers(), body[:16384])
    spent, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert spent < 0.05  # a parse takes 0.1 ms; the bound leaves room for a loaded machine under tracemalloc
    assert peak < 1_000_000


@pytest.mark.spec("SR-14")
def test_a_large_body_is_413_before_it_is_parsed() -> None:
    assert refused(headers(), b"<" * 16385).status == 413


@pytest.mark.spec("SR-15")
def test_an_argument_with_children_is_fault_402() -> None:
    error = refused(headers(), envelope(f'<u:X xmlns:u="{URN}"><A><b/></A></u:X>'))
    assert (error.status, error.fault) == (500, 402)


def test_a_header_that_must_be_understood_stops_the_call() -> None:
    body = SIMPLE.replace(b"<s:Body>", b"<s:Header><h:a xmlns:h='x' s:mustUnderstand='1'/></s:Header><s:Body>")
    assert refused(headers(), body).status == 500


@pytest.mark.spec("IGD-090")
def test_text_is_unescaped_once() -> None:
    body = envelope(f'<u:X xmlns:u="{URN}"><A>&lt;b&gt; &amp;amp; &#13;&#10;&#xe9; \u00e9\U0001f600</A></u:X>')
    assert parse_call(headers(), body).arguments == (("A", "<b> &amp; \r\n\u00e9 \u00e9\U0001f600"),)


def service(name: str, igd_version: IgdVersion = IgdVersion.IGD2) -> Service:
    found = service_of(igd_version, name)
    assert found is not None
    return found


@pytest.mark.spec("IGD-070", "IGD-091")
@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (f"{URN[:-1]}1", f"{URN[:-1]}1"),
        (f"{URN[:-1]}2", f"{URN[:-1]}2"),
        ("", f"{URN[:-1]}2"),
        ("urn:schemas-upnp-org:service:WANIPv6FirewallControl:1", f"{URN[:-1]}2"),
        (f'{URN}"><x>', f"{URN[:-1]}2"),
        (f"{URN[:-1]}\u0661", f"{URN[:-1]}2"),
    ],
)
def test_the_response_repeats_the_version_of_the_request(sent: str, answered: str) -> None:
    assert Call(sent, "X", ()).response_urn(service("WANIPConnection")) == answered


@pytest.mark.spec("IGD-077", "IGD-070")
def test_response_in_bytes() -> None:
    assert build_response(URN, "GetX", [("NewA", "1"), ("NewB", "<&>\r\n\x00\ud800")]) == (
        b'<?xml version="1.0"?>\r\n<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        b's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
        b'<u:GetXResponse xmlns:u="urn:schemas-upnp-org:service:WANIPConnection:1">'
        b"<NewA>1</NewA><NewB>&lt;&amp;&gt;&#13;\n\xef\xbf\xbd\xef\xbf\xbd</NewB>"
        b"</u:GetXResponse></s:Body></s:Envelope>\r\n"
    )


@pytest.mark.spec("IGD-168")
@pytest.mark.parametrize("inner", ["<p>a &amp; b</p>", "<p>]]&gt;</p>", "]]>", ""])
def test_a_document_is_sent_as_cdata_and_read_back_unchanged(inner: str) -> None:
    """``upnpc -L`` sees an empty list where the PortListing is escaped."""
    answer = build_response(URN, "X", [("A", Document(inner))])
    assert answer.count(b"<A><![CDATA[") == 1
    assert (etree.fromstring(answer).findtext(f".//{{{URN}}}XResponse/A") or "") == inner


@pytest.mark.spec("IGD-080")
def test_a_fault_has_the_fields_that_clients_read() -> None:
    root = etree.fromstring(build_fault(718, "ConflictInMappingEntry: <x>"))
    fault = root.find(f"{{{ENVELOPE}}}Body/{{{ENVELOPE}}}Fault")
    assert fault is not None
    code = fault.findtext("faultcode") or ""
    assert fault.nsmap[code.partition(":")[0]] == ENVELOPE
    assert code.partition(":")[2] == "Client"
    assert fault.findtext("faultstring") == "UPnPError"
    error = fault.find(f"detail/{{{CONTROL}}}UPnPError")
    assert error is not None
    assert error.findtext(f"{{{CONTROL}}}errorCode") == "718"
    assert error.findtext(f"{{{CONTROL}}}errorDescription") == "ConflictInMappingEntry: <x>"


def test_query_response_has_an_unqualified_return() -> None:
    root = etree.fromstring(build_query_response("3"))
    assert root.findtext(f"{{{ENVELOPE}}}Body/{{{CONTROL}}}QueryStateVariableResponse/return") == "3"


@pytest.mark.spec("IGD-090")
@given(st.text(max_size=300))
def test_any_text_survives_building_as_far_as_xml_goes(text: str) -> None:
    value = etree.fromstring(build_response(URN, "X", [("A", text)])).findtext(f".//{{{URN}}}XResponse/A") or ""
    assert len(value) == len(text)
    for sent, shown in zip(text, value, strict=True):
        assert shown == sent or (shown == "\ufffd" and not sent.isprintable())


@pytest.mark.spec("SR-14")
@given(st.binary(max_size=400))
def test_any_bytes_give_a_call_or_a_named_error(body: bytes) -> None:
    with suppress(WireError):
        parse_call(headers(), body)


@pytest.mark.spec("SR-14")
@given(st.data())
def test_any_damage_to_a_call_gives_a_call_or_a_named_error(data: st.DataObject) -> None:
    body = bytearray(data.draw(st.sampled_from(list(SHAPES.values()))))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(body) - 1))
        body[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    with suppress(WireError):
        parse_call(headers(), bytes(body))
