"""Changes that the kernel has and the disk does not. Existing mappings survive a full or failing disk.

A request that opens something is refused then (``Transaction.opens``): after a crash every acknowledged mapping
must be there. Renewals, lease ends, deletes and denials do not wait for the disk. They are kept here and written
when the store works again. A crash before that finds the older rows.
"""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from upnp_gw.ledger.pending_cuts import PendingCut
from upnp_gw.ledger.table import MappingTable
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.records import DecisionRecord
from upnp_gw.store.mapping_rows import same_row
from upnp_gw.store.store import Batch

log = logging.getLogger(__name__)

RECORDS = 10_000
"""Decisions kept in memory for the disk; the oldest leave, and are counted."""


@dataclass(slots=True)
class WriteBacklog:
    """The rows, cuts and decisions that the store has not got."""

    failing: bool = False
    """The last write failed."""
    lost: int = 0
    """Decisions that will never be on disk."""
    _rows: dict[str, None] = field(default_factory=dict)
    _cuts: dict[int, PendingCut | None] = field(default_factory=dict)
    """None: it is done, its row has to go."""
    _records: deque[DecisionRecord] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self._rows) + len(self._cuts) + len(self._records)

    def counts(self) -> dict[str, int]:
        """For the operator; empty while all is well."""
        counts = {
            "store unwritten": len(self),
            "store lost decisions": self.lost,
            "store failing": int(self.failing),
        }
        return {name: count for name, count in counts.items() if count}

    def add(self, transactions: Iterable[Transaction]) -> None:
        """These are in force without the disk."""
        for transaction in transactions:
            self._rows.update(dict.fromkeys(changed_rows(transaction)))
            self._cuts.update({cut.number: cut for cut in transaction.cuts_put})
            self.cuts_done(transaction.cuts_dropped)
            self._records.extend(transaction.records)
        while len(self._records) > RECORDS:
            self._records.popleft()
            self.lost += 1

    def cuts_done(self, cuts: Iterable[PendingCut]) -> None:
        self._cuts.update(dict.fromkeys((cut.number for cut in cuts), None))

    def batch(self, table: MappingTable) -> Batch:
        """All of it, the rows as they are now."""
        return batch_of(
            self._rows,
            table,
            [cut for cut in self._cuts.values() if cut is not None],
            [number for number, cut in self._cuts.items() if cut is None],
            list(self._records),
        )

    def failed(self, error: Exception) -> None:
        """A write failed: said once, not for every request of a full disk."""
        if not self.failing:
            log.error("cannot write to the store: %s; existing mappings continue, new ones are refused", error)
        self.failing = True

    def succeeded(self) -> None:
        """A write succeeded."""
        if self.failing:
            log.warning("the store can be written again; %d decisions are lost", self.lost)
        self.failing = False

    def flushed(self) -> None:
        """All of it is on disk."""
        if self._rows or self._records:
            log.info(
                "wrote %d rows and %d decisions that were kept in memory meanwhile",
                len(self._rows),
                len(self._records),
            )
        self._rows.clear()
        self._cuts.clear()
        self._records.clear()


def changed_rows(transaction: Transaction) -> Iterator[str]:
    """The ids of the rows whose stored values changed. A check by the gateway itself changes none of them."""
    for before, after in transaction.pairs:
        if before is None or after is None or not same_row(before, after):
            yield (after or before).id  # type: ignore[union-attr]


def batch_of(
    rows: Iterable[str],
    table: MappingTable,
    cuts_put: Sequence[PendingCut],
    cuts_done: Sequence[int],
    records: Sequence[DecisionRecord],
) -> Batch:
    """One transaction of the store: rows by their ids, as they are now or gone."""
    found = {i: table.row(i) for i in rows}
    return Batch(
        put=[(row.mapping, row.number) for row in found.values() if row is not None],
        removed=[i for i, row in found.items() if row is None],
        cuts_put=list(cuts_put),
        cuts_done=sorted(cuts_done),
        decisions=list(records),
    )
