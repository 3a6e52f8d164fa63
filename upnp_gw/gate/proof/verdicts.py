"""The part of a verdict that a witness shows: it counts only if ``decide`` says what the boxes say."""

from upnp_gw.gate.decide import lifetime_s
from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.match import RuleInput, permitted
from upnp_gw.gate.portset import contains, intersection
from upnp_gw.gate.proof.leases import longest_lease_s
from upnp_gw.gate.proof.spans import Spans
from upnp_gw.gate.proof.witness import Witness
from upnp_gw.gate.schema import Policy
from upnp_gw.model.request import PortChoice


def opens(policy: Policy, witness: Witness) -> bool:
    """True where the answer is yes or a question, and about the external port of the witness."""
    verdict, port = witness.verdict, witness.ext_port
    if verdict.outcome is Outcome.DENY:
        return False
    if witness.request.choice is PortChoice.EXACT:
        return True
    if verdict.clamps is not None:
        return contains(verdict.clamps.external_ports, port)
    grant = policy.grant(verdict.rule)
    counted = witness.facts.held.on_port
    if grant is None or (counted and port not in counted):
        return grant is None
    return contains(permitted(grant, RuleInput(policy, witness.facts, witness.request)), port)


def gives(witness: Witness, ports: Spans) -> bool:
    """True where the answer is yes, and the external port is or can be one of these."""
    verdict = witness.verdict
    if verdict.outcome is not Outcome.ALLOW or verdict.clamps is None:
        return False
    return witness.request.choice is PortChoice.EXACT or bool(intersection(verdict.clamps.external_ports, ports))


def longest_s(policy: Policy, witness: Witness) -> int:
    """Seconds of the longest lease of the answer, or of an approval of the question."""
    verdict = witness.verdict
    if verdict.clamps is not None:
        return lifetime_s(witness.request, verdict.clamps)
    return longest_lease_s(policy, policy.grant(verdict.rule), witness.request.via)
