"""What the gateway remembers over a restart of devices, incidents and questions: to the store and back."""

from dataclasses import dataclass, field
from typing import Any

from upnp_gw.gate.limits import DeviceBook
from upnp_gw.gate.questions import Questions
from upnp_gw.ledger.notes import Kind, Note
from upnp_gw.model import Instant


@dataclass(slots=True)
class Memory:
    """The book and the queue, as the store sees them."""

    book: DeviceBook
    questions: Questions = field(default_factory=Questions)

    def notes(self, now: Instant, devices: bool) -> list[Note]:
        """What changed since it was last asked for. ``devices``: the counts of devices too, which change always."""
        found = {Kind.INCIDENT: self.book.changed_incidents(now), Kind.QUESTION: self.questions.changes()}
        if devices:
            found[Kind.DEVICE] = self.book.changed_devices()
        return [Note(kind, key, body) for kind, bodies in found.items() for key, body in bodies.items()]

    def not_taken(self, notes: list[Note]) -> None:
        """The store failed: the same notes again, next time."""
        keys = {kind: [note.key for note in notes if note.kind is kind] for kind in Kind}
        self.book.changed_again(keys[Kind.DEVICE], keys[Kind.INCIDENT])
        self.questions.changed_again(keys[Kind.QUESTION])

    def recall(self, stored: dict[Kind, list[dict[str, Any]]], now: Instant) -> None:
        """At start. An incident ends when the wall clock says so, and never later than a whole freeze from now."""
        self.book.recall(stored[Kind.DEVICE], stored[Kind.INCIDENT], now)
        self.questions.recall(stored[Kind.QUESTION])
