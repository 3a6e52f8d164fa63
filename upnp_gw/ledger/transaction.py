"""The ledger in memory, and one operation on it: a ``Transaction``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter

from upnp_gw.firewall.base import HostLists
from upnp_gw.ledger.epoch import Epoch
from upnp_gw.ledger.events import Confirmed, DeviceSeen, FirstMapping, IncidentBegan, QuestionAsked, TableChanged
from upnp_gw.ledger.filters import narrowed
from upnp_gw.ledger.leases import Deadlines, next_check
from upnp_gw.ledger.pending_cuts import PendingCut, PendingCuts, cut_of
from upnp_gw.ledger.reachable import opens
from upnp_gw.ledger.table import MappingTable, TableDelta
from upnp_gw.model.mapping import DecisionId, Instant, IPAddress, Mapping, Usage
from upnp_gw.model.records import DecisionRecord

Pair = tuple[Mapping | None, Mapping | None]
"""A row before and after a change."""


@dataclass(slots=True)
class LastNumbers:
    """The last numbers in use. They only grow, also over restarts."""

    mapping: int = 0
    decision: int = 0
    cut: int = 0

    def next_mapping(self) -> str:
        """A new mapping id: ``m7``."""
        self.mapping += 1
        return f"m{self.mapping}"

    def next_decision(self) -> DecisionId:
        """A new decision id: ``d17``."""
        self.decision += 1
        return DecisionId(f"d{self.decision}")

    @property
    def upcoming_decision(self) -> DecisionId:
        """The number that ``next_decision`` gives next."""
        return DecisionId(f"d{self.decision + 1}")

    def next_cut(self) -> int:
        """A new number of a pending cut."""
        self.cut += 1
        return self.cut


class Ledger:
    """Rows, deadlines, pending cuts, and the kernel's counters."""

    def __init__(self) -> None:
        self.table = MappingTable()
        self.deadlines = Deadlines()
        self.cuts = PendingCuts()
        self.numbers = LastNumbers()
        self.usage: dict[str, Usage] = {}
        self.update_id = 0
        """SystemUpdateID of WANIPConnection:2."""
        self.epoch = Epoch()

    def next_due(self) -> float | None:
        """BOOTTIME seconds of the next check of a row or the next cut; None: there is none."""
        check, cut = self.deadlines.next(), self.cuts.next()
        return check if cut is None or (check is not None and check < cut) else cut

    def usage_of(self, mapping: Mapping) -> Usage:
        """The connections and bytes of a mapping since its grant."""
        return self.usage.get(mapping.id, Usage())


@dataclass(slots=True)
class Transaction:
    """One operation on the ledger. Its changes are in the table already and can be undone."""

    ledger: Ledger
    now: Instant
    records: list[DecisionRecord] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)
    """Mapping id -> why it ended."""
    cuts_put: list[PendingCut] = field(default_factory=list)
    cuts_dropped: list[PendingCut] = field(default_factory=list)
    announcements: list[Confirmed | IncidentBegan | QuestionAsked | DeviceSeen | FirstMapping] = field(
        default_factory=list
    )
    """Other events to publish after the commit."""
    uncontested: set[IPAddress] = field(default_factory=set)
    """Internal clients that are known not to be contested: they are not checked again."""
    hosts: tuple[HostLists, HostLists] | None = None
    """The lists of remote hosts that screens may name, before and after it; None: they stay."""
    quiet: bool = False
    """A renewal by the gateway itself: nothing that a control point can see has changed."""
    pairs: Sequence[Pair] = ()
    """(before, after) of each changed row, set by ``close``."""
    on_undo: list[Callable[[], None]] = field(default_factory=list)
    """Called by ``undo``, newest first."""
    _delta: TableDelta = field(init=False)

    def __post_init__(self) -> None:
        self._delta = TableDelta(self.ledger.table)

    def put(self, mapping: Mapping) -> None:
        """Adds or replaces a row. Drops pending cuts that are not needed after it."""
        before = self.ledger.table.get(mapping.id)
        self._delta.put(mapping)
        for cut in self.ledger.cuts.unneeded_after(mapping):
            self.cuts_dropped.append(cut)
            self.ledger.cuts.drop(cut.number)
        if before is not None and before.internal != mapping.internal:
            self._cut(before, "moved")
        elif before is not None and before.active and not mapping.enabled:
            self._cut(before, "disabled")
        elif before is not None and before.active and narrowed(before, mapping):
            self._cut(before, "filtered")

    def park(self, mapping: Mapping, cut: bool) -> None:
        """Closes a mapping in the kernel and keeps its row and external port. ``cut``: its flows are cut at
        once."""
        self.put(replace(mapping, parked=True))
        if cut:
            self._cut(mapping, "parked")

    def end(self, mapping: Mapping, why: str) -> None:
        """Removes a row. Its flows are cut later or at once, depending on ``why``; one that waited has none."""
        self._delta.remove(mapping.id)
        self.ended[mapping.id] = why
        if not mapping.waits:
            self._cut(mapping, why)

    def follow_hosts(self, before: HostLists, now: HostLists) -> None:
        """The lists of remote hosts that screens may name are others now. Ends the flows of hosts that they no
        longer let in; others go on."""
        if now == before:
            return
        self.hosts = before, now
        changed = {one for one, hosts in now.items() if before.get(one, hosts) != hosts}
        for mapping in self.ledger.table if changed else ():
            if mapping.active and not changed.isdisjoint((*mapping.screen.only, *mapping.screen.never)):
                self._cut(mapping, "filtered")

    def _cut(self, mapping: Mapping, why: str) -> None:
        cut = cut_of(self.ledger.numbers.next_cut(), mapping, why, self.now.boot)
        self.cuts_put.append(cut)
        self.ledger.cuts.add(cut)

    @property
    def opens(self) -> bool:
        """True if it opens something: a mapping, another internal endpoint, more remote hosts."""
        return any(after is not None and opens(before, after) for before, after in self.pairs)

    def close(self) -> None:
        """The operation is complete: sets ``pairs``. Again after another change."""
        self.pairs = self._delta.changes()

    def undo(self) -> None:
        """Restores table and cuts. Transactions of one batch are undone newest first."""
        self.undo_rows()
        for call in reversed(self.on_undo):
            call()
        self.on_undo.clear()

    def undo_rows(self) -> None:
        """Restores table and cuts. The transaction may go on."""
        self._delta.undo()
        for cut in self.cuts_put:
            self.ledger.cuts.drop(cut.number)
        for cut in self.cuts_dropped:
            self.ledger.cuts.add(cut)
        self.cuts_put.clear()
        self.cuts_dropped.clear()
        self.ended.clear()
        self.pairs = ()

    def commit(self) -> TableChanged | None:
        """Call it when kernel and store have the changes. Updates deadlines and SystemUpdateID; returns the
        event."""
        for before, after in self.pairs:
            mapping_id = (after or before).id  # type: ignore[union-attr]
            self.ledger.deadlines.set(mapping_id, next_check(after) if after is not None else None)
            if after is None:
                self.ledger.usage.pop(mapping_id, None)
        visible = [] if self.quiet else [pair for pair in map(_shown, self.pairs) if _visible_change(*pair)]
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


_INVISIBLE = frozenset({"decision", "recheck_at", "grant_ends_at"})
"""The fields of a row that no control point can see."""
_visible = attrgetter(*(each.name for each in fields(Mapping) if each.name not in _INVISIBLE))


def _shown(pair: Pair) -> Pair:
    """The change as others see it: a mapping that waits for the gateway above is not there yet."""
    before, after = pair
    return (
        None if before is not None and before.above is not None and before.above.waits else before,
        None if after is not None and after.above is not None and after.above.waits else after,
    )


def _visible_change(before: Mapping | None, after: Mapping | None) -> bool:
    """True if a control point can see the difference."""
    if before is None or after is None:
        return before is not after
    if before.above is not None and after.above is not None:  # a renewal above is not seen
        before = replace(before, above=replace(before.above, until=after.above.until))
    changed: bool = _visible(before) != _visible(after)
    return changed
