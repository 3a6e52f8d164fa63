"""The devices, incidents and questions that the gateway keeps over a restart: to the store and back."""

from dataclasses import dataclass, field
from typing import Any

from upnp_gw.engine.stored_devices import StoredDevices
from upnp_gw.gate.approval_queue import ApprovalQueue
from upnp_gw.gate.device_history import DeviceHistory
from upnp_gw.model.mapping import Instant
from upnp_gw.store.device_rows import Note, NoteKind

OF_DEVICES = (NoteKind.DEVICE, NoteKind.INCIDENT, NoteKind.QUESTION)
"""Kinds of note that name a device."""
LAST_QUESTION = "question"
"""The key of the highest number of a question."""


@dataclass(slots=True)
class DevicePersistence:
    """The devices and the queue, as the store sees them."""

    history: DeviceHistory
    questions: ApprovalQueue = field(default_factory=ApprovalQueue)
    _stored_number: int = 0
    """The highest number of a question that the store knows of."""

    def notes(self, now: Instant, devices: bool) -> list[Note]:
        """Changes since the last call. ``devices``: with all counts of devices, which change all the time; without
        it only of those whose ports of today have changed."""
        found: dict[NoteKind, dict[str, dict[str, Any] | None]]
        found = {
            NoteKind.INCIDENT: self.history.changed_incidents(now),
            NoteKind.QUESTION: self.questions.take_changes(),
            NoteKind.DEVICE: self.history.changed_devices(counted=not devices),
        }
        if self.questions.last_number != self._stored_number:
            self._stored_number = self.questions.last_number
            found[NoteKind.NUMBER] = {LAST_QUESTION: {"number": self._stored_number}}
        return [Note(kind, key, body) for kind, bodies in found.items() for key, body in bodies.items()]

    def not_taken(self, notes: list[Note]) -> None:
        """The store failed: the same notes again, next time."""
        keys = {kind: [note.key for note in notes if note.kind is kind] for kind in NoteKind}
        self.history.requeue(keys[NoteKind.DEVICE], keys[NoteKind.INCIDENT])
        self.questions.requeue(keys[NoteKind.QUESTION])
        if keys[NoteKind.NUMBER]:
            self._stored_number = 0

    def recall(self, stored: dict[NoteKind, list[dict[str, Any]]], now: Instant, devices: StoredDevices) -> None:
        """At start. An incident ends when the wall clock says so, and never later than a whole freeze from now."""
        found = {kind: [_called_now(body, devices) for body in stored[kind]] for kind in OF_DEVICES}
        self.history.restore(found[NoteKind.DEVICE], found[NoteKind.INCIDENT], now)
        self._stored_number = max((body["number"] for body in stored[NoteKind.NUMBER]), default=0)
        self.questions.restore(found[NoteKind.QUESTION], self._stored_number)
        # a note whose device has another name now is written again, and the old one goes
        renamed = {
            kind: [pair for pair in zip(stored[kind], found[kind], strict=True) if pair[0] is not pair[1]]
            for kind in OF_DEVICES
        }
        names = {kind: [body["device"] for pair in pairs for body in pair] for kind, pairs in renamed.items()}
        self.history.requeue(names[NoteKind.DEVICE], names[NoteKind.INCIDENT])
        self.questions.requeue(str(body["number"]) for _, body in renamed[NoteKind.QUESTION])


def _called_now(body: dict[str, Any], devices: StoredDevices) -> dict[str, Any]:
    name = devices.now(body["device"], body.get("interface", ""))
    return body if name == body["device"] else {**body, "device": name}
