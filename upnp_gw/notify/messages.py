"""An event of the gateway as a message for a person. Pure.

Text of clients is escaped (``upnp_gw.text.escape``): descriptions and names are what a device chose.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from upnp_gw import api
from upnp_gw.text.escape import shown

LONGEST_TEXT = 600
LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Message:
    """One message to a target."""

    event: str
    """One of ``config.notify_tables.EVENTS``, or ``test``."""
    id: str
    """The same for each attempt and each target, so that a receiver can tell repeated messages."""
    at: datetime
    title: str
    text: str
    urgent: bool = False
    device: str = ""
    data: Any = None
    """The event as plain values."""


def message_of(event: api.Event) -> Message | None:
    """None: nobody is told of this event."""
    made = _titled(event)
    if made is None:
        return None
    title, text, device, urgent = made
    data = msgspec.to_builtins(event)
    return Message(
        event=event.event,
        id=event.id or _own_id(event),
        at=event.at,
        title=title,
        text=shown(text, LONGEST_TEXT),
        urgent=urgent,
        device=device,
        data=data,
    )


def _own_id(event: api.Event) -> str:
    """Of an event that was made from the present state."""
    if event.question is not None:
        return f"question-{event.question.number}"
    return f"{event.event}-{event.at.timestamp():.0f}-{event.incident.device if event.incident is not None else ''}"


def _titled(event: api.Event) -> tuple[str, str, str, bool] | None:
    """Title, sentence, device, and whether somebody should look now."""
    match event.event:
        case "question" if event.question is not None:
            return _question(event.question)
        case "incident" if event.incident is not None:
            return _incident(event.incident)
        case "new-device" if event.device is not None:
            device = _name(event.device, event.device_name)
            text = f"{device} at {shown(event.address or 'an unknown address')} asked for a port for the first time"
            return "A new device", text, event.device, False
        case "first-mapping" if event.mapping is not None:
            mapping = event.mapping
            text = (
                f"{_name(mapping.device, mapping.device_name)} has its first mapping:"
                f" {mapping.transport} {mapping.external_port} to {shown(mapping.internal_client)},"
                f" port {mapping.internal_port}{_described(mapping.description)}, by rule {shown(mapping.rule)}"
            )
            return "A device opened its first port", text, mapping.device, False
        case "policy-refused":
            return "The policy files have a mistake", f"The policy in force stays. {event.why}", "", True
        case "double-nat":
            return "Double NAT", f"{_capital(event.why or '')}. Mappings cannot be reached from outside", "", True
    return None


def _question(question: api.Question) -> tuple[str, str, str, bool]:
    device = _name(question.device, question.device_name)
    ports = ", ".join(map(str, question.external_ports)) or "the same port"
    text = (
        f"{device} asks for {question.transport} {shown(ports)} to {shown(question.internal_client)},"
        f" port {question.internal_port}{_described(question.description)}."
        f" To answer: upnp-gw approve {question.number}, or upnp-gw deny {question.number}"
    )
    return f"Question {question.number}: {device} asks for a port", text, question.device, True


def _incident(incident: api.Incident) -> tuple[str, str, str, bool]:
    device = _name(incident.device, incident.device_name)
    done = {
        "freeze": "It can open nothing new",
        "quarantine": "Its mappings have ended",
        "log": "It is only reported",
    }
    text = (
        f"{device} was refused {len(incident.ports)} distinct ports: it may be infected."
        f" {done[incident.action]} until {incident.ends_at:%Y-%m-%d %H:%M} UTC."
        f" To end that: upnp-gw release {shown(incident.device)}"
    )
    return f"Incident: {device}", text, incident.device, True


def _name(device: str, name: str | None) -> str:
    return f"{shown(name, LONGEST_NAME)} ({shown(device)})" if name else shown(device)


def _described(description: str) -> str:
    return f' ("{shown(description, LONGEST_NAME)}")' if description else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def left_out(count: int, at: datetime) -> Message:
    """In place of messages that were too many."""
    noun = "message was" if count == 1 else "messages were"
    text = f"{count} {noun} left out, because there were too many at once. To see them: upnp-gw log"
    return Message("left-out", f"left-out-{at.timestamp():.0f}", at, "More has happened", text, True, data={})


def trial(at: datetime) -> Message:
    """The message of ``upnp-gw notify test``."""
    text = "Messages of the gateway reach you here. Nothing has happened: this is a test"
    return Message("test", f"test-{at.timestamp():.0f}", at, "A test of upnp-gw", text, data={})
