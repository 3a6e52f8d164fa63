"""Mappings and pending cuts as rows of the store, and back. Pure.

The end of a hold is stored in three forms: on CLOCK_BOOTTIME with the boot's id, on the wall clock, and as seconds
left at the write. In the same boot the first one counts. After another boot the wall clock counts, but no more than
the seconds left: a clock that was set back does not extend a lease.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from upnp_gw.ledger.pending_cuts import PendingCut
from upnp_gw.model.mapping import (
    NO_SCREEN,
    Above,
    DecisionId,
    Endpoint,
    Hold,
    Instant,
    IPAddress,
    Mapping,
    MappingKey,
    RemotePeers,
    Screen,
    Transport,
    Via,
    compact_endpoint,
    shared_address,
    shared_text,
)


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A stored mapping with its number. It still has holds that have ended since."""

    mapping: Mapping
    number: int


class UnreadableMapping(Exception):
    """Columns that are no mapping: the file is damaged."""


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
    """The address, parsed once: a few hosts have thousands of rows."""
    return shared_address(ip_address(text))


def _address(text: str | None) -> IPAddress | None:
    return None if text is None else _shared(text)


SCHEMA = """
CREATE TABLE mappings (
  id INTEGER PRIMARY KEY, number INTEGER NOT NULL, transport TEXT NOT NULL, external_address TEXT,
  external_port INTEGER NOT NULL, remote TEXT, internal_address TEXT NOT NULL, internal_port INTEGER NOT NULL,
  device TEXT NOT NULL, description TEXT NOT NULL, enabled INTEGER NOT NULL, parked INTEGER NOT NULL,
  granted_at REAL NOT NULL, decision INTEGER NOT NULL, rule TEXT NOT NULL, filters TEXT NOT NULL,
  delegated INTEGER NOT NULL, permanent INTEGER NOT NULL, remote_port INTEGER NOT NULL, boot TEXT NOT NULL,
  holds TEXT NOT NULL, above TEXT
) STRICT;
"""
"""A mapping and its leases are one row, so that an add writes one page for them. ``holds``: JSON of ``HoldRow``;
``above``: JSON of ``AboveRow``, NULL where no gateway above is needed."""
COLUMNS = 22

SIDES = "+-"
"""Before the id of a list of remote hosts in the column ``filters``: they may, or may not, connect."""

HoldRow = tuple[str, int | None, str | None, float, float, float, int, str]
"""Protocol, requested lease, nonce in hexadecimal, end on CLOCK_BOOTTIME and on the wall clock, seconds left at the
write, epoch, FILTERs."""
AboveRow = tuple[str, float, float, float, str | None, str | None, str | None, int, str]
"""Nonce in hexadecimal, the three forms of the end as of a hold, protocol, gateway, outermost address and port (0:
none), and the problem."""


def write_mappings(
    db: sqlite3.Connection, mappings: Sequence[tuple[Mapping, int]], boot: str, now: Instant
) -> None:
    """Adds or replaces these rows: mapping and number. ``boot``: the id of the present boot."""
    db.executemany(
        f"INSERT OR REPLACE INTO mappings VALUES ({','.join('?' * COLUMNS)})",
        [mapping_values(mapping, number, boot, now) for mapping, number in mappings],
    )


def load_mappings(db: sqlite3.Connection, boot: str, now: Instant) -> tuple[list[StoredRow], list[StoredRow]]:
    """All rows in the order of their numbers. The second list: those that were written in another boot.

    Raises UnreadableMapping.
    """
    rows = db.execute("SELECT * FROM mappings ORDER BY number").fetchall()
    found = []
    for values in rows:
        try:
            found.append(stored_row(values, boot, now))
        except Exception as error:  # there are many ways to be no mapping
            raise UnreadableMapping(
                f"mapping m{values[0]} cannot be read: {error}. The store is damaged: put back a copy of it, or"
                " move it away to start without its mappings"
            ) from error
    return found, [row for row, values in zip(found, rows, strict=True) if values[19] != boot]


def mapping_values(mapping: Mapping, number: int, boot: str, now: Instant) -> Sequence[Any]:
    """The columns of ``mappings``, in their order."""
    key = mapping.key
    return (
        id_number(mapping.id),
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
        id_number(mapping.decision),
        mapping.rule,
        _granted_text(mapping),
        mapping.delegated,
        mapping.permanent,
        key.remote_port,
        boot,
        hold_text([_hold_row(hold, now) for hold in mapping.holds]),
        None if mapping.above is None else _above_text(mapping.above, now),
    )


def _granted_text(mapping: Mapping) -> str:
    """The column ``filters``: the prefixes of the grant, or the lists of the screen."""
    if not mapping.screen.name:
        return " ".join(map(str, mapping.filters))
    lists = (f"{side}{one}" for side, names in zip(SIDES, mapping.screen, strict=True) for one in names)
    return " ".join((*map(str, mapping.filters), *lists))


def _screen_of(words: Sequence[str]) -> Screen:
    only, never = (tuple(word[1:] for word in words if word[0] == side) for side in SIDES)
    return Screen(only, never) if only or never else NO_SCREEN


def stored_row(values: Sequence[Any], boot: str, now: Instant) -> StoredRow:
    """The row of these columns. Its holds are on the clock of the present boot."""
    remote = ip_network(values[5]) if values[5] is not None else None
    key = MappingKey(Transport(values[2]), _address(values[3]), values[4], remote, values[18])
    granted = values[15].split()
    mapping = Mapping(
        id=f"m{values[0]}",
        key=key,
        internal=compact_endpoint(Endpoint(_shared(values[6]), values[7]), key.external_port),
        device=shared_text(values[8]),
        description=shared_text(values[9]),
        enabled=bool(values[10]),
        parked=bool(values[11]),
        holds=tuple(_hold(row, values[19] == boot, now) for row in _HOLDS.decode(values[20])),
        granted_at=values[12],
        decision=DecisionId(f"d{values[13]}"),
        rule=shared_text(values[14]),
        recheck_at=0,
        filters=tuple(ip_network(net) for net in granted if net[0] not in SIDES),
        screen=_screen_of(granted) if granted else NO_SCREEN,
        delegated=bool(values[16]),
        permanent=bool(values[17]),
        above=None if values[21] is None else _above(values[21], values[19] == boot, now),
    )
    return StoredRow(mapping, values[1])


def same_row(one: Mapping, other: Mapping) -> bool:
    """True if both are stored as the same values. The times of the next check are not stored."""
    return one.decision == other.decision and replace(one, recheck_at=0, grant_ends_at=None) == replace(
        other, recheck_at=0, grant_ends_at=None
    )


_HOLDS = msgspec.json.Decoder(list[HoldRow])


def hold_text(rows: Sequence[HoldRow]) -> str:
    """The column ``holds``."""
    return msgspec.json.encode(rows).decode()


def _hold_row(hold: Hold, now: Instant) -> HoldRow:
    left = hold.until - now.boot
    nonce = None if hold.nonce is None else hold.nonce.hex()
    filters = " ".join(f"{net}:{port}" for net, port in hold.filters)
    return (hold.via.value, hold.requested_s, nonce, hold.until, now.wall + left, left, hold.epoch, filters)


def _hold(row: HoldRow, same_boot: bool, now: Instant) -> Hold:
    via, asked_s, nonce, until_boot, until_wall, left_s, epoch, filters = row
    peers = tuple(parse_peers(text) for text in filters.split())
    until = _end_of(until_boot, until_wall, left_s, same_boot, now)
    return Hold(Via(via), until, asked_s, None if nonce is None else bytes.fromhex(nonce), epoch, peers)


def _end_of(until_boot: float, until_wall: float, left_s: float, same_boot: bool, now: Instant) -> float:
    """BOOTTIME seconds of a stored end."""
    return until_boot if same_boot else now.boot + min(until_wall - now.wall, left_s)


_ABOVE = msgspec.json.Decoder(AboveRow)


def _above_text(above: Above, now: Instant) -> str:
    left, external = above.until - now.boot, above.external
    row: AboveRow = (
        above.nonce.hex(),
        above.until,
        now.wall + left,
        left,
        _text(above.via),
        _text(above.gateway),
        None if external is None else str(external.address),
        0 if external is None else external.port,
        above.problem,
    )
    return msgspec.json.encode(row).decode()


def _above(text: str, same_boot: bool, now: Instant) -> Above:
    nonce, until_boot, until_wall, left_s, via, gateway, address, port, problem = _ABOVE.decode(text)
    return Above(
        bytes.fromhex(nonce),
        _end_of(until_boot, until_wall, left_s, same_boot, now),
        None if via is None else Via(via),
        _address(gateway),
        None if address is None else Endpoint(_shared(address), port),
        shared_text(problem),
    )


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


def lines_of_mappings(db: sqlite3.Connection) -> list[str]:
    """Each stored mapping in a line for the log."""
    columns = "transport, external_port, internal_address, internal_port, device"
    rows = db.execute(f"SELECT {columns} FROM mappings ORDER BY number")
    return ["{} {} -> {} port {}, {}".format(*values) for values in rows]
