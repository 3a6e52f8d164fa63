"""The daemon's log on standard error, as text or as one JSON object a line.

Every line about a decision has its id, for ``upnp-gw explain``. Text of clients is escaped in both forms: it cannot
end a line, control a terminal or imitate a line of the daemon (SR-21).
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from upnp_gw.gate.question import Question
from upnp_gw.ledger.events import Decided, Event, IncidentBegan, QuestionAsked, TableChanged
from upnp_gw.model.device import GATEWAY
from upnp_gw.model.mapping import Mapping
from upnp_gw.model.records import DecisionRecord
from upnp_gw.text.escape import shown

log = logging.getLogger("upnp_gw.decisions")

LINE_MAX = 2000
"""Most columns of a text line. Our own tracebacks have fewer."""
PORTS_SHOWN = 16
"""Most ports that the line of an incident shows."""
FIELDS = (
    *("decision", "verdict", "action", "via", "device", "transport", "external_port", "internal_client"),
    *("internal_port", "rule", "refusal", "policy", "mapping", "why", "count", "description"),
)
"""Extra fields of a record, in the order of the JSON object."""
ROUTINE = frozenset({"renew", "restore"})
"""Actions of the gateway itself. If they are allowed they are logged at level debug."""


def configure(form: str, level: str, stream: TextIO | None = None) -> None:
    """Configures the log of the process. ``form``: text | json; ``level``: debug | info | warning | error."""
    output = logging.StreamHandler(stream or sys.stderr)
    output.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[output], force=True)


class TextLines(logging.Formatter):
    """``INFO upnp_gw.engine.gateway: ...``, and below it the traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        decision = getattr(record, "decision", None)
        mark = f" ({decision})" if decision and decision not in record.getMessage().split() else ""
        line = f"{record.levelname} {record.name}: {shown(record.getMessage(), LINE_MAX)}{shown(mark)}"
        return line + _traceback(self, record, "\n")


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII. ``at``: RFC 3339, UTC, milliseconds."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        values: dict[str, Any] = {
            "at": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in FIELDS:
            if (value := getattr(record, name, None)) is not None:
                values[name] = value
        if trace := _traceback(self, record, ""):
            values["exception"] = trace
        return json.dumps(values, ensure_ascii=True, default=str)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord, before: str) -> str:
    if not record.exc_info:
        return ""
    lines = formatter.formatException(record.exc_info).split("\n")
    return before + "\n".join(shown(line, LINE_MAX) for line in lines)


def on_event(event: Event) -> None:
    """A listener of ``ledger.events.Events``: logs decisions, ended mappings, incidents and new questions."""
    match event:
        case Decided(record):
            routine = record.device != GATEWAY and record.action in ROUTINE and record.verdict == "allow"
            routine = routine or record.unchanged
            log.log(
                logging.DEBUG if routine else logging.INFO,
                "%s",
                format_decision(record),
                extra=_decision_fields(record),
            )
        case TableChanged(removed=removed):
            for mapping, reason in removed:
                log.info("%s ended: %s", _format_mapping(mapping), reason, extra=_mapping_fields(mapping, reason))
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
            from upnp_gw import api  # the types of the control API: a router without questions does not load them

            log.info(
                "%s; %s", _format_question(question), api.questions_wait(waiting), extra=_question_fields(question)
            )


def format_decision(record: DecisionRecord) -> str:
    """``d17 deny 02:..:66 pcp map udp 22 -> 192.168.1.23:22: forbidden by rule admin``."""
    if record.device == GATEWAY:
        return f"{record.id} {record.action}: {record.reasons[-1]}"
    where = f"{record.internal_client}:{record.internal_port}" if record.internal_client is not None else ""
    request = f"{record.action} {record.transport} {record.external_port or 'any'} -> {where}"
    times = f" ({record.count} times)" if record.count > 1 else ""
    return f"{record.id} {record.verdict} {record.device} {record.via} {request}: {record.reasons[-1]}{times}"


def _decision_fields(record: DecisionRecord) -> dict[str, object]:
    """Keys are names of ``FIELDS``: ``logging`` refuses names of its own attributes."""
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


def _format_mapping(mapping: Mapping) -> str:
    return f"{mapping.id} {mapping.key.transport} {mapping.key.external_port} -> {mapping.internal}"


def _mapping_fields(mapping: Mapping, reason: str) -> dict[str, object]:
    return {
        "decision": mapping.decision,
        "device": mapping.device,
        "transport": mapping.key.transport.value,
        "external_port": mapping.key.external_port,
        "internal_client": str(mapping.internal.address),
        "internal_port": mapping.internal.port,
        "rule": mapping.rule,
        "mapping": mapping.id,
        "why": reason,
    }


def _format_question(question: Question) -> str:
    """``question 3: 02:..:66 asks for tcp 8080 -> 192.168.1.23:8080``."""
    request = question.request
    where = f"{request.transport} {request.external_port or 'any'} -> {request.internal}"
    return f"question {question.number}: {question.subject.device} asks for {where}"


def _question_fields(question: Question) -> dict[str, object]:
    request = question.request
    return {
        "decision": question.decision,
        "via": request.via.value,
        "device": question.subject.device,
        "transport": request.transport.value,
        "external_port": request.external_port,
        "internal_client": str(request.internal.address),
        "internal_port": request.internal.port,
        "rule": question.subject.rule,
        "description": request.description or None,
    }
