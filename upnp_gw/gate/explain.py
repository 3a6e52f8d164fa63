"""Explains a decision: for each forbid and grant, its effect and the conditions that did not hold.

``decide`` stops at the first rule that settles the answer. This looks at every rule, on demand, with the same
facts. It decides nothing: its verdict is that of ``decide``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from upnp_gw.gate import match
from upnp_gw.gate.decide import decide, lifetime_s
from upnp_gw.gate.decision import Facts, PortRanges, Verdict
from upnp_gw.gate.facts import names_of, possible_names
from upnp_gw.gate.match import RuleInput
from upnp_gw.gate.portset import contains, normalized, subtract
from upnp_gw.gate.remote import RemoteHosts
from upnp_gw.gate.remote_match import TakenAway, leaves_somebody, taken_away
from upnp_gw.gate.schema import Forbid, Grant, Policy
from upnp_gw.model.request import MapRequest


class Effect(StrEnum):
    """The effect of a rule on a request."""

    NONE = "none"
    """It did not match."""
    DENIES = "denies"
    NARROWS = "narrows"
    """A forbid of external ports that the gateway therefore does not choose, or of remote hosts that it keeps
    out."""
    FULL = "full"
    """A grant that matches, but has no room, or is outside its hours."""
    COVERS = "covers"
    """A grant that matches and has room, but was not used: another one was, or none was needed."""
    CHARGED = "charged"


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """One rule and its effect. ``why``: the conditions that do not hold, or the room that is left."""

    name: str
    effect: Effect
    why: str
    concerns: bool
    """True: the rule is for this device; other conditions may still not hold."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict with all that was looked at for it."""

    verdict: Verdict
    names: tuple[str, ...]
    """The names that the policy has for the requester; empty: nobody named it."""
    forbids: tuple[RuleTrace, ...]
    grants: tuple[RuleTrace, ...]
    lease_s: int | None
    """Seconds that the lease would live; None where it was not allowed."""


def explain(policy: Policy, facts: Facts, request: MapRequest) -> Explanation:
    """Pure. Facts that ``decide`` cannot use give its denial and no rules."""
    verdict = decide(policy, facts, request)
    try:
        names = names_of(policy, facts)
        rule_input = RuleInput(policy, facts, request)
        touched = possible_names(policy, facts, rule_input.target)
        forbids = tuple(_forbid(rule, rule_input, touched) for rule in policy.forbids)
        narrowing = [
            rule for rule, trace in zip(policy.forbids, forbids, strict=True) if trace.effect is Effect.NARROWS
        ]
        left = _Left(
            normalized(span for rule in narrowing if _of_ports(rule, rule_input) for span in rule.ext_ports or ()),
            [rule.remote for rule in narrowing if rule.remote is not None and not _of_ports(rule, rule_input)],
        )
        grants = tuple(_grant(rule, rule_input, names, touched, left, verdict) for rule in policy.grants)
    except Exception:
        return Explanation(verdict, (), (), (), None)
    lease_s = None if verdict.clamps is None else lifetime_s(request, verdict.clamps)
    return Explanation(verdict, tuple(sorted(names)), forbids, grants, lease_s)


class _Left(NamedTuple):
    """The ports and remote hosts that forbids take away."""

    blocked: PortRanges
    """External ports."""
    kept_out: Sequence[RemoteHosts]
    """Remote hosts."""


def _of_ports(rule: Forbid, rule_input: RuleInput) -> bool:
    """True where the forbid narrows the choice of the external port."""
    return rule.ext_ports is not None and rule_input.exact is None


def _forbid(rule: Forbid, rule_input: RuleInput, touched: frozenset[str]) -> RuleTrace:
    """``touched``: the names that a forbid considers (``possible_names``)."""
    concerns = rule.devices is None or bool(rule.devices & touched)
    wrong = [] if concerns else [f"is for {_listed(rule.devices)}"]
    wrong += [words for check in _FORBID for words in check(rule, rule_input)]
    if wrong:
        return RuleTrace(rule.name, Effect.NONE, "; ".join(wrong), concerns)
    if rule.ext_ports is not None and rule_input.exact is None:
        return RuleTrace(rule.name, Effect.NARROWS, f"takes away {ports_text(rule.ext_ports)}", concerns)
    if (stale := match.stale_refusal(rule, rule_input.facts)) is not None:
        return RuleTrace(rule.name, Effect.DENIES, stale[1], concerns)
    if rule.remote is not None and taken_away(rule.remote, rule_input.request) is TakenAway.SOME:
        return RuleTrace(rule.name, Effect.NARROWS, f"keeps out the remote hosts: {rule.remote.text}", concerns)
    return RuleTrace(rule.name, Effect.DENIES, _matched(rule, rule_input), concerns)


def _matched(rule: Forbid, rule_input: RuleInput) -> str:
    """The conditions of the rule that the request met, in words."""
    conditions = []
    if rule.devices is not None:
        conditions.append(f"for {_listed(rule.devices)}")
    if rule.zone is not None:
        conditions.append(f"zone {rule.zone}")
    if rule.zone_from is not None:
        conditions.append(f"requester in zone {rule.zone_from}")
    if rule.zone_for is not None:
        conditions.append(f"internal client in zone {rule.zone_for}")
    if rule.vias is not None:
        conditions.append(f"over {rule_input.request.via}")
    if rule.hours is not None:
        conditions.append(f"hours {rule.hours}")
    if rule.remote is not None:
        conditions.append(f"remote hosts: {rule.remote.text}")
    if rule.int_ports is not None:
        conditions.append(f"internal port {rule_input.int_port}")
    if rule.ext_ports is not None:
        conditions.append(f"external port {rule_input.exact}")
    return ", ".join(conditions) or "everything"


def _grant(
    rule: Grant,
    rule_input: RuleInput,
    names: frozenset[str],
    touched: frozenset[str],
    left: _Left,
    verdict: Verdict,
) -> RuleTrace:
    concerns = rule.devices is None or bool(rule.devices & names)
    mismatches = [] if concerns else [_not_for(rule, rule_input, touched)]
    mismatches += [words for check in _GRANT for words in check(rule, rule_input)]
    if mismatches:
        return RuleTrace(rule.name, Effect.NONE, "; ".join(mismatches), concerns)
    if not subtract(match.permitted(rule, rule_input), left.blocked):
        return RuleTrace(rule.name, Effect.NONE, "a forbid denies its external ports", concerns)
    if left.kept_out and not leaves_somebody(rule.remote, left.kept_out, rule_input.request):
        return RuleTrace(rule.name, Effect.NONE, "forbids keep out all of its remote hosts", concerns)
    if (refusal := match.grant_refusal(rule, rule_input)) is not None:
        return RuleTrace(rule.name, Effect.FULL, refusal[1], concerns)
    charged = verdict.rule == rule.name
    return RuleTrace(
        rule.name, Effect.CHARGED if charged else Effect.COVERS, _room(rule, rule_input.facts), concerns
    )


def _not_for(rule: Grant, rule_input: RuleInput, touched: frozenset[str]) -> str:
    """Says so where the requester matches a device of the grant by only one of its MAC address and IP address."""
    candidates = touched & (rule.devices or frozenset())
    doubt = f"; the requester matches {_listed(candidates)} only in part" if candidates and rule_input.own else ""
    return f"is for {_listed(rule.devices)}{doubt}"


def _room(rule: Grant, facts: Facts) -> str:
    if rule.max_mappings is None:
        text = "no limit on mappings"
    else:
        text = f"room {rule.max_mappings - facts.held.by_grant.get(rule.name, 0)}/{rule.max_mappings}"
    return f"{text}, waits for approval" if rule.approve else text


# -- conditions: each yields a sentence if it does not hold


def _ports(rule: Forbid | Grant, rule_input: RuleInput) -> Iterator[str]:
    if rule.int_ports is not None and not contains(rule.int_ports, rule_input.int_port):
        yield f"internal port {rule_input.int_port} is not in {ports_text(rule.int_ports)}"


def _kind(rule: Forbid | Grant, rule_input: RuleInput) -> Iterator[str]:
    if rule_input.request.transport not in rule.transports:
        yield f"is for {_listed(rule.transports)}"
    if rule_input.family not in rule.families:
        yield f"is for {_listed(rule.families)}"


def _ended(rule: Forbid | Grant, rule_input: RuleInput) -> Iterator[str]:
    if rule.until is not None and rule_input.facts.wall >= rule.until:
        yield f"ended {datetime.fromtimestamp(rule.until, UTC):%Y-%m-%d %H:%M} UTC"


def _forbidden_zone(rule: Forbid, rule_input: RuleInput) -> Iterator[str]:
    if rule.zone is not None and not rule_input.touches_zone(rule.zone):
        yield f"neither the requester nor the internal client is in zone {rule.zone}"


def _forbidden_ends(rule: Forbid, rule_input: RuleInput) -> Iterator[str]:
    if rule.zone_from is not None and not rule_input.requester_in(rule.zone_from):
        yield f"the requester is not in zone {rule.zone_from}"
    if rule.zone_for is not None and not rule_input.client_in(rule.zone_for):
        yield f"the internal client is not in zone {rule.zone_for}"


def _forbidden_via(rule: Forbid, rule_input: RuleInput) -> Iterator[str]:
    if rule.vias is not None and rule_input.request.via not in rule.vias:
        yield f"is for {_listed(rule.vias)}"


def _forbidden_hours(rule: Forbid, rule_input: RuleInput) -> Iterator[str]:
    if rule.hours is not None and not rule_input.in_hours(rule.hours):
        yield f"outside its hours {rule.hours}"


def _forbidden_remote(rule: Forbid, rule_input: RuleInput) -> Iterator[str]:
    if rule.remote is None or match.stale_refusal(rule, rule_input.facts) is not None:
        return
    if not _of_ports(rule, rule_input) and taken_away(rule.remote, rule_input.request) is TakenAway.NOTHING:
        yield f"is for the remote hosts: {rule.remote.text}"


def _forbidden_external(rule: Forbid, rule_input: RuleInput) -> Iterator[str]:
    if (
        rule.ext_ports is not None
        and rule_input.exact is not None
        and not contains(rule.ext_ports, rule_input.exact)
    ):
        yield f"external port {rule_input.exact} is not in {ports_text(rule.ext_ports)}"


def _target(rule: Grant, rule_input: RuleInput) -> Iterator[str]:
    if rule.targets and not any(rule_input.target in net for net in rule.targets):
        yield f"{rule_input.target} is not in {_listed(rule.targets)}"
    elif not rule.targets and not rule_input.own:
        yield "lets a device map only to itself"


def _granted_zone(rule: Grant, rule_input: RuleInput) -> Iterator[str]:
    if rule.zone is not None and not rule_input.fits_zone(rule.zone):
        yield f"is for zone {rule.zone}"


def _remote(rule: Grant, rule_input: RuleInput) -> Iterator[str]:
    ports = rule.remote_ports
    if ports is not None and not match.names_remote_ports(rule_input.request, ports):
        yield f"needs a request that names ports of the remote host, all in {ports_text(ports)}"
    elif not match.lets_connect(rule, rule_input):
        yield f"remote hosts: {rule.remote.text if rule.remote is not None else 'any'}"


def _granted_external(rule: Grant, rule_input: RuleInput) -> Iterator[str]:
    if match.permitted(rule, rule_input):
        return
    port = rule_input.int_port if rule_input.exact is None else rule_input.exact
    allowed = "1024-65535" if rule.ext_ports is None else ports_text(rule.ext_ports)
    yield f"external port {port} is not in {allowed}"


_FORBID: tuple[Callable[[Forbid, RuleInput], Iterator[str]], ...] = (
    _ports,
    _kind,
    _ended,
    _forbidden_zone,
    _forbidden_ends,
    _forbidden_via,
    _forbidden_hours,
    _forbidden_external,
    _forbidden_remote,
)
_GRANT: tuple[Callable[[Grant, RuleInput], Iterator[str]], ...] = (
    _ports,
    _kind,
    _ended,
    _target,
    _granted_zone,
    _remote,
    _granted_external,
)


def ports_text(ranges: PortRanges, most: int = 6) -> str:
    """``22, 137-139``, and how many ranges more beyond ``most``."""
    parts = [str(low) if low == high else f"{low}-{high}" for low, high in ranges[:most]]
    more = len(ranges) - len(parts)
    return ", ".join(parts) + (f" and {more} more" if more else "")


def _listed(items: Iterable[object] | None, most: int = 6) -> str:
    words = sorted(map(str, items or ()))
    more = len(words) - most
    return ", ".join(words[:most]) + (f" and {more} more" if more > 0 else "") or "nobody"
