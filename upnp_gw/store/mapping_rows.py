"""Mappings and pending cuts as rows of the store, and back. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from sys import intern
from typing import Any

from upnp_gw.ledger.pending_cuts import PendingCut
from upnp_gw.model.mapping import (
    DecisionId,
    Endpoint,
    Hold,
    Instant,
    IPAddress,
    Mapping,
    MappingKey,
    RemotePeers,
    Transport,
)


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A stored mapping with its number. It still has holds that have ended since."""

    mapping: Mapping
    number: int


def id_number(identifier: str) -> int:
    """The number in an id: ``m17`` -> 17."""
    return int(identifier[1:])


def parse_peers(text: str) -> RemotePeers:
    """Parses the peers of a PCP FILTER: prefix, colon, port."""
    network, _, port = text.rpartition(":")
    return RemotePeers(ip_network(network), int(port))


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)


@lru_cache(1024)
def _shared(text: str) -> IPAddress:
    """The address, one object for all rows that have it: a few hosts have thousands of rows."""
    return ip_address(text)


def _address(text: str | None) -> IPAddress | None:
    return None if text is None else _shared(text)


def mapping_values(mapping: Mapping, number: int) -> Sequence[Any]:
    """The columns of ``mappings``, in their order."""
    key = mapping.key
    return (
        mapping.id,
        number,
        key.transport.value,
        _text(key.external_address),
        key.external_port,
        _text(key.remote),
        str(mapping.internal.address),
        mapping.internal.port,
        mapping.device,
        mapping.description.encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
        mapping.enabled,
        mapping.parked,
        mapping.granted_at,
        mapping.decision,
        mapping.rule,
        " ".join(map(str, mapping.filters)),
        mapping.delegated,
        mapping.permanent,
        key.remote_port,
    )


def stored_row(values: Sequence[Any], holds: tuple[Hold, ...]) -> StoredRow:
    """The row of these columns, with its holds."""
    remote = ip_network(values[5]) if values[5] is not None else None
    key = MappingKey(Transport(values[2]), _address(values[3]), values[4], remote, values[18])
    mapping = Mapping(
        id=values[0],
        key=key,
        internal=Endpoint(_shared(values[6]), values[7]),
        device=intern(values[8]),
        description=intern(values[9]),
        enabled=bool(values[10]),
        parked=bool(values[11]),
        holds=holds,
        granted_at=values[12],
        decision=DecisionId(values[13]),
        rule=intern(values[14]),
        recheck_at=0,
        filters=tuple(ip_network(net) for net in values[15].split()),
        delegated=bool(values[16]),
        permanent=bool(values[17]),
    )
    return StoredRow(mapping, values[1])


def cut_values(cut: PendingCut) -> Sequence[Any]:
    """The columns of ``cuts``, in their order."""
    return (
        cut.number,
        cut.device,
        cut.mapping,
        cut.decision,
        cut.key.transport.value,
        _text(cut.key.external_address),
        cut.key.external_port,
        _text(cut.key.remote),
        str(cut.internal.address),
        cut.internal.port,
        cut.key.remote_port,
    )


def cut_of_row(values: Sequence[Any], now: Instant) -> PendingCut:
    """The cut of these columns. It is due at once: the daemon ended before it was done."""
    key = MappingKey(
        Transport(values[4]),
        _address(values[5]),
        values[6],
        ip_network(values[7]) if values[7] is not None else None,
        values[10],
    )
    internal = Endpoint(ip_address(values[8]), values[9])
    return PendingCut(values[0], values[1], values[2], DecisionId(values[3]), key, internal, now.boot)
