"""Device descriptions of other shapes: other URLs, other services. In force for all requests."""

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar

from upnp_gw.protocols.http.head import Head
from upnp_gw.testing.fault import Fault, Sent, Strikes
from upnp_gw.testing.faults.octets import is_description, whole, with_path
from upnp_gw.testing.journal import Request
from upnp_gw.testing.outcomes import Reply

URLS = rb"(<(?:SCPDURL|controlURL|eventSubURL)>)(/[^<]*)"
CALLED_URLS = rb"(<(?:controlURL|eventSubURL)>)(/[^<]*)"
CALLED_PATHS = "/[0-9a-f]+/(control|event)/"
CONNECTION = rb"<device>\s*<deviceType>[^<]*:WANConnectionDevice:.*?</serviceList>\s*</device>"


@dataclass(eq=False)
class DescriptionFault(Fault):
    """It changes the description of each root device, and reads the paths that stand in it."""

    prefix: ClassVar = ""
    """Before the paths that clients request, which the server does not have."""
    hidden: ClassVar = ""
    """A pattern of paths that exist with the prefix only."""

    def description(self, xml: bytes, origin: bytes) -> bytes:
        """The description as it leaves. ``origin``: scheme, host and port by which the client came."""
        return xml

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        if request is None or not is_description(request) or b" 200 " not in head.partition(b"\r\n")[0]:
            return Sent(head + body)
        return whole(head, self.description(body, b"http://" + request.arguments.get("host", "").encode()))

    def read_head(self, head: Head) -> Head:
        if self.prefix and head.path.startswith(self.prefix):
            return with_path(head, head.path[len(self.prefix) :])
        return with_path(head, "/missing") if self.hidden and re.match(self.hidden, head.path) else head


@dataclass(eq=False)
class SpacesInUrls(DescriptionFault):
    """The paths of control and event URLs have a space, and the description does not escape it."""

    prefix = "/my%20router"
    hidden = CALLED_PATHS

    def description(self, xml: bytes, origin: bytes) -> bytes:
        return re.sub(CALLED_URLS, rb"\1/my router\2", xml)


@dataclass(eq=False)
class SpacesAroundUrls(DescriptionFault):
    """Spaces and line ends stand around the URLs in the description."""

    def description(self, xml: bytes, origin: bytes) -> bytes:
        return re.sub(URLS, rb"\1\n          \2      \n        ", xml)


@dataclass(eq=False)
class UrlBase(DescriptionFault):
    """The description has URLBase, and its URLs are relative to that: no slash at the beginning. Relative to the
    description's own URL they do not exist."""

    prefix = "/base"
    hidden = f"/scpd/|{CALLED_PATHS}"

    def description(self, xml: bytes, origin: bytes) -> bytes:
        based = xml.replace(b"</specVersion>", b"</specVersion>\n  <URLBase>" + origin + b"/base/</URLBase>", 1)
        return re.sub(URLS, lambda found: found[1] + found[2][1:], based)


@dataclass(eq=False)
class UrlBaseWithoutPort(DescriptionFault):
    """URLBase has no port, and the other URLs are absolute and have the right one."""

    def description(self, xml: bytes, origin: bytes) -> bytes:
        host = re.sub(rb":\d+$", b"", origin)
        based = xml.replace(b"</specVersion>", b"</specVersion>\n  <URLBase>" + host + b"</URLBase>", 1)
        return re.sub(URLS, lambda found: found[1] + origin + found[2], based)


@dataclass(eq=False)
class UpperCaseUdn(DescriptionFault):
    """The UDNs of the description are in capital letters, those of SSDP in small ones."""

    def description(self, xml: bytes, origin: bytes) -> bytes:
        return re.sub(rb"(<UDN>uuid:)([^<]*)", lambda found: found[1] + found[2].upper(), xml)


@dataclass(eq=False)
class SecondConnectionDown(DescriptionFault):
    """There are two WANConnectionDevices. The first one is down: its status is Disconnected, its external address
    empty, and changes get 501."""

    strikes = Strikes.BEFORE
    prefix = "/down"

    def description(self, xml: bytes, origin: bytes) -> bytes:
        def both(found: re.Match[bytes]) -> bytes:
            down = re.sub(CALLED_URLS, rb"\1/down\2", found[0])
            down = re.sub(rb"(<UDN>uuid:)[0-9a-f]{8}", rb"\g<1>00000000", down)
            return down + found[0]

        return re.sub(CONNECTION, both, xml, flags=re.DOTALL)

    def reply(self, request: Request) -> Reply:
        if not request.path.startswith(self.prefix) or request.protocol == "http":
            return None
        if request.action == "GetExternalIPAddress":
            return {"NewExternalIPAddress": ""}
        if request.action == "GetStatusInfo":
            return {"NewConnectionStatus": "Disconnected", "NewLastConnectionError": "ERROR_NONE", "NewUptime": "0"}
        return None if request.action.startswith("Get") else 501


@dataclass(eq=False)
class ServerField(Fault):
    """The SERVER field of HTTP answers names another product."""

    value: Annotated[str, "the field's value"] = "Linux/2.6 UPnP/1.0 Router/1.0"

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        return Sent(re.sub(rb"(?i)(\r\nSERVER:)[^\r\n]*", lambda f: f[1] + b" " + self.value.encode(), head) + body)
