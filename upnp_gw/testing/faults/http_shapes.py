"""Ways in which an answer over HTTP arrives broken, or in another shape than the gateway's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from upnp_gw.testing.fault import End, Fault, LateDatagram, Sent, Strikes
from upnp_gw.testing.faults.octets import is_scpd, whole, with_field
from upnp_gw.testing.journal import Request
from upnp_gw.testing.outcomes import DOCUMENTS, HTTP, REQUESTS, SOAP, Reply


@dataclass(eq=False)
class EarlyEnd(Fault):
    """No usable answer arrives: the client does not know whether the change was made."""

    strikes = Strikes.AFTER_OR_BEFORE
    actions = HTTP


@dataclass(eq=False)
class BodyFault(Fault):
    """It strikes answers that have a body."""

    actions = SOAP | DOCUMENTS


@dataclass(eq=False)
class Silent(EarlyEnd):
    """No answer. An HTTP connection stays open until the client gives up, for 30 s at most."""

    actions = REQUESTS
    silent = True

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        return Sent(b"", End.SILENT)

    def write_datagram(self, data: bytes, request: Request | None) -> Sequence[LateDatagram]:
        return ()


@dataclass(eq=False)
class Reset(EarlyEnd):
    """The connection is reset before the first byte of the answer."""

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        return Sent(b"", End.RESET)


@dataclass(eq=False)
class ResetInBody(BodyFault):
    """The connection is reset after half of the body."""

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        return Sent(head + half(body), End.RESET)


@dataclass(eq=False)
class TruncatedBody(BodyFault):
    """The connection is closed after half of the body."""

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        return Sent(head + half(body), End.CLOSE)


@dataclass(eq=False)
class ShortContentLength(BodyFault):
    """Content-Length is half of the body. The whole body is sent, and the connection is closed."""

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        return Sent(with_field(head, b"Content-Length", b"%d" % len(half(body))) + body, End.CLOSE)


@dataclass(eq=False)
class LongContentLength(BodyFault):
    """Content-Length is 100 more than the body. The connection is closed after the body."""

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        return Sent(with_field(head, b"Content-Length", b"%d" % (len(body) + 100)) + body, End.CLOSE)


@dataclass(eq=False)
class Bare500(EarlyEnd):
    """Status 500 with a page of HTML, without a SOAP fault."""

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        page = b"<html><body><h1>500 Internal Server Error</h1></body></html>"
        line = b"HTTP/1.1 500 Internal Server Error\r\n" + head.partition(b"\r\n")[2]
        return whole(with_field(line, b"Content-Type", b"text/html"), page)


@dataclass(eq=False)
class NotXml(BodyFault):
    """The status and fields of the answer, and a body that is not XML."""

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        return whole(head, b"OK")


@dataclass(eq=False)
class WrongContentType(BodyFault):
    """The answer as text/plain."""

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        return Sent(with_field(head, b"Content-Type", b"text/plain") + body)


@dataclass(eq=False)
class Chunked(BodyFault):
    """The answer in two chunks (RFC 9112 section 7.1), without Content-Length."""

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        first = half(body)
        parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (first, body[len(first) :], b""))
        return Sent(re.sub(rb"(?i)\r\nContent-Length:[^\r\n]*", b"\r\nTransfer-Encoding: chunked", head) + parts)


@dataclass(eq=False)
class ByteOrderMark(BodyFault):
    """A UTF-8 byte order mark before the XML declaration."""

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        return whole(head, b"\xef\xbb\xbf" + body)


@dataclass(eq=False)
class NoContentLength(BodyFault):
    """No Content-Length: the body ends with the connection."""

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        return Sent(re.sub(rb"(?i)\r\nContent-Length:[^\r\n]*", b"", head) + body, End.CLOSE)


@dataclass(eq=False)
class OtherPrefixes(Fault):
    """Other namespace prefixes than s and u: SOAP-ENV and m."""

    actions = SOAP

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        renamed = re.sub(rb"(</?|xmlns:)s(?=[:=])", rb"\1SOAP-ENV", body)
        renamed = renamed.replace(b" s:encoding", b" SOAP-ENV:encoding")
        renamed = renamed.replace(b">s:Client<", b">SOAP-ENV:Client<")
        return whole(head, re.sub(rb"(</?|xmlns:)u(?=[:=])", rb"\1m", renamed))


@dataclass(eq=False)
class DefaultNamespaces(Fault):
    """No namespace prefix: each element declares its namespace as the default one."""

    actions = SOAP

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        plain = re.sub(rb"(</?|xmlns):?[su](?=[:=])", rb"\1", body).replace(b" s:encoding", b" encoding")
        return whole(head, re.sub(rb"(</?):", rb"\1", plain))


@dataclass(eq=False)
class OtherServiceVersion(Fault):
    """The answer to an action is in the namespace of another version of the service: 1 in place of 2, 2 in place of
    1."""

    actions = SOAP

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        other = {b"1": b"2", b"2": b"1"}
        return whole(head, re.sub(rb"(:service:\w+:)([12])", lambda urn: urn[1] + other[urn[2]], body))


@dataclass(eq=False)
class NulTerminated(BodyFault):
    """A NUL byte after the XML document, counted in Content-Length."""

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        return whole(head, body + b"\0")


@dataclass(eq=False)
class CapitalFaultElements(Fault):
    """A SOAP fault has faultCode and faultString in place of faultcode and faultstring."""

    actions = SOAP

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        return whole(head, body.replace(b"faultcode>", b"faultCode>").replace(b"faultstring>", b"faultString>"))


@dataclass(eq=False)
class OtherErrorCode(Fault):
    """Errors with one code have another one, without a description."""

    actions = SOAP

    of: Annotated[int, "the code of the gateway"]
    code: Annotated[int, "the code that the client gets"]

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        found = rb"<errorCode>%d</errorCode><errorDescription>[^<]*" % self.of
        return whole(head, re.sub(found, b"<errorCode>%d</errorCode><errorDescription>" % self.code, body))


@dataclass(eq=False)
class MissingScpd(Fault):
    """The service descriptions that the device description names are not there: 404."""

    strikes = Strikes.BEFORE
    actions = DOCUMENTS

    def reply(self, request: Request) -> Reply:
        return 404 if is_scpd(request) else None


@dataclass(eq=False)
class ScpdWithoutNamespace(Fault):
    """The service descriptions declare no namespace."""

    actions = DOCUMENTS

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        plain = body.replace(b' xmlns="urn:schemas-upnp-org:service-1-0"', b"") if is_scpd(request) else body
        return whole(head, plain)


def half(body: bytes) -> bytes:
    """The first half."""
    return body[: len(body) // 2]
