"""From rows of the ledger to changes of the kernel. Only here a mapping becomes a ``Forward``."""

from collections.abc import Sequence

from upnp_gw.firewall.base import Change, Close, Forward, Open
from upnp_gw.ledger.filters import allowed_peers
from upnp_gw.ledger.leases import kernel_timeout_s
from upnp_gw.ledger.table import MappingTable
from upnp_gw.model.mapping import Endpoint, Instant, Mapping, MappingKind, Transport

Pairs = Sequence[tuple[Mapping | None, Mapping | None]]
"""(before, after) of rows that changed."""


def forwards_of(mapping: Mapping, table: MappingTable, now: Instant) -> list[Forward]:
    """The kernel's form of an active mapping: one forward, or one for each prefix that may connect (``m7-0``, ...).

    The oldest active mapping to an internal endpoint keeps its source port on the way out.
    """
    oldest = next((m for m in table.to_internal(mapping.key.transport, mapping.internal) if m.active), mapping)
    ranges = allowed_peers(mapping)
    return [
        Forward(
            id=mapping.id if len(ranges) == 1 else f"{mapping.id}-{place}",
            decision=mapping.decision,
            transport=mapping.key.transport,
            external_address=mapping.key.external_address,
            external_port=mapping.key.external_port,
            remote=peers.network if peers is not None else None,
            remote_port=peers.port if peers is not None else 0,
            internal=mapping.internal,
            timeout_s=kernel_timeout_s(mapping, now),
            keep_source_port=oldest.id == mapping.id and place == 0,
            screen=mapping.screen,
        )
        for place, peers in enumerate(ranges)
    ]


def mapping_id(forward_id: str) -> str:
    """The mapping that a forward belongs to."""
    return forward_id.partition("-")[0]


def kernel_changes(pairs: Pairs, table: MappingTable, now: Instant) -> list[Change]:
    """The changes that bring the kernel from the rows before ``pairs`` to the rows in ``table``.

    ``pairs`` are in the order in which they were made: what a row was before the first of its pairs, the kernel has
    now. Closes come first: a port is free before another mapping opens it in the same batch.
    """
    before: dict[str, Mapping | None] = {}
    for old, new in pairs:
        for mapping in (old, new):
            if mapping is not None:
                before.setdefault(mapping.id, old)
    for endpoint in _shared_endpoints(pairs):
        for mapping in table.to_internal(*endpoint):
            before.setdefault(mapping.id, mapping)
    installed = [f for changed in sorted(before) for f in _active_forwards(before[changed], table, now)]
    forwards = [f for changed in sorted(before) for f in _active_forwards(table.get(changed), table, now)]
    return [*map(Close, _to_close(installed, forwards)), *map(Open, forwards)]


def _active_forwards(mapping: Mapping | None, table: MappingTable, now: Instant) -> list[Forward]:
    return forwards_of(mapping, table, now) if mapping is not None and mapping.active else []


def _to_close(installed: Sequence[Forward], forwards: Sequence[Forward]) -> list[Forward]:
    """The installed forwards that end, and those whose place another forward takes in the same batch: the kernel
    refuses a forward in an occupied place."""
    staying = {forward.id for forward in forwards}
    taken = {_place(forward): forward.id for forward in forwards}
    return [old for old in installed if old.id not in staying or taken.get(_place(old), old.id) != old.id]


def _place(forward: Forward) -> tuple[object, ...]:
    """The kernel holds one forward with this value."""
    inside = forward.internal if forward.kind is MappingKind.PINHOLE else None
    outside = forward.transport, forward.external_address, forward.external_port
    return *outside, inside, forward.remote, forward.remote_port


def _shared_endpoints(pairs: Pairs) -> set[tuple[Transport, Endpoint]]:
    """Internal endpoints where an active mapping begins or ends: another mapping may have to keep the source
    port."""
    return {
        (m.key.transport, m.internal)
        for before, after in pairs
        for m in (before, after)
        if m is not None
        and (before is None or after is None or (before.active, before.internal) != (after.active, after.internal))
    }
