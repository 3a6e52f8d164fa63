"""A request that only the operator can allow becomes a question; the questions that wait."""

from dataclasses import replace

from upnp_gw.engine.decider import Decider
from upnp_gw.engine.refresh import PlannedVerdict
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.digest import basis
from upnp_gw.gate.operator_rules import OperatorRules
from upnp_gw.gate.question import Question
from upnp_gw.gate.terms import remote_access, subject_of, terms_of
from upnp_gw.ledger.events import QuestionAsked
from upnp_gw.ledger.plan import Planner
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import DecisionId
from upnp_gw.model.request import PortChoice


def ask(
    decider: Decider,
    transaction: Transaction,
    found: PlannedVerdict,
    planner: Planner,
    owner: str,
    decision: DecisionId,
) -> None:
    """Puts the request into the queue, unless no grant can say what it asks for (``terms.connecting``)."""
    facts, request, policy = found.facts, found.request, decider.in_force.policy
    subject = subject_of(facts, request, found.verdict.rule)
    waiting = policy.grant(subject.rule)
    if remote_access(subject, waiting) is None:
        return

    def can_have(port: int) -> bool:
        """No rule, and no other mapping, keeps this external port from the device."""
        there = replace(request, choice=PortChoice.EXACT, external_port=port)
        again = decide(policy, facts, there)
        return (again.outcome, again.rule) == (Outcome.ASK, subject.rule) and planner.is_free(there, owner)

    terms = terms_of(policy, facts, request, waiting, can_have)
    by = basis(policy, subject.rule)
    asked = decider.questions.ask(subject, terms, request, by, decision, transaction.now.wall, transaction.on_undo)
    if asked is not None and asked.times == 1:
        transaction.announcements.append(
            QuestionAsked(asked, len(questions_waiting(decider, transaction.now.wall)))
        )


def questions_waiting(decider: Decider, wall: float) -> list[Question]:
    """The waiting questions, by number. ``wall``: seconds.

    A question is dropped if the waiting grant or a limit has changed, since its approval would allow something else
    than it showed. The device's next request asks again.
    """
    questions, proposals = decider.questions, OperatorRules(decider.in_force.policy, wall)
    found = questions.all(wall)
    for question in found:
        if not proposals.still_waits(question):
            questions.drop(question)
    return [question for question in found if proposals.still_waits(question)]
