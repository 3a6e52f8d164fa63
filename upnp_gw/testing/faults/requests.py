"""Requests that the router reads in another way than they were sent: other leases, other ports."""

from dataclasses import dataclass
from random import SystemRandom
from typing import Annotated

from upnp_gw.protocols.http.head import Head
from upnp_gw.testing.fault import Fault, Strikes
from upnp_gw.testing.faults.octets import (
    external_port_place,
    lifetime_place,
    number_of,
    with_argument,
    with_number,
)
from upnp_gw.testing.journal import Request

ADDS = frozenset({"AddPortMapping", "AddAnyPortMapping"})
UDP_MAPS = frozenset({"natpmp.map", "pcp.map"})
LEASES = {
    "AddPortMapping": "NewLeaseDuration",
    "AddAnyPortMapping": "NewLeaseDuration",
    "AddPinhole": "LeaseTime",
    "UpdatePinhole": "NewLeaseTime",
}
"""Action -> its argument with the lease."""
PORTS = 65535


def argument(request: Request, name: str) -> int:
    """A number of a request; 0: it is missing or none."""
    text = request.arguments.get(name, "").strip()
    return int(text) if text.isdecimal() else 0


@dataclass(eq=False)
class OtherLease(Fault):
    """It reads another lease than the client sent."""

    strikes = Strikes.BEFORE
    actions = UDP_MAPS | LEASES.keys()

    def lease_s(self, asked_s: int) -> int:
        """The lease that is read. 0: as long as possible."""
        return asked_s

    def read_call(self, head: Head, body: bytes, request: Request) -> tuple[Head, bytes]:
        name = LEASES[request.action]
        return head, with_argument(body, name, self.lease_s(argument(request, name)))

    def read_datagram(self, data: bytes, request: Request) -> bytes:
        place = lifetime_place(data)
        asked_s = number_of(data, place)
        return with_number(data, place, self.lease_s(asked_s)) if asked_s else data


@dataclass(eq=False)
class ShorterLease(OtherLease):
    """No lease is longer than this, and an unlimited one is as long. PCP grants 120 seconds at least. Over UPnP a
    client sees it in GetSpecificPortMappingEntry only."""

    seconds: Annotated[int, "1 or more"] = 120

    def lease_s(self, asked_s: int) -> int:
        return min(asked_s, self.seconds) if asked_s else self.seconds


@dataclass(eq=False)
class FixedLease(OtherLease):
    """Every lease is as long as this, whatever was asked."""

    seconds: Annotated[int, "1 or more"] = 86400

    def lease_s(self, asked_s: int) -> int:
        return self.seconds


@dataclass(eq=False)
class OtherPort(Fault):
    """It reads another external port than the client sent."""

    strikes = Strikes.BEFORE
    actions = ADDS | UDP_MAPS

    def port(self, asked: int) -> int:
        """The external port that is read."""
        return asked

    def read_call(self, head: Head, body: bytes, request: Request) -> tuple[Head, bytes]:
        return head, with_argument(body, "NewExternalPort", self.port(argument(request, "NewExternalPort")))

    def read_datagram(self, data: bytes, request: Request) -> bytes:
        place = external_port_place(data)
        return with_number(data, place, self.port(number_of(data, place)))


@dataclass(eq=False)
class OtherExternalPort(OtherPort):
    """The external port is another one than asked. NAT-PMP, PCP and AddAnyPortMapping say which one;
    AddPortMapping says nothing."""

    offset: Annotated[int, "added to the port"] = 1000

    def port(self, asked: int) -> int:
        return (asked + self.offset - 1) % PORTS + 1 if asked else 0


@dataclass(eq=False)
class RandomExternalPort(OtherPort):
    """The external port of a new mapping is a random one, whatever was asked."""

    actions = UDP_MAPS | {"AddAnyPortMapping"}

    def port(self, asked: int) -> int:
        return SystemRandom().randint(10_000, PORTS)


@dataclass(eq=False)
class InternalPortBecomesExternal(Fault):
    """The mapping leads to the external port of the internal client, not to its internal port."""

    strikes = Strikes.BEFORE
    actions = ADDS

    def read_call(self, head: Head, body: bytes, request: Request) -> tuple[Head, bytes]:
        external = argument(request, "NewExternalPort")
        return head, with_argument(body, "NewInternalPort", external) if external else body
