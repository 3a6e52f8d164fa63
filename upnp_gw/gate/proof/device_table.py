"""Everything that one device can open, by grant."""

from collections.abc import Iterator
from dataclasses import dataclass

from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof import rules
from upnp_gw.gate.proof.answers import Answer, Answers
from upnp_gw.gate.proof.boxes import merged
from upnp_gw.gate.proof.describe import box_text
from upnp_gw.gate.proof.leases import longest_lease_s
from upnp_gw.gate.proof.space import Space
from upnp_gw.gate.schema import Policy
from upnp_gw.gate.values import duration_text
from upnp_gw.model.mapping import Via

WHO = frozenset({d.MAC, d.LAN, d.LEASE})


@dataclass(frozen=True, slots=True)
class Row:
    """The requests of a device that one rule answers."""

    outcome: str
    rule: str
    what: str
    lease: str
    """The longest over IGD, and over PCP and NAT-PMP."""
    limits: str


def device_table(policy: Policy, name: str, since: float | None = None) -> Iterator[Row]:
    """The rows of a device of the policy, all of whose facts agree; in the order in which its grants are charged.
    Raises TooMuchWork."""
    space = Space([policy], since=since)
    answers = Answers(space, policy)
    scope = rules.agreeing(space, policy, [name])
    for answer in answers.all():
        for box in merged(answers.points(answer, scope)):
            what = box_text(space, [policy], box, but=WHO)
            yield Row(answer.outcome.value, answer.rule, what, _lease(policy, answer), _limits(answer))


def _lease(policy: Policy, answer: Answer) -> str:
    hold, ttl = (longest_lease_s(policy, answer.grant, via) for via in (Via.IGD1, Via.PCP))
    return f"{duration_text(hold)}, {duration_text(ttl)}"


def _limits(answer: Answer) -> str:
    grant = answer.grant
    if grant is None:
        return ""
    parts = []
    if grant.max_mappings is not None:
        parts.append(f"{grant.max_mappings} at a time")
    if grant.max_ports_per_day is not None:
        parts.append(f"{grant.max_ports_per_day} ports a day")
    return ", ".join(parts)
