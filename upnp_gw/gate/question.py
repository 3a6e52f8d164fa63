"""A question to the operator, and its plain values for the store."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any

from upnp_gw.gate.schema import Family
from upnp_gw.gate.terms import ApprovalTerms, QuestionSubject
from upnp_gw.model.mapping import DecisionId, Endpoint, IPNetwork, RemotePeers, Transport, Via
from upnp_gw.model.request import MapRequest, PortChoice, Source

EARLIER = 8
"""Former numbers of a question that are remembered."""


@dataclass(frozen=True, slots=True)
class Question:
    """An entry of the queue. An approval grants ``subject`` and ``terms``; with new terms it gets a new number."""

    number: int
    subject: QuestionSubject
    terms: ApprovalTerms
    request: MapRequest
    """The latest request that the terms cover, with the FILTERs that would be in force."""
    basis: str
    """Digest of the parts of the policy that an approval copies, when the question was asked (``digest.basis``)."""
    decision: DecisionId
    """The id of the latest refusal."""
    first_asked: float
    """Wall-clock seconds."""
    last_asked: float
    times: int
    earlier: tuple[int, ...] = ()
    """Its former numbers, newest first."""

    @property
    def proved(self) -> bool:
        """True where the request came over TCP, which proves the sender's address."""
        return not self.request.via.datagram

    def updated(self, other: "Question", number: int) -> "Question":
        """This question after the device asked again (``other``, with the same subject). ``number``: its new number
        if the terms change."""
        question = replace(self, decision=other.decision, last_asked=other.last_asked, times=self.times + 1)
        terms = other.terms
        if self.basis == other.basis and self.proved <= other.proved:
            terms = self.terms.joined(other.terms) if self.proved == other.proved else other.terms
        elif self.basis == other.basis:
            return question  # a datagram, which can be forged, does not change a question over TCP
        if not terms.cover(other.terms):
            return question  # too much for one question
        question = replace(question, request=other.request, terms=terms, basis=other.basis)
        if (terms, question.basis) == (self.terms, self.basis):
            return question
        return replace(question, number=number, earlier=(self.number, *self.earlier)[:EARLIER])


def question_body(question: Question) -> dict[str, Any]:
    """The plain values of a question."""
    subject, request = question.subject, question.request
    return {
        "number": question.number,
        "device": subject.device,
        "target": _text(subject.target),
        "remotes": [[str(peers.network), peers.port] for peers in subject.remotes],
        "rule": subject.rule,
        "external_ports": [list(span) for span in question.terms.external_ports],
        "longest_s": question.terms.lease_s,
        "basis": question.basis,
        "decision": question.decision,
        "first_asked": question.first_asked,
        "last_asked": question.last_asked,
        "times": question.times,
        "earlier": list(question.earlier),
        "via": request.via.value,
        "source": str(request.source.address),
        "interface": request.source.interface,
        "transport": request.transport.value,
        "address": str(request.internal.address),
        "port": request.internal.port,
        "external_port": request.external_port,
        "choice": request.choice.value,
        "lifetime_s": request.lifetime_s,
        "remote": _text(request.remote),
        "remote_port": request.remote_port,
        "external_address": _text(request.external_address),
        "enabled": request.enabled,
        "description": request.description,
        "nonce": request.nonce.hex() if request.nonce is not None else None,
        "keep_description": request.keep_description,
        "standing_only": request.standing_only,
        "clear_filters": request.clear_filters,
        "filters": [[str(peers.network), peers.port] for peers in request.filters],
    }


def question_of(body: Mapping[str, Any]) -> Question:
    """The question from its plain values. Raises KeyError, TypeError or ValueError where they are invalid, or of an
    older version without ``terms``."""
    remote, external, nonce, target = (body[key] for key in ("remote", "external_address", "nonce", "target"))
    request = MapRequest(
        via=Via(body["via"]),
        source=Source(ip_address(body["source"]), body["interface"]),
        transport=Transport(body["transport"]),
        internal=Endpoint(ip_address(body["address"]), body["port"]),
        external_port=body["external_port"],
        choice=PortChoice(body["choice"]),
        lifetime_s=body["lifetime_s"],
        remote=_network(remote) if remote is not None else None,
        external_address=ip_address(external) if external is not None else None,
        enabled=body["enabled"],
        description=body["description"],
        nonce=bytes.fromhex(nonce) if nonce is not None else None,
        keep_description=body["keep_description"],
        clear_filters=body["clear_filters"],
        filters=_peers(body["filters"]),
        remote_port=body["remote_port"],
        standing_only=body["standing_only"],
    )
    subject = QuestionSubject(
        body["device"],
        request.transport,
        request.internal.port,
        ip_address(target) if target is not None else None,
        Family(f"ip{request.internal.address.version}"),
        _peers(body["remotes"]),
        body["rule"],
    )
    return Question(
        body["number"],
        subject,
        ApprovalTerms(tuple((low, high) for low, high in body["external_ports"]), body["longest_s"]),
        request,
        body["basis"],
        DecisionId(body["decision"]),
        body["first_asked"],
        body["last_asked"],
        body["times"],
        tuple(body["earlier"]),
    )


def _peers(stored: list[tuple[str, int]]) -> tuple[RemotePeers, ...]:
    return tuple(RemotePeers(_network(net), port) for net, port in stored)


def _network(text: str) -> IPNetwork:
    return ip_network(text)


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)
