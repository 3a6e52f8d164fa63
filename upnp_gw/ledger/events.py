"""What happened, told to whoever listens: GENA, the audit log, watchers of the control socket.

A list of callbacks, called in order, on the event loop, after the change is in the kernel and in the store.
A listener must not block and must not raise; one that raises is logged and the others still hear.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from upnp_gw.gate.device_history import Incident
from upnp_gw.gate.question import Question
from upnp_gw.model.mapping import Mapping
from upnp_gw.model.records import DecisionRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TableChanged:
    """One operation on the ledger (an add, a range delete, a sweep of expired leases): one event."""

    added: tuple[Mapping, ...] = ()
    changed: tuple[tuple[Mapping, Mapping], ...] = ()
    """(before, after)"""
    removed: tuple[tuple[Mapping, str], ...] = ()
    """(mapping, why): ``deleted``, ``expired``, ``revoked``, ``policy``, ``device-moved``, ``prefix-gone``,
    ``quarantine``, ``displaced`` (it had no lease and its device was away when the device asked for another)"""
    system_update_id: int = 0


@dataclass(frozen=True, slots=True)
class WanChanged:
    """The WAN link or its address changed; read the new state from the view."""


@dataclass(frozen=True, slots=True)
class LanChanged:
    """The gateway has a new address on a LAN: it announces itself with a new BOOTID."""


@dataclass(frozen=True, slots=True)
class Ipv6FirewallChanged:
    """Another table filters IPv6 otherwise than before; read the new state from the view."""


@dataclass(frozen=True, slots=True)
class Decided:
    """The gate answered a request; the record is in the store."""

    record: DecisionRecord


@dataclass(frozen=True, slots=True)
class IncidentBegan:
    """A device was refused many distinct internal ports; it is frozen, quarantined or only told of."""

    incident: Incident


@dataclass(frozen=True, slots=True)
class QuestionAsked:
    """A new question waits for the operator. A repeated request for the same is no event."""

    question: Question
    waiting: int
    """How many questions wait, this one included."""


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """Another policy is in force, and what it does not allow has ended."""

    digest: str


@dataclass(frozen=True, slots=True)
class FirewallHealed:
    """Somebody else removed or changed our table; it was installed again from the ledger."""

    what: str


Event = (
    TableChanged
    | WanChanged
    | LanChanged
    | Ipv6FirewallChanged
    | Decided
    | IncidentBegan
    | QuestionAsked
    | PolicyChanged
    | FirewallHealed
)


class Events:
    """The subscribers. ``publish`` calls each in the order in which they subscribed."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Adds a listener; the answer takes it off again."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def publish(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                log.exception("an event listener failed; the others go on")
