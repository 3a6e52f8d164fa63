"""The mappings that need the gateway above, the requests for them, and the times of renewals. Pure.

A mapping that needs it is reserved here first. It opens when the gateway above has granted it (CAS-010).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from random import Random

from upnp_gw.ledger.table import MappingTable
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.above import AboveGranted, AboveRequest
from upnp_gw.model.mapping import Above, Endpoint, IPAddress, Mapping, MappingKind
from upnp_gw.model.network import Network
from upnp_gw.model.public_addresses import private_external
from upnp_gw.model.request import MapRequest, PortChoice, ReleaseRequest

NONCE_BYTES = 12
LEAST_S = 120
"""The shortest lease that is asked above, seconds (RFC 6887 section 15)."""
FRESH = 0.75
"""A refresh is answered without the gateway above while this part of the requested lifetime is left there (RFC 7648
section 3.3, CAS-012)."""
TURNS = 6
"""So many requests in a row, each for the port that the one before was given, come from a gateway above that asks
this one. Fewer can be those of a program that opens neighbouring ports."""
WAIT_GRACE_S = 10
"""A mapping that waits ends by itself this long after the last answer can have come."""


@dataclass(frozen=True, slots=True)
class AboveRules:
    """The table ``[upstream]`` of the configuration."""

    always: bool = False
    """False: only what the internet cannot reach without the gateway above."""
    lease_s: int = 1800
    """The longest lease that is asked above, seconds. What a crash leaves there ends by itself after it."""
    timeout_s: float = 4.0
    """Seconds that a client waits for the gateway above."""

    def asks_at(self, outside: IPAddress | None) -> bool:
        """True if mappings with this external address need the gateway above."""
        if outside is None or self.always:
            return True
        return isinstance(outside, IPv4Address) and private_external(outside) is not None

    def needs(self, mapping: Mapping, network: Network) -> bool:
        """True if this mapping needs the gateway above."""
        return self.asks_at(own_endpoint(mapping, network).address if has_own_address(mapping, network) else None)

    def reserved(
        self, mapping: Mapping, request: MapRequest, network: Network, now: float, random: Random
    ) -> Mapping:
        """The row to put for an allowed request: a new one waits, and the lease of a datagram's client does not end
        after the lease above (CAS-008)."""
        if not self.needs(mapping, network):
            return mapping
        if mapping.above is None:
            wait_s = self.timeout_s + WAIT_GRACE_S
            above = Above(request.nonce or random.randbytes(NONCE_BYTES), now + wait_s)
            return replace(mapping, above=above)
        return bounded(mapping, now) if self.is_fresh(mapping, request.lifetime_s, now) else mapping

    def is_fresh(self, mapping: Mapping, requested_s: int | None, now: float) -> bool:
        """True if a request can be answered without the gateway above."""
        above = mapping.above
        if above is None:
            return True
        wanted_s = min(self.lease_s, requested_s or self.lease_s)
        return above.granted and above.until - now >= FRESH * wanted_s

    def lifetime_s(self, mapping: Mapping, now: float) -> int:
        """Seconds to ask above: what is left of the mapping, in the limits (CAS-027 is a deviation)."""
        return max(LEAST_S, min(self.lease_s, round(mapping.until - now)))

    def request(self, mapping: Mapping, network: Network, now: float, asked: MapRequest | None) -> AboveRequest:
        """The request for a mapping that has a lease above, or waits for one. ``asked``: that of its client; None:
        the gateway renews it. Call it only with ``has_own_address``."""
        above = mapping.above
        assert above is not None, "the mapping needs the gateway above"
        own = own_endpoint(mapping, network)
        return AboveRequest(
            transport=mapping.key.transport,
            internal=own,
            external=above.external or (_suggested(asked) if mapping.kind is MappingKind.PORT_MAPPING else None),
            exact=_is_exact(mapping, asked),
            lifetime_s=self.lifetime_s(mapping, now),
            nonce=above.nonce,
            description=mapping.description,
            via=above.via if above.granted else None,
        )

    def delete_without_row(self, release: ReleaseRequest, network: Network) -> AboveRequest | None:
        """The delete above of a mapping that is not known here (CAS-014). None: behind our NAT, where only the row
        would say which port was asked for."""
        address = release.address
        if not release.port or network.translates(address) or not self.asks_at(address):
            return None
        own = Endpoint(address, release.port)
        nonce = release.nonce or bytes(NONCE_BYTES)
        return AboveRequest(release.transport, own, own, False, LEAST_S, nonce, "")


def has_own_address(mapping: Mapping, network: Network) -> bool:
    """False for a port mapping while the WAN has no address."""
    return mapping.key.external_address is not None or bool(network.external)


def own_endpoint(mapping: Mapping, network: Network) -> Endpoint:
    """The external endpoint of a mapping here: the internal one of the gateway above."""
    return Endpoint(mapping.key.external_address or network.external[0], mapping.key.external_port)


def _suggested(asked: MapRequest | None) -> Endpoint | None:
    """The outermost endpoint that the client wants (CAS-005); None: our own port, at any address."""
    if asked is None or not asked.external_port:
        return None
    address = asked.suggested_address or IPv4Address(0)
    return Endpoint(address, asked.external_port)


def _is_exact(mapping: Mapping, asked: MapRequest | None) -> bool:
    """True if another external port is of no use. A client of IGD cannot be told of one later (RFC 6970)."""
    if mapping.above is not None and mapping.above.waits and asked is not None:
        return asked.choice is PortChoice.EXACT
    return any(not hold.via.datagram for hold in mapping.holds)


def bounded(mapping: Mapping, now: float) -> Mapping:
    """The leases over NAT-PMP and PCP end with the lease above: their clients renew. Over IGD they cannot see the
    end, and the gateway renews the lease above (CAS-028)."""
    above = mapping.above
    if above is None or all(hold.until <= above.until for hold in mapping.holds):
        return mapping
    until = max(above.until, now + 1)
    holds = tuple(
        replace(hold, until=min(hold.until, until)) if hold.via.datagram else hold for hold in mapping.holds
    )
    return mapping if holds == mapping.holds else replace(mapping, holds=holds)


def granted(mapping: Mapping, reply: AboveGranted, now: float) -> Mapping:
    """The mapping with the lease that the gateway above granted."""
    above = mapping.above
    assert above is not None, "the gateway above was asked for it"
    lease = Above(above.nonce, now + reply.lifetime_s, reply.via, reply.gateway, reply.external)
    return bounded(replace(mapping, above=lease), now)


def lost(mapping: Mapping, reason: str) -> Mapping:
    """The mapping without its lease above: it stays reserved, and its clients' port too."""
    above = mapping.above
    assert above is not None, "the gateway above was asked for it"
    return replace(mapping, above=replace(above, problem=reason))


def renewal_at(mapping: Mapping, now: float, random: Random) -> float | None:
    """BOOTTIME seconds at which the lease above is renewed: after 1/2 to 5/8 of it (RFC 6887 section 11.2.1).

    None: it ends with the last lease here, or is not granted."""
    above = mapping.above
    if above is None or not above.granted or mapping.until <= above.until + 1:
        return None
    return now + (above.until - now) * random.uniform(0.5, 0.625)


def with_own_port(table: MappingTable, request: MapRequest, owner: str) -> MapRequest:
    """The request with our own external port in place of the one that the gateway above gave its device: the gate
    and the ledger know ours alone."""
    if not request.external_port or request.pinhole:
        return request
    for row in table.told_as(request.transport, request.external_port):
        same_place = not request.via.datagram or row.internal == request.internal
        if row.device == owner and row.key.remote == request.remote and same_place:
            return replace(request, external_port=row.key.external_port)
    return request


def forget(transaction: Transaction) -> None:
    """At a start without a gateway above: mappings open without it, and those that waited for it are taken back."""
    for row in [row for row in transaction.ledger.table if row.above is not None]:
        if row.waits:
            transaction.end(row, "refused-above")
        else:
            transaction.put(replace(row, above=None))


def came_back(waiting: Sequence[Mapping], request: MapRequest) -> bool:
    """True for a request that comes from the gateway above, which was asked for one of the ``waiting`` mappings.

    PCP: it has the nonce and the port of such a mapping, and is for another host. The nonce alone is no proof:
    two hosts may use the same one. Without the nonce: its host asked for the port that it was given, and for the
    port that it was given then, and so on, ``TURNS`` times.
    """
    port, turns = request.internal.port, 0
    of_host: dict[int, int] = {}
    """External port -> internal port."""
    for row in waiting:
        if row.internal.address == request.internal.address:
            of_host[row.key.external_port] = row.internal.port
        elif row.above is not None and request.nonce == row.above.nonce and row.key.external_port == port:
            return True
    while turns < TURNS and of_host.get(port, port) != port:
        port, turns = of_host.pop(port), turns + 1
    return turns == TURNS
