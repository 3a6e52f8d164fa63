"""Descriptions of the flows to end: of a mapping, from before it, or with its external port. Pure."""

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from upnp_gw.firewall.base import Forward, HostLists
from upnp_gw.firewall.labels import is_ours
from upnp_gw.model.address_ranges import EVERY_ADDRESS, NO_ADDRESSES, AddressRanges
from upnp_gw.model.mapping import Endpoint, IPAddress, IPNetwork, Transport

UNKNOWN = NO_ADDRESSES, EVERY_ADDRESS
"""In place of hosts that are not known, in ``only`` and in ``never``: nobody passes."""
ASSURED = 1 << 2
"""IPS_ASSURED."""
ANSWERED = {Transport.TCP: ASSURED, Transport.UDP: 1 << 1}
"""The status bit of an answered flow. TCP: IPS_ASSURED, since a reset counts as a reply. UDP: IPS_SEEN_REPLY."""


@dataclass(frozen=True, slots=True)
class Flows:
    """Flows to end: from outside to one external port."""

    transport: Transport
    port: int
    """The destination port as the sender sees it."""
    address: IPAddress | None
    """The destination address as the sender sees it; None: any."""
    remote: IPNetwork | None
    internal: Endpoint | None
    """The endpoint that they are translated to; None: only flows without translation."""
    remote_port: int = 0
    """Their source port; 0: any."""
    spared: tuple["Flows", ...] = ()
    """Flows of other forwards, which go on."""
    only: tuple[AddressRanges, ...] = ()
    """Their remote host is in each of these."""
    never: tuple[AddressRanges, ...] = ()
    """It is in none of these."""

    @classmethod
    def through(cls, forward: Forward) -> "Flows":
        """The flows that this forward let in, including hairpin flows."""
        v6 = forward.internal.address.version == 6
        port = forward.internal.port if v6 else forward.external_port
        address = forward.internal.address if v6 else forward.external_address
        return cls(forward.transport, port, address, forward.remote, forward.internal, forward.remote_port)

    @classmethod
    def that_pass(cls, forward: Forward, hosts: HostLists) -> "Flows":
        """The same, of the remote hosts that pass its screen."""
        flows, screen = cls.through(forward), forward.screen
        if not screen.name:
            return flows
        only, never = (
            tuple(hosts.get(one, other) for one in names) for names, other in zip(screen, UNKNOWN, strict=True)
        )
        return replace(flows, only=only, never=never)

    @classmethod
    def untranslated(cls, forward: Forward, address: IPAddress) -> "Flows":
        """Flows to its external port at this address from before it was opened. They would bypass the mapping."""
        return cls(forward.transport, forward.external_port, address, forward.remote, None, forward.remote_port)

    @property
    def translated(self) -> bool:
        """True for flows through a port mapping: the kernel knows them by their external port. False for those
        through a pinhole, and for those that only the gateway's own sockets get."""
        inner = self.internal
        return inner is not None and (self.address, self.port) != (inner.address, inner.port)

    @property
    def host(self) -> IPAddress | None:
        """The LAN host that they lead to; None: they are not translated."""
        return self.internal.address if self.internal is not None else None

    @property
    def family(self) -> int:
        address = self.internal.address if self.internal is not None else self.address
        return socket.AF_INET6 if address is not None and address.version == 6 else socket.AF_INET

    def include(self, entry: "ConntrackEntry") -> bool:
        """True if the entry is one of these flows. The caller has compared transport and port."""
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
        if (self.only or self.never) and not self._pass(entry.original.source.address):
            return False
        port = entry.original.destination.port
        return not any(other.port == port and other.include(entry) for other in self.spared)

    def _pass(self, remote: IPAddress) -> bool:
        return all(hosts.has(remote) for hosts in self.only) and not any(hosts.has(remote) for hosts in self.never)


@dataclass(frozen=True, slots=True)
class OutgoingFlows:
    """Flows to end: from inside, leaving with an external port that now belongs to a mapping.

    An answered TCP connection continues: its peer cannot open another one to the port.
    """

    transport: Transport
    port: int
    addresses: frozenset[IPAddress]
    """Their external addresses."""
    holders: frozenset[Endpoint]
    """The internal endpoints of the mappings of this port at these addresses. Their flows go on."""

    @classmethod
    def of(cls, forward: Forward, users: Iterable[Forward], external: Sequence[IPAddress]) -> "OutgoingFlows":
        """The flows of other hosts with the port of a new forward. ``users``: all forwards with that port, at any
        external address. ``external``: all external addresses."""
        own = forward.external_address
        theirs = (user for user in users if own is None or user.external_address in (None, own))
        holders = frozenset(user.internal for user in theirs)
        return cls(forward.transport, forward.external_port, frozenset(external if own is None else [own]), holders)

    @property
    def family(self) -> int:
        return socket.AF_INET

    def include(self, entry: "ConntrackEntry") -> bool:
        """True if the entry is one of these flows. The caller has compared transport and reply port."""
        source, outside = entry.original.source, entry.reply.destination
        if outside.address not in self.addresses or source in self.holders or source.address == outside.address:
            return False
        return self.transport is Transport.UDP or not entry.answered


@dataclass(frozen=True, slots=True)
class EarlierFlows:
    """UDP flows to end: begun by an internal endpoint before it was mapped, leaving with a port other than the
    mapping's. Flows in use go on: the peer of a game or a call may know no other port."""

    transport: Transport
    port: int
    """The internal port."""
    internal: Endpoint
    external_port: int
    """The external port of the mapping."""

    @property
    def family(self) -> int:
        return socket.AF_INET

    def include(self, entry: "ConntrackEntry") -> bool:
        """True if the entry is one of these flows. The caller has compared transport and source port."""
        source, outside = entry.original.source, entry.reply.destination
        translated = source.address != outside.address
        return source == self.internal and translated and outside.port != self.external_port and not entry.in_use


FlowsToEnd = Flows | OutgoingFlows | EarlierFlows


def flows_before(forward: Forward, external: Sequence[IPAddress]) -> list[FlowsToEnd]:
    """Returns the flows that a new port mapping ends: they would bypass it.

    ``external``: all external addresses.
    """
    own = forward.external_address
    addresses = external if own is None else [own]
    found: list[FlowsToEnd] = [Flows.untranslated(forward, address) for address in addresses]
    if forward.transport is Transport.UDP and forward.keep_source_port:
        found.append(
            EarlierFlows(forward.transport, forward.internal.port, forward.internal, forward.external_port)
        )
    return found


class FlowTuple(NamedTuple):
    """One direction of a flow."""

    transport: Transport
    source: Endpoint
    destination: Endpoint


class ConntrackEntry(NamedTuple):
    """One tracked flow, with the attributes that identify it in a delete."""

    original: FlowTuple
    reply: FlowTuple
    name: bytes
    """The attributes tuple, zone and id as the kernel sent them."""
    status: int = 0
    labels: bytes = b""
    """The value of CTA_LABELS."""

    @property
    def answered(self) -> bool:
        """False for a flow that the other side has not answered."""
        return bool(self.status & ANSWERED[self.original.transport])

    @property
    def in_use(self) -> bool:
        """True if packets went both ways for two seconds (IPS_ASSURED); a query and its answer do not count."""
        return bool(self.status & ASSURED)
