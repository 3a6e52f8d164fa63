"""From rows of the ledger to changes of the kernel: the one place where a mapping becomes a ``Forward``."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from upnp_gw.firewall.base import Change, Close, Forward, Open, Refill
from upnp_gw.ledger.filters import reach
from upnp_gw.ledger.leases import kernel_timeout_s
from upnp_gw.ledger.table import MappingTable
from upnp_gw.model.mapping import Endpoint, Instant, Mapping, Transport

Pairs = Sequence[tuple[Mapping | None, Mapping | None]]
"""(before, after) of rows that changed."""


def forwards_of(mapping: Mapping, table: MappingTable, now: Instant) -> list[Forward]:
    """The kernel's form of an active mapping: one forward, or one for each prefix that may connect, ``m7-0`` ...

    The oldest active mapping to an internal endpoint keeps its source port on the way out.
    """
    oldest = next((m for m in table.to_internal(mapping.key.transport, mapping.internal) if m.active), mapping)
    peers = reach(mapping)
    return [
        Forward(
            id=mapping.id if len(peers) == 1 else f"{mapping.id}-{place}",
            decision=mapping.decision,
            transport=mapping.key.transport,
            external_address=mapping.key.external_address,
            external_port=mapping.key.external_port,
            remote=one.network if one is not None else None,
            remote_port=one.port if one is not None else 0,
            internal=mapping.internal,
            timeout_s=kernel_timeout_s(mapping, now),
            keep_source_port=oldest.id == mapping.id and place == 0,
        )
        for place, one in enumerate(peers)
    ]


def mapping_id(forward_id: str) -> str:
    """The mapping that a forward belongs to."""
    return forward_id.partition("-")[0]


class InstalledForwards:
    """What the kernel holds by our books: the forwards of each mapping as they were last opened."""

    def __init__(self) -> None:
        self._forwards: dict[str, dict[str, Forward]] = {}

    def of(self, mapping: str) -> tuple[Forward, ...]:
        return tuple(self._forwards.get(mapping, {}).values())

    def changes(self, pairs: Pairs, table: MappingTable, now: Instant) -> list[Change]:
        """The changes that bring the kernel to the rows as they now are; ``pairs`` are those that changed.

        Closes come first, so that a port that changes hands in one batch is free before it is taken; the parts of
        a mapping that take each other's places are closed too.
        """
        touched = {m.id for pair in pairs for m in pair if m is not None}
        touched |= {m.id for endpoint in _shared_endpoints(pairs) for m in table.to_internal(*endpoint)}
        closes: list[Change] = []
        opens: list[Change] = []
        for touched_id in sorted(touched):
            mapping = table.get(touched_id)
            before = self._forwards.get(touched_id, {})
            wanted = forwards_of(mapping, table, now) if mapping is not None and mapping.active else []
            after = {forward.id: forward for forward in wanted}
            moved = {i: old for i, old in before.items() if i in after and _moved(old, after[i])}
            if any(
                _place(old) == _place(new) for old in before.values() for new in after.values() if old.id != new.id
            ):
                before = {i: old for i, old in before.items() if i not in moved}
                closes += [Close(old) for old in moved.values()]
                moved = {}
            closes += [Close(forward) for i, forward in before.items() if i not in after]
            opens += [Open(forward, moved.get(i)) for i, forward in after.items()]
        return closes + opens

    def took(self, changes: Iterable[Change]) -> None:
        """The kernel has taken these."""
        for change in changes:
            if isinstance(change, Open):
                self._forwards.setdefault(mapping_id(change.forward.id), {})[change.forward.id] = change.forward
            elif isinstance(change, Close):
                owner = mapping_id(change.forward.id)
                forwards = self._forwards.get(owner, {})
                forwards.pop(change.forward.id, None)
                if not forwards:
                    self._forwards.pop(owner, None)
            elif isinstance(change, Refill):
                self._forwards.clear()
                self.took([Open(forward) for forward in change.forwards])


def _moved(old: Forward, new: Forward) -> bool:
    return replace(old, timeout_s=0, decision=new.decision) != replace(new, timeout_s=0)


def _place(forward: Forward) -> tuple[object, ...]:
    """What no two forwards of a mapping can share."""
    return forward.remote, forward.remote_port


def _shared_endpoints(pairs: Pairs) -> set[tuple[Transport, Endpoint]]:
    """Internal endpoints where an active mapping came or went: another one may have to keep the source port now."""
    return {
        (m.key.transport, m.internal)
        for before, after in pairs
        for m in (before, after)
        if m is not None
        and (before is None or after is None or (before.active, before.internal) != (after.active, after.internal))
    }
