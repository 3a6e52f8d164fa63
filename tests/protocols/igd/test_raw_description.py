"""Descriptions that clients do not escape, or not write in UTF-8: served, and nothing else is read differently."""

import re
import time
import xml.etree.ElementTree as ElementTree
from contextlib import suppress

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from tests.fixtures.examples import examples
from tests.fixtures.fake_gateway import mapping_arguments
from upnp_gw.protocols.igd.raw_description import SINGLE_BYTE, unreadable_argument
from upnp_gw.protocols.igd.soap import BODY_MAX, ENVELOPE, Call, SoapError, UnreadableBody, parse_call

URN = "urn:schemas-upnp-org:service:WANIPConnection:1"
D = "NewPortMappingDescription"
PLAIN = {name: value for name, value in mapping_arguments().items() if name != D}


def body(description: bytes, prolog: bytes = b'<?xml version="1.0"?>\r\n', tag: bytes = D.encode()) -> bytes:
    """AddPortMapping as libminiupnpc writes it: the description as it is between its tags."""
    named, (last, lease) = list(PLAIN.items())[:-1], list(PLAIN.items())[-1]
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in named)
    return (
        prolog
        + f'<s:Envelope xmlns:s="{ENVELOPE}"><s:Body><u:AddPortMapping xmlns:u="{URN}">{inner}'.encode()
        + b"<%b>" % tag
        + description
        + b"</%b>" % tag.partition(b" ")[0]
        + f"<{last}>{lease}</{last}></u:AddPortMapping></s:Body></s:Envelope>\r\n".encode()
    )


def fields(charset: str = "") -> CIMultiDict[str]:
    kind = "text/xml" + (f"; charset={charset}" if charset else "")
    return CIMultiDict({"Content-Type": kind, "SOAPAction": f'"{URN}#AddPortMapping"'})


def read(data: bytes, charset: str = "") -> Call:
    return parse_call(fields(charset), data)


def description_of(call: Call) -> str:
    """The description; everything else must be as it was sent."""
    found = dict(call.arguments)
    text = found.pop(D)
    assert (call.urn, call.action, found, len(call.arguments)) == (URN, "AddPortMapping", PLAIN, 8)
    return text


RAW = [
    (b"Command & Conquer", "Command & Conquer"),
    (b"R&D; <3 you > me", "R&D; <3 you > me"),
    (b"a<b>c</b>", "a<b>c</b>"),
    (b"<b>", "<b>"),
    (b"</b>", "</b>"),
    (b"]]> & ]]>", "]]> & ]]>"),
    (b"<![CDATA[a & b]]", "<![CDATA[a & b]]"),
    (b"<!-- & ", "<!-- & "),
    (b"<?php echo 1 ?>", "<?php echo 1 ?>"),
    (b"&", "&"),
    (b"&#0; &#xFFFF; &nosuch; &amp", "&#0; &#xFFFF; &nosuch; &amp"),
    (b"AT&T \xe2\x82\xac", "AT&T \u20ac"),
    (b"'\"&'\"", "'\"&'\""),
    (b"a &\r\n\tb", "a &\n\tb"),
    (b"<a/>" * 80, "<a/>" * 80),
    (b"<a>" * 9 + b"</a>" * 9, "<a>" * 9 + "</a>" * 9),
    (b"caf\xe9", "caf\xe9"),
    (b"caf\xe9 &amp; bar &#233;", "caf\xe9 & bar \xe9"),
    (b"caf\xe9 & bar", "caf\xe9 & bar"),
    (b"\x80uro \x96 \x81", "\u20acuro \u2013 \ufffd"),
    (b"\xfcber <\xe4>", "\xfcber <\xe4>"),
]


@pytest.mark.spec("IGD-090", "SR-14")
@pytest.mark.parametrize(("sent", "read_as"), RAW)
def test_descriptions_that_clients_do_not_escape(sent: bytes, read_as: str) -> None:
    assert description_of(read(body(sent))) == read_as


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        (b"", ""),
        (b"Tom &amp; Jerry", "Tom & Jerry"),
        (b"<![CDATA[a & b]]>", "a & b"),
        (b"a<!-- b -->c", "ac"),
        (b"caf\xc3\xa9", "caf\xe9"),
    ],
)
@pytest.mark.parametrize("charset", ["", "utf-8", "iso-8859-1", "gbk"])
def test_a_body_that_can_be_read_strictly_is(sent: bytes, read_as: str, charset: str) -> None:
    """UTF-8 is UTF-8, whatever is declared."""
    assert description_of(read(body(sent), charset)) == read_as


@pytest.mark.parametrize(
    ("charset", "sent", "read_as"),
    [
        ("ISO-8859-1", b"caf\xe9", "caf\xe9"),
        ("iso-8859-1", b"\x80", "\u20ac"),
        ("windows-1252", b"\x93x\x94", "\u201cx\u201d"),
        ("Windows-1251", b"\xcf\xf0\xe8\xe2\xe5\xf2 & x", "\u041f\u0440\u0438\u0432\u0435\u0442 & x"),
        ("iso-8859-15", b"\xa4", "\u20ac"),
        ("koi8-r", b"\xf0", "\u041f"),
        ("us-ascii", b"\xe9", "\xe9"),
        ("utf-8", b"\xe9", "\xe9"),
    ],
)
def test_declared_encodings(charset: str, sent: bytes, read_as: str) -> None:
    """In the header, in the XML declaration, or in both: the header's word counts first, unless it is UTF-8."""
    prolog = f'<?xml version="1.0" encoding="{charset}"?>'.encode()
    assert description_of(read(body(sent), charset)) == read_as
    assert description_of(read(body(sent, prolog))) == read_as
    assert description_of(read(body(sent, prolog), "UTF-8")) == read_as
    assert description_of(
        read(body(sent, b"<?xml version='1.0' encoding='koi8-r' standalone='yes'?>"), charset)
    ) == (read_as if charset != "utf-8" else sent.decode("koi8-r"))


def refused(data: bytes, charset: str = "") -> SoapError:
    with pytest.raises(SoapError) as caught:
        read(data, charset)
    return caught.value


REFUSED = {
    "two pairs": body(b"a & b").replace(b"<NewLease", b"<%b>c</%b><NewLease" % (D.encode(), D.encode())),
    "a pair in the description": body(b"x</%b><%b>&" % (D.encode(), D.encode())),
    "another end in it": body(b"x</%b><NewLeaseDuration>1</NewLeaseDuration>" % D.encode()),
    "another beginning in it": body(b"<%b>&" % D.encode()),
    "in other letters": body(b"<newportmappingdescription>&"),
    "with a prefix": body(b"<x:%b>&" % D.encode()),
    "of another name": body(b"<NewPinholeDescription>&"),
    "an end of another name": body(b"a & b").replace(b"</%b>" % D.encode(), b"</NewPinholeDescription>"),
    "no end": body(b"a & b").replace(b"</%b>" % D.encode(), b""),
    "no beginning": body(b"a & b").replace(b"<%b>" % D.encode(), b""),
    "empty and an end": body(b"a & b").replace(b"<%b>" % D.encode(), b"<%b/>" % D.encode()),
    "a document type": body(b"a & b").replace(b"?>", b"?><!DOCTYPE a>"),
    "a document type in it": body(b"a & <!DOCTYPE a>"),
    "an entity in it": body(b"a & <!ENTITY a 'b'>"),
    "a comment elsewhere": body(b"a & b").replace(b"<NewLease", b"<!-- --><NewLease"),
    "a comment around": body(b"a & b").replace(b"<%b>" % D.encode(), b"<!-- <%b>" % D.encode()),
    "CDATA elsewhere": body(b"a & b").replace(b">600<", b"><![CDATA[600]]><"),
    "a processing instruction": body(b"a & b").replace(b"<NewLease", b"<?a b?><NewLease"),
    "damage elsewhere": body(b"a & b").replace(b">600<", b">6&00<"),
    "damage to a tag": body(b"a & b").replace(b"<NewEnabled>", b"<NewEnabled"),
    "an unknown entity elsewhere": body(b"a & b").replace(b">600<", b">&x;<"),
    "other letters elsewhere": body(b"a & b").replace(b">600<", b">\xc3\xa9<"),
    "other bytes elsewhere": body(b"a & b").replace(b">600<", b">\xe9<"),
    "a control character": body(b"a & \x01"),
    "NUL": body(b"a & \x00 b"),
    "a noncharacter": body(b"a & \xef\xbf\xbf"),
    "a declared encoding of more bytes": body(b"\xe9", b'<?xml version="1.0" encoding="gbk"?>'),
    "a declared encoding that is unknown": body(b"\xe9", b'<?xml version="1.0" encoding="x"?>'),
    "UTF-16": body(b"a & b").decode().encode("utf-16"),
}


@pytest.mark.spec("SR-14", "IGD-086", "IGD-088")
@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_bodies_that_are_not_repaired(data: bytes) -> None:
    assert refused(data).status in (400, 500)


INPUTS = list(mapping_arguments())


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (body(b"a & \x01"), D),
        (body(b"\xe9", b'<?xml version="1.0" encoding="gbk"?>'), D),
        (body(b"x</%b><NewLeaseDuration>1</NewLeaseDuration>" % D.encode()), D),
        (body(b"x").replace(b"<NewRemoteHost>", b"<NewRemoteHost>a&b"), "NewRemoteHost"),
        (body(b"a & b").replace(b">600<", b">6<0<"), "NewLeaseDuration"),
        (body(b"x").replace(b">TCP<", b">\xe9<"), "NewProtocol"),
        (body(b"x").replace(b"<s:Body>", b"<s:Bod!>"), None),
        (body(b"x")[:-40], None),
        (body(b"x")[:400], None),
        (b"<" * 16384, None),
    ],
)
def test_the_argument_that_cannot_be_read_is_named(data: bytes, name: str | None) -> None:
    error = refused(data)
    assert isinstance(error, UnreadableBody)
    assert error.action == "AddPortMapping"
    assert unreadable_argument(data, INPUTS) == name


@pytest.mark.parametrize("tag", [b"NewPinholeDescription", b"u:Description", b'%b a:dt="string"' % D.encode()])
def test_descriptions_of_other_names(tag: bytes) -> None:
    data = body(b"a & b", tag=tag).replace(b"<s:Body>", b"<s:Body xmlns:a='urn:a'>")
    name = tag.partition(b" ")[0].decode().rpartition(":")[2]
    assert dict(read(data).arguments)[name] == "a & b"


# -- nothing but the description can be read differently

TOKENS = [
    *(b"&", b"<", b">", b"</", b"/>", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?x", b"?>", b"&amp;", b"&#38;"),
    *(b"&lt;", b"\xe9", b"\xc3\xa9", b"\x00", b"\x01", b"'", b'"', b" xmlns=''", b" ", b"=", b"x", b"/"),
    *(b"<%b>" % D.encode(), b"</%b>" % D.encode(), b"<%b/>" % D.encode(), b"</%b" % D.encode(), D.encode()),
    *(b"<NewExternalPort>22</NewExternalPort>", b"<NewInternalClient>192.168.77.11</NewInternalClient>"),
    *(b"<NewLeaseDuration>", b"</NewLeaseDuration>", b"<NewProtocol>UDP</NewProtocol>", b"<NewDescription>"),
    *(b"</u:AddPortMapping>", b'<u:DeletePortMapping xmlns:u="%b">' % URN.encode(), b"</s:Body>", b"</s:Envelope>"),
]
HOSTILE = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=3), max_size=8).map(b"".join)
CHARSETS = st.sampled_from(["", "utf-8", "iso-8859-1", "windows-1251", "gbk"])
Reading = tuple[str, list[tuple[str, str]]]


def by_another_parser(data: bytes) -> Reading | None:
    """Action and arguments as expat has them, None where it refuses the body."""
    text = data.strip(b" \t\r\n\0")
    try:
        root = ElementTree.fromstring(text, ElementTree.XMLParser(encoding="utf-8"))
    except ElementTree.ParseError:
        return None
    (action,) = root.findall(f"{{{ENVELOPE}}}Body/*")
    return action.tag, [(child.tag.rpartition("}")[2], "".join(child.itertext())) for child in action]


def emptied(data: bytes) -> bytes:
    """The body without the text between its first and its last tag of a description."""
    mentions = [found.start() for found in re.finditer(rb"(?i)</?[\w:]*description", data)]
    return data[: data.index(b">", mentions[0]) + 1] + data[mentions[-1] :]


def is_read_alike(data: bytes, charset: str) -> None:
    """Refused; or read as another strict parser reads it; or as it reads it with an empty description."""
    try:
        call = read(data, charset)
    except SoapError:
        return
    reading = f"{{{call.urn}}}{call.action}", list(call.arguments)
    if reading == by_another_parser(data):
        return
    assert len(re.findall(b"(?i)</?[\\w:]*description", data)) == 2, "a repair is of one pair"
    without = by_another_parser(emptied(data))
    assert without is not None, data
    action, arguments = without
    assert (reading[0], [name for name, _ in reading[1]]) == (action, [name for name, _ in arguments])
    different = [name for (name, own), (_, other) in zip(reading[1], arguments, strict=True) if own != other]
    assert different in ([], [D]), data
    assert not different or dict(arguments)[D] == ""


@pytest.mark.spec("SR-14", "SR-15")
@given(HOSTILE, CHARSETS)
@example(b"x</%b><NewLeaseDuration>1</NewLeaseDuration><%b>&" % (D.encode(), D.encode()), "")
@example(b"&<!--", "")
@examples(400)
def test_no_description_changes_the_reading_of_the_rest(description: bytes, charset: str) -> None:
    is_read_alike(body(description), charset)


@pytest.mark.spec("SR-14", "SR-15")
@given(HOSTILE, CHARSETS, st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), HOSTILE), min_size=1, max_size=4))
@examples(600)
def test_only_the_description_of_a_damaged_body_is_read_differently(
    description: bytes, charset: str, damage: list[tuple[float, int, bytes]]
) -> None:
    data = body(description)
    for where, length, put in damage:
        at = int(where * len(data))
        data = data[:at] + put + data[at + length :]
    is_read_alike(data, charset)


@pytest.mark.spec("IGD-090")
@given(st.text(max_size=60), st.sampled_from(["utf-8", *sorted(set(SINGLE_BYTE.values()))]))
@example("Command & Conquer", "utf-8")
@example("</NewLeaseDuration>", "utf-8")
@examples(400)
def test_any_text_that_xml_can_carry_arrives_raw(text: str, codec: str) -> None:
    """As it is, or as its client escaped it; and the request that is made of it is the one that was meant."""
    sent = text.encode(codec, "ignore")
    declared = {"iso8859-1": "iso-8859-1"}.get(codec, codec.replace("cp", "windows-").replace("iso", "iso-"))
    text = sent.decode(codec)
    assume(not re.search("(?i)description|<!(doctype|entity)", text))
    assume(not re.search("[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", text))
    received = description_of(read(body(sent), declared))
    as_lines = text.replace("\r\n", "\n").replace("\r", "\n")
    if not re.search("[&<]", text) and not utf_8_too(sent, codec):
        assert received == as_lines
    elif "&" not in text and "<" not in text:
        assert received in (as_lines, sent.decode().replace("\r\n", "\n").replace("\r", "\n"))


def utf_8_too(sent: bytes, codec: str) -> bool:
    """Bytes of another encoding that are UTF-8 as well are taken for UTF-8."""
    if codec == "utf-8" or sent.isascii():
        return False
    with suppress(UnicodeDecodeError):
        sent.decode()
        return True
    return False


@pytest.mark.spec("SR-14")
@pytest.mark.parametrize(
    "data",
    [
        b"<NewPortMappingDescription>" * 600,
        b"<NewPortMappingDescription " * 600,
        b"</NewPortMappingDescription" * 600,
        b"<NewPortMappingDescription>" + b"&" * 16000 + b"</NewPortMappingDescription>",
        b"<NewPortMappingDescription " + b"a" * 16000 + b">&</NewPortMappingDescription>",
        b"<" + b"a" * 16000,
        b"<a:" * 5000,
        b"<aDescriptio" * 1300,
        body(b"<a>" * 5000),
        body(b"\xe9" * 15000),
        body(b"<" * 15000),
        b"<?xml " + b"x" * 16000,
    ],
)
def test_repairs_cost_little(data: bytes) -> None:
    data = data[:BODY_MAX]
    started = time.process_time()
    with suppress(SoapError):
        read(data)
    unreadable_argument(data, INPUTS)
    assert time.process_time() - started < 0.05  # it takes less than 2 ms
