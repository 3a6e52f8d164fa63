"""Searches and announcements that lead a client elsewhere, or nowhere."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from upnp_gw.testing.fault import Fault, LateDatagram, Router, Seam, Strikes
from upnp_gw.testing.faults.octets import field_of, with_field
from upnp_gw.testing.journal import Request
from upnp_gw.testing.outcomes import SSDP


@dataclass(eq=False)
class SearchFault(Fault):
    """It changes each answer to a search."""

    actions = SSDP

    def changed(self, answer: bytes) -> bytes:
        """The answer as it leaves."""
        return answer

    def write_datagram(self, data: bytes, request: Request | None) -> Sequence[LateDatagram]:
        return (LateDatagram(self.changed(data)),)


@dataclass(eq=False)
class AnsweredTwice(Fault):
    """Each answer to a search arrives twice."""

    actions = SSDP

    def write_datagram(self, data: bytes, request: Request | None) -> Sequence[LateDatagram]:
        return LateDatagram(data), LateDatagram(data)


@dataclass(eq=False)
class WrongLocation(SearchFault):
    """LOCATION leads to a port of the router where nothing listens."""

    port: Annotated[int, "1 to 65535"] = 9

    def changed(self, answer: bytes) -> bytes:
        return re.sub(rb"(?i)(\r\nLOCATION: http://[^/]*:)\d+", lambda f: f[1] + b"%d" % self.port, answer)


@dataclass(eq=False)
class LocationInOtherSubnet(SearchFault):
    """LOCATION has an address of another subnet."""

    address: Annotated[str, "IPv4 address"] = "192.168.100.1"

    def changed(self, answer: bytes) -> bytes:
        return re.sub(rb"(?i)(\r\nLOCATION: http://)[^:/]*", lambda f: f[1] + self.address.encode(), answer)


@dataclass(eq=False)
class LocationOfVersion2(SearchFault):
    """Searches for version 1 are answered as version 1, with the LOCATION of version 2's description."""

    def changed(self, answer: bytes) -> bytes:
        return answer.replace(b"/igd1.xml", b"/igd2.xml")


@dataclass(eq=False)
class OtherUdnInSsdp(SearchFault):
    """USN has another UUID than the description."""

    def changed(self, answer: bytes) -> bytes:
        usn = re.sub(rb"^uuid:[0-9a-f-]+", b"uuid:upnp-InternetGatewayDevice-1_0", field_of(answer, b"USN"))
        return with_field(answer, b"USN", usn)


@dataclass(eq=False)
class RootDeviceSearchOnly(Fault):
    """Searches for a device or a service get no answer, only those for upnp:rootdevice and ssdp:all."""

    strikes = Strikes.BEFORE
    actions = SSDP

    def read_datagram(self, data: bytes, request: Request) -> bytes:
        return data if request.arguments.get("ST") in ("upnp:rootdevice", "ssdp:all") else b""


@dataclass(eq=False)
class ByeBye(Fault):
    """The router announces that it leaves (ssdp:byebye), and goes on to answer. Only with `multicast=True`, to
    clients that listen on the loopback."""

    seam = Seam.SERVERS
    strikes = Strikes.AT_ONCE
    once = waits = True

    async def begin(self, router: Router) -> None:
        await router.ports.send_byebye()
