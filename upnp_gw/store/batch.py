"""The content of one transaction of the store."""

from dataclasses import dataclass, field

from upnp_gw.ledger.pending_cuts import PendingCut
from upnp_gw.model.mapping import Mapping
from upnp_gw.model.records import DecisionRecord
from upnp_gw.store.device_rows import Note


@dataclass(slots=True)
class Batch:
    """The content of one transaction."""

    put: list[tuple[Mapping, int]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    cuts_put: list[PendingCut] = field(default_factory=list)
    cuts_done: list[int] = field(default_factory=list)
    decisions: list[DecisionRecord] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.put or self.removed or self.cuts_put or self.cuts_done or self.decisions or self.notes)
