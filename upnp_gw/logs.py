"""The daemon's log: a line for people, or one JSON object a line for collectors, on standard error.

Every line about a decision carries its id, which ``upnp-gw explain`` takes. What a client sent is escaped in both
forms: no byte of it ends a line, acts on a terminal or looks like a line of ours (SR-21).
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from upnp_gw import api
from upnp_gw.gate.question import Question
from upnp_gw.ledger.events import Decided, Event, IncidentBegan, QuestionAsked, TableChanged
from upnp_gw.model.mapping import Mapping
from upnp_gw.model.records import DecisionRecord
from upnp_gw.text.escape import shown

log = logging.getLogger("upnp_gw.decisions")

LINE_MAX = 2000
"""Columns of a line for people; a trace of ours is shorter."""
PORTS_SHOWN = 16
"""As many of the ports of an incident."""
FIELDS = (
    *("decision", "verdict", "action", "via", "device", "transport", "external_port", "internal_client"),
    *("internal_port", "rule", "refusal", "policy", "mapping", "why", "count", "description"),
)
"""What a record may carry beside its message, in the order in which JSON has it."""
ROUTINE = frozenset({"renew", "restore"})
"""The gateway asks itself: told at level debug where the answer is yes."""


def configure(form: str, level: str, stream: TextIO | None = None) -> None:
    """Sets up the whole process's log. ``form``: text | json; ``level``: debug | info | warning | error."""
    output = logging.StreamHandler(stream or sys.stderr)
    output.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[output], force=True)


class TextLines(logging.Formatter):
    """``INFO upnp_gw.engine.gateway: ...``: one line, an exception's traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        decision = getattr(record, "decision", None)
        mark = f" ({decision})" if decision and decision not in record.getMessage().split() else ""
        line = f"{record.levelname} {record.name}: {shown(record.getMessage(), LINE_MAX)}{shown(mark)}"
        return line + _traceback(self, record, "\n")


class JsonLines(logging.Formatter):
    """One object a line, in ASCII. ``at`` is RFC 3339 in UTC, to the millisecond."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told: dict[str, Any] = {
            "at": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in FIELDS:
            if (value := getattr(record, name, None)) is not None:
                told[name] = value
        if trace := _traceback(self, record, ""):
            told["exception"] = trace
        return json.dumps(told, ensure_ascii=True, default=str)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord, before: str) -> str:
    if not record.exc_info:
        return ""
    lines = formatter.formatException(record.exc_info).split("\n")
    return before + "\n".join(shown(line, LINE_MAX) for line in lines)


def on_event(event: Event) -> None:
    """A listener of ``events.Events``: decisions, what ended, incidents, new questions."""
    match event:
        case Decided(record):
            routine = record.unchanged or (record.action in ROUTINE and record.verdict == "allow")
            log.log(logging.DEBUG if routine else logging.INFO, "%s", sentence(record), extra=_fields(record))
        case TableChanged(removed=removed):
            for mapping, why in removed:
                log.info("%s ended: %s", _mapping(mapping), why, extra=_ended(mapping, why))
        case IncidentBegan(incident):
            log.warning(
                "incident: %s was refused %d distinct ports (%s): %s",
                incident.device,
                len(incident.ports),
                " ".join(map(str, incident.ports[:PORTS_SHOWN])) + " ..." * (len(incident.ports) > PORTS_SHOWN),
                incident.action,
                extra={"device": incident.device},
            )
        case QuestionAsked(question, waiting):
            log.info("%s; %s", _asked(question), api.questions_wait(waiting), extra=_question(question))


def sentence(record: DecisionRecord) -> str:
    """``d17 deny 02:..:66 pcp map udp 22 -> 192.168.1.23:22: forbidden by rule admin``."""
    where = f"{record.internal_client}:{record.internal_port}" if record.internal_client is not None else ""
    asked = f"{record.action} {record.transport} {record.external_port or 'any'} -> {where}"
    times = f" ({record.count} times)" if record.count > 1 else ""
    return f"{record.id} {record.verdict} {record.device} {record.via} {asked}: {record.reasons[-1]}{times}"


def _fields(record: DecisionRecord) -> dict[str, object]:
    """Names of ``FIELDS``; ``logging`` takes no others that it has itself."""
    return {
        "decision": record.id,
        "verdict": record.verdict,
        "action": record.action,
        "via": record.via,
        "device": record.device,
        "transport": record.transport,
        "external_port": record.external_port,
        "internal_client": record.internal_client,
        "internal_port": record.internal_port,
        "rule": record.rule,
        "refusal": record.refusal,
        "policy": record.policy,
        "mapping": record.mapping,
        "count": record.count if record.count > 1 else None,
        "description": record.description or None,
    }


def _mapping(mapping: Mapping) -> str:
    return f"{mapping.id} {mapping.key.transport} {mapping.key.external_port} -> {mapping.internal}"


def _ended(mapping: Mapping, why: str) -> dict[str, object]:
    return {
        "decision": mapping.decision,
        "device": mapping.device,
        "transport": mapping.key.transport.value,
        "external_port": mapping.key.external_port,
        "internal_client": str(mapping.internal.address),
        "internal_port": mapping.internal.port,
        "rule": mapping.rule,
        "mapping": mapping.id,
        "why": why,
    }


def _asked(question: Question) -> str:
    """``question 3: 02:..:66 asks for tcp 8080 -> 192.168.1.23:8080``."""
    asked = question.request
    where = f"{asked.transport} {asked.external_port or 'any'} -> {asked.internal}"
    return f"question {question.number}: {question.subject.device} asks for {where}"


def _question(question: Question) -> dict[str, object]:
    asked = question.request
    return {
        "decision": question.decision,
        "via": asked.via.value,
        "device": question.subject.device,
        "transport": asked.transport.value,
        "external_port": asked.external_port,
        "internal_client": str(asked.internal.address),
        "internal_port": asked.internal.port,
        "rule": question.subject.rule,
        "description": asked.description or None,
    }
