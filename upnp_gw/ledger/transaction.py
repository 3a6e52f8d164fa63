"""The whole ledger in memory, and one operation on it: a ``Transaction``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from upnp_gw.ledger.epoch import Epoch
from upnp_gw.ledger.events import IncidentBegan, QuestionAsked, TableChanged
from upnp_gw.ledger.filters import narrowed
from upnp_gw.ledger.leases import Deadlines, next_check
from upnp_gw.ledger.pending_cuts import PendingCut, PendingCuts, cut_of
from upnp_gw.ledger.reachable import opens
from upnp_gw.ledger.table import MappingTable, TableDelta
from upnp_gw.model.mapping import DecisionId, Instant, Mapping, MappingKey, Usage
from upnp_gw.model.network import Network
from upnp_gw.model.records import DecisionRecord

Pair = tuple[Mapping | None, Mapping | None]
"""A row before and after a change."""


@dataclass(slots=True)
class LastNumbers:
    """The last numbers given; they only grow, over restarts too."""

    mapping: int = 0
    decision: int = 0
    cut: int = 0

    def next_mapping(self) -> str:
        self.mapping += 1
        return f"m{self.mapping}"

    def next_decision(self) -> DecisionId:
        self.decision += 1
        return DecisionId(f"d{self.decision}")

    def next_cut(self) -> int:
        self.cut += 1
        return self.cut


class Ledger:
    """Rows, deadlines, pending cuts, and what the kernel counted."""

    def __init__(self) -> None:
        self.table = MappingTable()
        self.deadlines = Deadlines()
        self.cuts = PendingCuts()
        self.numbers = LastNumbers()
        self.usage: dict[str, Usage] = {}
        self.update_id = 0
        """SystemUpdateID of WANIPConnection:2."""
        self.epoch = Epoch()

    def find(self, key: MappingKey, network: Network) -> Mapping | None:
        """The mapping of this key; one that names no external address also finds the primary one's."""
        found = self.table.by_key(key)
        if found is None and key.external_address is None and network.external:
            return self.table.by_key(key._replace(external_address=network.external[0]))
        return found

    def usage_of(self, mapping: Mapping) -> Usage:
        return self.usage.get(mapping.id, Usage())


@dataclass(slots=True)
class Transaction:
    """One operation on the ledger while it is under way: it is in the table already, and can be undone."""

    ledger: Ledger
    now: Instant
    records: list[DecisionRecord] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)
    """Mapping id -> why it ended."""
    cuts_put: list[PendingCut] = field(default_factory=list)
    cuts_dropped: list[PendingCut] = field(default_factory=list)
    told: list[IncidentBegan | QuestionAsked] = field(default_factory=list)
    """What this operation publishes beside its rows and decisions."""
    quiet: bool = False
    """A renewal by the gateway itself: nothing that a control point could see has changed."""
    pairs: Sequence[Pair] = ()
    """(before, after), once the turn is closed."""
    on_undo: list[Callable[[], None]] = field(default_factory=list)
    """What else has to be taken back with the turn, newest first."""
    _draft: TableDelta = field(init=False)

    def __post_init__(self) -> None:
        self._draft = TableDelta(self.ledger.table)

    def put(self, mapping: Mapping) -> None:
        """Adds or replaces a row. A cut that waited for the same mapping is not needed any more."""
        before = self.ledger.table.get(mapping.id)
        self._draft.put(mapping)
        for cut in self.ledger.cuts.undone_by(mapping):
            self.cuts_dropped.append(cut)
            self.ledger.cuts.drop(cut.number)
        if before is not None and before.internal != mapping.internal:
            self._cut(before, "moved")
        elif before is not None and before.active and not mapping.enabled:
            self._cut(before, "disabled")
        elif before is not None and before.active and narrowed(before, mapping):
            self._cut(before, "filtered")

    def park(self, mapping: Mapping, cut: bool) -> None:
        """Takes a row out of the kernel and keeps its external port. ``cut``: its flows end at once."""
        self.put(replace(mapping, parked=True))
        if cut:
            self._cut(mapping, "parked")

    def touched(self) -> Sequence[Pair]:
        """(before, after) of the rows so far."""
        return self._draft.changes()

    def end(self, mapping: Mapping, why: str) -> None:
        """Takes a row out and has its flows cut, later or at once as ``why`` says."""
        self._draft.remove(mapping.id)
        self.ended[mapping.id] = why
        self._cut(mapping, why)

    def _cut(self, mapping: Mapping, why: str) -> None:
        cut = cut_of(self.ledger.numbers.next_cut(), mapping, why, self.now.boot)
        self.cuts_put.append(cut)
        self.ledger.cuts.add(cut)

    @property
    def opens(self) -> bool:
        """Something stands after it that did not before: a mapping, an endpoint, a peer who could not connect."""
        return any(after is not None and opens(before, after) for before, after in self.pairs)

    def close(self) -> None:
        """The operation is complete: its pairs are as they are now."""
        self.pairs = self._draft.changes()

    def undo(self) -> None:
        """The table, the cuts: as before this turn. Turns of one batch are undone newest first."""
        self.take_back()
        for call in reversed(self.on_undo):
            call()
        self.on_undo.clear()

    def take_back(self) -> None:
        """The rows and cuts of this turn so far; it may go on."""
        self._draft.undo()
        for cut in self.cuts_put:
            self.ledger.cuts.drop(cut.number)
        for cut in self.cuts_dropped:
            self.ledger.cuts.add(cut)
        self.cuts_put.clear()
        self.cuts_dropped.clear()
        self.ended.clear()
        self.pairs = ()

    def commit(self) -> TableChanged | None:
        """The kernel and the store have it: deadlines, SystemUpdateID, and the event to publish."""
        for before, after in self.pairs:
            mapping_id = (after or before).id  # type: ignore[union-attr]
            self.ledger.deadlines.set(mapping_id, next_check(after) if after is not None else None)
            if after is None:
                self.ledger.usage.pop(mapping_id, None)
        visible = [pair for pair in self.pairs if not self.quiet and _seen(pair[0]) != _seen(pair[1])]
        return self._table_changed(visible) if visible else None

    def _table_changed(self, pairs: Sequence[Pair]) -> TableChanged:
        self.ledger.update_id = (self.ledger.update_id + 1) % 2**32
        added: list[Mapping] = []
        changed: list[tuple[Mapping, Mapping]] = []
        removed: list[tuple[Mapping, str]] = []
        for before, after in pairs:
            if before is not None and after is not None:
                changed.append((before, after))
            elif after is not None:
                added.append(after)
            elif before is not None:
                removed.append((before, self.ended.get(before.id, "deleted")))
        return TableChanged(tuple(added), tuple(changed), tuple(removed), self.ledger.update_id)


def _seen(mapping: Mapping | None) -> Mapping | None:
    """The row without what only the gateway knows of it."""
    return None if mapping is None else replace(mapping, decision=DecisionId(""), recheck_at=0, grant_ends_at=None)
