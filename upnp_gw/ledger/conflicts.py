"""Rows of the ledger that the kernel could not hold beside another one."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network

from upnp_gw.ledger.filters import AllowedPeers, allowed_peers, incompatible
from upnp_gw.ledger.table import MappingTable
from upnp_gw.model.mapping import IPAddress, IPNetwork, Mapping, MappingKey, MappingKind
from upnp_gw.model.request import MapRequest


def conflicting_rows(mapping: Mapping, table: MappingTable) -> Iterator[Mapping]:
    """The other rows that the kernel could not hold beside this one, parked and disabled rows included."""
    if mapping.kind is MappingKind.PINHOLE:
        rows = table.to_internal(mapping.key.transport, mapping.internal)
    else:
        own = mapping.key.external_address
        rows = table.on_port(mapping.key.transport, mapping.key.external_port)
        rows = [row for row in rows if row.key.external_address == own]
    peers = allowed_peers(mapping)
    return (row for row in rows if row.id != mapping.id and _any_incompatible(allowed_peers(row), peers))


def overlapping_port_mapping(mapping: Mapping, table: MappingTable) -> Mapping | None:
    """Another port mapping of the same external port that has remote hosts in common with this one."""
    if mapping.kind is MappingKind.PINHOLE:
        return None
    rows = table.on_port(mapping.key.transport, mapping.key.external_port)
    overlapping = (
        row
        for row in rows
        if row.id != mapping.id
        and _same_address(row.key.external_address, mapping.key.external_address)
        and _any_overlap(row.remotes, mapping.remotes)
    )
    return next(overlapping, None)


def conflicting_pinhole(peers: AllowedPeers, request: MapRequest, table: MappingTable) -> Mapping | None:
    """A pinhole of the same internal endpoint that the kernel could not hold beside a new one for ``peers``."""
    rows = table.to_internal(request.transport, request.internal)
    return next((row for row in rows if _any_incompatible(allowed_peers(row), peers)), None)


def conflicting_holder(rows: Iterable[Mapping], key: MappingKey, peers: AllowedPeers, owner: str) -> Mapping | None:
    """The row that keeps ``owner`` from a new port mapping with this key for ``peers``. ``rows``: all of the key's
    external port."""
    hosts = tuple(one.network if one else None for one in peers)
    for row in rows:
        if not _same_address(row.key.external_address, key.external_address):
            continue
        if row.device != owner or row.key == key:
            return row
        if _any_overlap(row.remotes, hosts) or _any_incompatible(allowed_peers(row), peers):
            return row
    return None


def _any_incompatible(one: AllowedPeers, other: AllowedPeers) -> bool:
    return any(incompatible(a, b) for a in one for b in other)


def _any_overlap(one: tuple[IPNetwork | None, ...], other: tuple[IPNetwork | None, ...]) -> bool:
    return any(_overlap(a, b) for a in one for b in other)


def _same_address(one: IPAddress | None, other: IPAddress | None) -> bool:
    return one is None or other is None or one == other


def _overlap(one: IPNetwork | None, other: IPNetwork | None) -> bool:
    """True if two remote hosts or prefixes have an address in common. A prefix and anyone (None) have none: the
    kernel looks the prefix up first."""
    if one is None or other is None:
        return one is other
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.overlaps(other)
