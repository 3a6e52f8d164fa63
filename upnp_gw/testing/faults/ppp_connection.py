"""A router whose WAN connection is WANPPPConnection. In force for all requests."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from upnp_gw.testing.fault import Fault, LateDatagram, Sent, Strikes
from upnp_gw.testing.faults.octets import whole
from upnp_gw.testing.journal import Request
from upnp_gw.testing.outcomes import Reply

PPP, IP = b"WANPPPConnection", b"WANIPConnection"


@dataclass(eq=False)
class PppConnection(Fault):
    """The service of port mappings is WANPPPConnection:1, as with PPPoE. There is no WANIPConnection: not in the
    description, not for calls, not for searches. Actions of PPP alone are missing."""

    strikes = Strikes.BEFORE

    def reply(self, request: Request) -> Reply:
        other = request.protocol.startswith("igd") and request.path.endswith(IP.decode())
        return 401 if other and PPP not in request.received else None

    def read_datagram(self, data: bytes, request: Request) -> bytes:
        return data if request.protocol != "ssdp" else _read(data.decode("latin-1")).encode("latin-1")

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        return Sent(head + body) if IP not in body and b"WANIPConn" not in body else whole(head, _written(body))

    def write_datagram(self, data: bytes, request: Request | None) -> Sequence[LateDatagram]:
        return (LateDatagram(_written(data) if request is None or request.protocol == "ssdp" else data),)


def _read(text: str) -> str:
    """The other way round: a client that asks for WANIPConnection names nothing that is there."""
    kept = text.replace(IP.decode(), "WANNoConnection")
    return kept.replace(PPP.decode(), IP.decode())


def _written(data: bytes) -> bytes:
    named = re.sub(rb":WANIPConnection:[12]", b":WANPPPConnection:1", data)
    return named.replace(b"serviceId:WANIPConn1", b"serviceId:WANPPPConn1")
