"""Which tracked flows are meant: a mapping's own, those from before it, those that have its port. Pure."""

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from upnp_gw.firewall.base import Forward
from upnp_gw.firewall.labels import is_ours
from upnp_gw.model import Endpoint, IPAddress, IPNetwork, Transport

ASSURED = 1 << 2
"""IPS_ASSURED."""
ANSWERED = {Transport.TCP: ASSURED, Transport.UDP: 1 << 1}
"""The status bit of a flow that both ends take part in: IPS_ASSURED, as a reset is a reply too; IPS_SEEN_REPLY."""


@dataclass(frozen=True, slots=True)
class Flows:
    """Flows that shall end: those from outside to one external port."""

    transport: Transport
    port: int
    """The destination port as the sender sees it."""
    address: IPAddress | None
    """The destination address likewise; None: any."""
    remote: IPNetwork | None
    internal: Endpoint | None
    """Where they are translated to; None: those that are not translated at all."""
    remote_port: int = 0
    """The port that they come from; 0: any."""
    spared: tuple["Flows", ...] = ()
    """Those among them that another forward lets in go on."""

    @classmethod
    def through(cls, forward: Forward) -> "Flows":
        """The flows that this forward let in, hairpin ones among them."""
        v6 = forward.internal.address.version == 6
        port = forward.internal.port if v6 else forward.external_port
        address = forward.internal.address if v6 else forward.external_address
        return cls(forward.transport, port, address, forward.remote, forward.internal, forward.remote_port)

    @classmethod
    def untranslated(cls, forward: Forward) -> "Flows":
        """Flows to its external port from before it stood: they would keep their sender away from it."""
        port, address = forward.external_port, forward.external_address
        return cls(forward.transport, port, address, forward.remote, None, forward.remote_port)

    @property
    def family(self) -> int:
        address = self.internal.address if self.internal is not None else self.address
        return socket.AF_INET6 if address is not None and address.version == 6 else socket.AF_INET

    def include(self, entry: "Entry") -> bool:
        """True where this entry is one of them; its transport and port have been compared already."""
        to = entry.reply.source
        if self.internal is None:
            translated = to != entry.original.destination
            if translated:
                return False
        elif to != self.internal or not is_ours(entry.labels):  # else another table let it in
            return False
        if self.address is not None and entry.original.destination.address != self.address:
            return False
        if self.remote_port not in (0, entry.original.source.port):
            return False
        if self.remote is not None and entry.original.source.address not in self.remote:
            return False
        port = entry.original.destination.port
        return not any(other.port == port and other.include(entry) for other in self.spared)


@dataclass(frozen=True, slots=True)
class Leaving:
    """Flows that shall end: those from inside that leave with an external port that has become a mapping's.

    Only where the peer could send to the port by itself, which the peer of a TCP connection cannot.
    """

    transport: Transport
    port: int
    addresses: frozenset[IPAddress]
    """The external addresses that they leave with."""
    holders: frozenset[Endpoint]
    """The internal endpoints that the port is mapped to at these addresses: their flows go on."""

    @classmethod
    def of(cls, forward: Forward, users: Iterable[Forward], external: Sequence[IPAddress]) -> "Leaving":
        """The flows of others with the port of a new forward. ``users``: all forwards that have the port, at
        whatever external address; ``external``: all of those."""
        own = forward.external_address
        theirs = (user for user in users if own is None or user.external_address in (None, own))
        holders = frozenset(user.internal for user in theirs)
        return cls(forward.transport, forward.external_port, frozenset(external if own is None else [own]), holders)

    @property
    def family(self) -> int:
        return socket.AF_INET

    def include(self, entry: "Entry") -> bool:
        """True where this entry is one of them; its transport and the port of its answers have been compared."""
        source, outside = entry.original.source, entry.reply.destination
        if outside.address not in self.addresses or source in self.holders or source.address == outside.address:
            return False
        return self.transport is Transport.UDP or not entry.answered


@dataclass(frozen=True, slots=True)
class Earlier:
    """UDP flows that shall end: those that an internal endpoint began before it was mapped, and that leave with
    another port than the mapping's. Not those in use: the peer of a game or a call may know no other port."""

    transport: Transport
    port: int
    """The internal port."""
    internal: Endpoint
    external_port: int
    """The mapping's."""

    @property
    def family(self) -> int:
        return socket.AF_INET

    def include(self, entry: "Entry") -> bool:
        """True where this entry is one of them; its transport and source port have been compared."""
        source, outside = entry.original.source, entry.reply.destination
        translated = source.address != outside.address
        return source == self.internal and translated and outside.port != self.external_port and not entry.in_use


Ending = Flows | Leaving | Earlier


def from_before(forward: Forward) -> list[Ending]:
    """What a new port mapping ends: flows that would go on past it."""
    found: list[Ending] = [Flows.untranslated(forward)]
    if forward.transport is Transport.UDP and forward.keep_source_port:
        found.append(Earlier(forward.transport, forward.internal.port, forward.internal, forward.external_port))
    return found


class Tuple(NamedTuple):
    """One direction of a flow."""

    transport: Transport
    source: Endpoint
    destination: Endpoint


class Entry(NamedTuple):
    """One tracked flow, and what names it in a delete."""

    original: Tuple
    reply: Tuple
    name: bytes
    """The attributes tuple, zone and id as the kernel sent them."""
    status: int = 0
    labels: bytes = b""
    """CTA_LABELS."""

    @property
    def answered(self) -> bool:
        """False for a knock at a port where nobody answers."""
        return bool(self.status & ANSWERED[self.original.transport])

    @property
    def in_use(self) -> bool:
        """Packets go both ways for two seconds and more (IPS_ASSURED); one question and its answer are no use."""
        return bool(self.status & ASSURED)
