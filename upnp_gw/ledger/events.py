"""Events for GENA, the audit log and watchers of the control socket.

Listeners are called in order, on the event loop, after the change is in the kernel and in the store, and after the
reply has left. A listener must not block and must not raise. If one raises, that is logged and the others are still
called.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from upnp_gw.gate.device_history import Incident
from upnp_gw.gate.question import Question
from upnp_gw.model.mapping import IPAddress, Mapping
from upnp_gw.model.records import DecisionRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TableChanged:
    """One operation on the ledger is one event: an add, a range delete, the end of several leases."""

    added: tuple[Mapping, ...] = ()
    changed: tuple[tuple[Mapping, Mapping], ...] = ()
    """(before, after)"""
    removed: tuple[tuple[Mapping, str], ...] = ()
    """(mapping, reason): ``deleted``, ``expired``, ``revoked``, ``policy``, ``device-moved``, ``prefix-gone``,
    ``nat-changed``, ``quarantine``, ``displaced`` (without a lease, and replaced by another one while its address
    did not answer)"""
    system_update_id: int = 0


@dataclass(frozen=True, slots=True)
class WanChanged:
    """The WAN link or its address changed; read the new state from the view."""


@dataclass(frozen=True, slots=True)
class LanChanged:
    """The gateway has a new address on a LAN. SSDP announces it with a new BOOTID."""


@dataclass(frozen=True, slots=True)
class Ipv6FirewallChanged:
    """Other tables filter IPv6 in another way than before; read the new state from the view."""


@dataclass(frozen=True, slots=True)
class Decided:
    """The gate answered a request; the record is in the store."""

    record: DecisionRecord


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The gateway decided again about a mapping, and nothing changed. No record of that is in the store."""

    mapping: Mapping
    action: str
    """``renew``, ``reload`` or ``restore``."""
    at: float
    """Wall-clock seconds."""


@dataclass(frozen=True, slots=True)
class IncidentBegan:
    """A device was refused many distinct internal ports. It is frozen, quarantined or only reported."""

    incident: Incident


@dataclass(frozen=True, slots=True)
class QuestionAsked:
    """A new question for the operator. A repeated request for the same is no event."""

    question: Question
    waiting: int
    """The number of open questions, this one included."""


@dataclass(frozen=True, slots=True)
class DeviceSeen:
    """A device asked for the first time. One that was forgotten (``gate.device_history``) may come again."""

    device: str
    address: IPAddress


@dataclass(frozen=True, slots=True)
class FirstMapping:
    """A device got a mapping for the first time."""

    mapping: Mapping


@dataclass(frozen=True, slots=True)
class DoubleNatFound:
    """The external address is one that the internet does not reach: another router translates it again."""

    address: IPAddress


@dataclass(frozen=True, slots=True)
class PolicyRefused:
    """The policy files were loaded again and have a mistake; the policy in force stays."""

    problem: str
    """A sentence with file, line and key."""


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """Another policy is in force, and the mappings that it does not allow have ended."""

    digest: str


@dataclass(frozen=True, slots=True)
class FirewallHealed:
    """Another program removed or changed our table; it was installed again from the ledger."""

    change: str


Event = (
    TableChanged
    | WanChanged
    | LanChanged
    | Ipv6FirewallChanged
    | Decided
    | Confirmed
    | IncidentBegan
    | QuestionAsked
    | DeviceSeen
    | FirstMapping
    | DoubleNatFound
    | PolicyChanged
    | PolicyRefused
    | FirewallHealed
)


class Events:
    """``publish`` calls the listeners in the order in which they subscribed."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Adds a listener. Call the result to remove it."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def publish(self, event: Event) -> None:
        """Calls every subscriber at once, in the order of subscription."""
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                log.exception("an event listener failed; the others are still called")
