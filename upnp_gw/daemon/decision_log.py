"""The log of decisions, ended mappings, incidents and questions.

Every line about a decision has its id, for ``upnp-gw explain``.
"""

import logging

from upnp_gw.gate.question import Question
from upnp_gw.ledger.events import Decided, Event, IncidentBegan, QuestionAsked, TableChanged
from upnp_gw.model.device import GATEWAY
from upnp_gw.model.mapping import Mapping
from upnp_gw.model.records import DecisionRecord

log = logging.getLogger("upnp_gw.decisions")

PORTS_SHOWN = 16
"""Most ports that the line of an incident shows."""
ROUTINE = frozenset({"renew", "restore"})
"""Actions of the gateway itself. If they are allowed they are logged at level debug."""


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
    """Keys are names of ``log_lines.FIELDS``: ``logging`` refuses names of its own attributes."""
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
