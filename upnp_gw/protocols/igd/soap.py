"""SOAP 1.1 control: bytes of a POST -> ``Call``, and the bytes of its response or fault (IGD section 4).

A body is bounded: 16 KiB, depth 8, 64 elements, no document type, no entity, no processing instruction (SR-14).
There is one strict parser. If it refuses a body only because of a raw description, it reads the repaired body
(``raw_description``).
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from lxml import etree

from upnp_gw.model.errors import WireError
from upnp_gw.protocols.igd.raw_description import repaired_bodies
from upnp_gw.protocols.igd_services import Service
from upnp_gw.protocols.xml import element_text, escape

BODY_MAX = 16 * 1024
DEPTH_MAX = 8
ELEMENTS_MAX = 64
ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
CONTROL = "urn:schemas-upnp-org:control-1-0"
XML_TYPES = frozenset({"text/xml", "application/xml", "application/soap+xml"})
CONTENT_TYPE = 'text/xml; charset="utf-8"'

_PARSER = etree.XMLParser(
    encoding="utf-8",  # without regard to the declaration: no UTF-7 and UTF-16
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    dtd_validation=False,
    huge_tree=False,
    remove_comments=True,
    remove_pis=False,
)
_SERVICE_URN = re.compile(r"urn:schemas-upnp-org:service:([A-Za-z0-9]{1,64}):([1-9][0-9]?)", re.ASCII)
_EMPTY_NAMESPACE = re.compile(rb'\sxmlns:([A-Za-z]{1,16})=""')
"""Not well-formed, but ``upnpc -6 -A`` sends it if the description has no service for the action."""
_START = (
    '<?xml version="1.0"?>\r\n'
    f'<s:Envelope xmlns:s="{ENVELOPE}" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
)
_END = "</s:Body></s:Envelope>\r\n"
_ENVELOPE, _HEADER, _BODY, _MUST_UNDERSTAND = (
    f"{{{ENVELOPE}}}{name}" for name in ("Envelope", "Header", "Body", "mustUnderstand")
)


class SoapError(WireError):
    """A request that is not a valid call. ``status``: the HTTP status; ``fault``: the UPnP error code if that is
    500."""

    def __init__(self, reason: str, status: int = 400, fault: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.fault = fault


class UnreadableBody(SoapError):
    """The body is not the XML of a call. ``action``: the action in SOAPACTION."""

    action = ""


@dataclass(frozen=True, slots=True)
class Call:
    """An action call, with its arguments in the order of the message, unescaped."""

    urn: str
    """The namespace of the action element, as the client sent it."""
    action: str
    arguments: tuple[tuple[str, str], ...]

    @property
    def is_query(self) -> bool:
        """True for the deprecated QueryStateVariable."""
        return self.urn == CONTROL and self.action == "QueryStateVariable"

    def response_urn(self, service: Service) -> str:
        """The namespace of the response: this service in the version of the request (IGD-070, IGD-091).

        gupnp-igd calls a version 2 service as version 1. nat-port-mapper and ``upnpc -6 -A`` name another service
        or none: the response then has the type of this service.
        """
        match = _SERVICE_URN.fullmatch(self.urn)
        return self.urn if match and match[1] == service.name else service.urn


def parse_call(headers: Mapping[str, str], body: bytes) -> Call:
    """The call in a POST. ``headers`` is case-insensitive. Raises only SoapError.

    400: SOAPACTION missing (SR-9), malformed XML or no envelope; 413: too large; 415: a content type other than XML
    (a missing one is accepted). Fault 401: SOAPACTION and body name different actions; 402: an argument is not
    text.
    """
    content_type = headers.get("Content-Type", "")
    _check_content_type(content_type)
    named = _named_action(headers.get("SOAPACTION"))
    if len(body) > BODY_MAX:
        raise SoapError("body-too-large", 413)
    # Some clients send white space around the document, or the final NUL of their string.
    text = body.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n\0")
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise SoapError("document-type")
    try:
        return _read(text, named)
    except UnreadableBody as error:
        for repaired in repaired_bodies(text, content_type):
            with suppress(UnreadableBody):
                return _read(repaired, named)
        error.action = named
        raise


def build_response(urn: str, action: str, arguments: Iterable[tuple[str, str]]) -> bytes:
    """The answer to an action. Values are escaped; ``urn`` (see ``response_urn``) and names must be safe."""
    inner = "".join([f"<{name}>{element_text(value)}</{name}>" for name, value in arguments])
    return f'{_START}<u:{action}Response xmlns:u="{urn}">{inner}</u:{action}Response>{_END}'.encode()


def build_query_response(value: str) -> bytes:
    """The answer to QueryStateVariable; ``return`` has no namespace (UDA 1.0 section 3.3.2)."""
    return build_response(CONTROL, "QueryStateVariable", [("return", value)])


def build_fault(code: int, description: str) -> bytes:
    """A UPnPError in a SOAP fault, to be sent with HTTP status 500 (IGD-080)."""
    return (
        f"{_START}<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>"
        f'<UPnPError xmlns="{CONTROL}"><errorCode>{code}</errorCode>'
        f"<errorDescription>{escape(description)}</errorDescription></UPnPError></detail></s:Fault>{_END}"
    ).encode()


def _check_content_type(value: str) -> None:
    if value in XML_TYPES or value == CONTENT_TYPE:
        return
    media_type = value.partition(";")[0].strip().lower()
    if media_type and media_type not in XML_TYPES:
        raise SoapError("content-type", 415)


def _named_action(soapaction: str | None) -> str:
    """The action of ``"urn#Action"``, with or without quotes (IGD-072). The type before it is ignored."""
    named = soapaction.strip().strip('"') if soapaction is not None else ""
    if not named:
        raise SoapError("soapaction-missing")
    return named.rpartition("#")[2].strip()


def _read(text: bytes, named: str) -> Call:
    """Reads a body strictly. Raises SoapError."""
    element = _action_element(_parse(text))
    urn, action = _name(element)
    if action != named:
        raise SoapError("soapaction-mismatch", 500, 401)
    return Call(urn, action, tuple([_argument(child) for child in element]))


def _parse(text: bytes) -> etree._Element:
    root = _parsed(text)
    if root is None and _EMPTY_NAMESPACE.search(text):
        root = _parsed(_EMPTY_NAMESPACE.sub(b' xmlns:\\1="urn:"', text))
    if root is None:
        raise UnreadableBody("malformed-xml")
    _check_bounds(root)
    return root


def _parsed(text: bytes) -> etree._Element | None:
    try:
        return etree.fromstring(text, _PARSER)
    except (etree.XMLSyntaxError, ValueError):
        return None


def _check_bounds(root: etree._Element) -> None:
    if root.getprevious() is not None or root.getnext() is not None:
        raise UnreadableBody("processing-instruction")
    if _elements(root, 1) > ELEMENTS_MAX:
        raise UnreadableBody("too-many-elements")


def _elements(element: etree._Element, depth: int) -> int:
    """The number of elements in this one, itself among them. ``depth``: its own, the root's is 1. Counts no further
    than just over ``ELEMENTS_MAX``."""
    count = 1
    for child in element:
        if depth == DEPTH_MAX:
            raise UnreadableBody("too-deep")
        if not isinstance(child.tag, str):
            raise UnreadableBody("processing-instruction")
        count += _elements(child, depth + 1) if len(child) else 1
        if count > ELEMENTS_MAX:
            break
    return count


def _action_element(root: etree._Element) -> etree._Element:
    if root.tag != _ENVELOPE:
        raise SoapError("no-envelope")
    children = list(root)
    bodies = [child for child in children if child.tag == _BODY]
    if len(bodies) != 1 or len(bodies[0]) != 1:
        raise SoapError("no-action")
    if len(children) > 1:
        headers = (entry for child in children if child.tag == _HEADER for entry in child)
        if any(entry.get(_MUST_UNDERSTAND) == "1" for entry in headers):
            raise SoapError("must-understand", 500, 401)
    return bodies[0][0]


def _name(element: etree._Element) -> tuple[str, str]:
    """Namespace and local name."""
    namespace, _, local = str(element.tag).rpartition("}")
    return namespace.removeprefix("{"), local


def _argument(element: etree._Element) -> tuple[str, str]:
    """(name, text). The namespace is ignored: Net::UPnP sends ``u:varName``."""
    if len(element):
        raise UnreadableBody("argument-not-text", 500, 402)
    return str(element.tag).rpartition("}")[2], element.text or ""
