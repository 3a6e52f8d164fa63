"""SOAP control from the control point's side: an action call as bytes, and the answer of another gateway.

The answer is foreign: bounded in size, depth and elements, without document type, and its texts are cut.
"""

from collections.abc import Iterable

from lxml import etree

from upnp_gw.model.errors import WireError
from upnp_gw.protocols.igd.soap import CONTROL, ENVELOPE
from upnp_gw.protocols.xml import element_text

ANSWER_MAX = 64 * 1024
"""Most bytes of an answer."""
ELEMENTS_MAX = 512
DEPTH_MAX = 24
TEXT_MAX = 1024
"""Most characters of a value that are kept."""
FAULT_STATUS = 500

_PARSER = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    dtd_validation=False,
    huge_tree=False,
    remove_comments=True,
    remove_pis=True,
)


class ActionRefused(Exception):
    """The gateway answered with a UPnPError. ``code``: 1..999999; 0 for a fault without one."""

    def __init__(self, code: int) -> None:
        super().__init__(f"error {code}")
        self.code = code


def build_call(urn: str, action: str, arguments: Iterable[tuple[str, str]]) -> bytes:
    """The body of a POST. Values are escaped; ``urn`` and names must be safe."""
    inner = "".join(f"<{name}>{element_text(value)}</{name}>" for name, value in arguments)
    return (
        f'<?xml version="1.0"?>\r\n<s:Envelope xmlns:s="{ENVELOPE}" '
        's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
        f'<u:{action} xmlns:u="{urn}">{inner}</u:{action}></s:Body></s:Envelope>\r\n'
    ).encode()


def parse_answer(status: int, body: bytes, action: str) -> dict[str, str]:
    """The arguments of the answer, by name. Raises ActionRefused for a UPnPError, WireError for anything else that
    is not the answer to this action."""
    if status not in (200, FAULT_STATUS):
        raise WireError("http-status")
    root = parse_foreign(body, ANSWER_MAX, ELEMENTS_MAX)
    content = root.find(f"{{{ENVELOPE}}}Body") if root.tag == f"{{{ENVELOPE}}}Envelope" else None
    element = content[0] if content is not None and len(content) else None
    if element is None:
        raise WireError("no-envelope")
    name = _local(element)
    if name == "Fault":
        raise ActionRefused(_error_code(element))
    if status != 200 or name != f"{action}Response":
        raise WireError("other-answer")
    return {_local(child): text_of(child) for child in element}


def parse_foreign(body: bytes, most: int, elements: int) -> etree._Element:
    """The root of a foreign document. Raises WireError where it is too large, too deep, has a document type, or is
    no XML. Bytes that are not UTF-8 are read as Latin-1: some routers have such names."""
    if len(body) > most:
        raise WireError("body-too-large")
    text = body.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n\0")
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise WireError("document-type")
    try:
        root = etree.fromstring(_in_utf8(text), _PARSER)
    except (etree.XMLSyntaxError, ValueError):
        raise WireError("malformed-xml") from None
    depth, count = 0, 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        count += event == "start"
        if depth > DEPTH_MAX or count > elements:
            raise WireError("too-many-elements")
    return root


def text_of(element: etree._Element) -> str:
    """Its text, without white space around it, cut."""
    return (element.text or "").strip()[:TEXT_MAX]


def _in_utf8(text: bytes) -> bytes:
    """The document without its XML declaration, in UTF-8."""
    end = text.find(b"?>")
    if text.startswith(b"<?xml") and end >= 0:
        text = text[end + 2 :].lstrip()
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()
    return text


def _error_code(fault: etree._Element) -> int:
    for element in fault.iter(f"{{{CONTROL}}}errorCode", "errorCode"):
        text = text_of(element)
        if text.isascii() and text.isdigit() and len(text) <= 6:
            return int(text)
    return 0


def _local(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]
