"""``decide(policy, facts, request)``: the verdict on every request of every protocol.

Pure; it returns a verdict for every input. The order is floor, limits, forbids, grants, clamps; the order of rules
in the policy file does not matter. An error inside is a denial, and so is a request that no rule allows (SR-18).
"""

from collections.abc import Mapping
from math import ceil
from typing import TypeVar

from upnp_gw.gate import floor
from upnp_gw.gate.decision import FAULT, Clamps, Facts, Outcome, PortRanges, Verdict
from upnp_gw.gate.facts import names_of, possible_names
from upnp_gw.gate.match import (
    GrantRefusal,
    RuleInput,
    counted_ports,
    covers,
    forbids,
    grant_refusal,
    permitted,
    quota_refusal,
    stale_refusal,
)
from upnp_gw.gate.portset import ALL_PORTS, UNPRIVILEGED, intersection, normalized, subtract
from upnp_gw.gate.remote import RemoteHosts
from upnp_gw.gate.remote_match import EVERYBODY, TakenAway, leaves_somebody, narrowed_to, taken_away
from upnp_gw.gate.schema import OBSERVE_RULE, OPERATOR_RULE, DeviceRules, Forbid, Grant, Mode, Policy
from upnp_gw.gate.values import duration_text
from upnp_gw.model.mapping import Via
from upnp_gw.model.request import MapRequest, Refusal

Rule = TypeVar("Rule", Forbid, Grant)

SAME_PORT_ONLY = "the internal client's LAN has no NAT: the external port can only be the internal port"
"""The reason of ``Refusal.SAME_PORT``."""


def decide(policy: Policy, facts: Facts, request: MapRequest) -> Verdict:
    """Allow with clamps, deny, or ask. Never raises; an error never allows."""
    try:
        return _Decision(policy, facts, request).verdict()
    except Exception as error:
        trace = (f"fault: {type(error).__name__}", FAULT)
        return Verdict(Outcome.DENY, None, Refusal.NOT_AUTHORIZED, trace, None, policy.digest)


def lifetime_s(request: MapRequest, clamps: Clamps) -> int:
    """Seconds of the lease: at most ``max_ttl_s`` over NAT-PMP and PCP, at most ``max_hold_s`` otherwise."""
    longest = clamps.max_ttl_s if request.via in (Via.NATPMP, Via.PCP) else clamps.max_hold_s
    return longest if request.lifetime_s is None else min(request.lifetime_s, longest)


class _Decision:
    """The state of one decision."""

    def __init__(self, policy: Policy, facts: Facts, request: MapRequest) -> None:
        self.policy = policy
        self.facts = facts
        self.request = request
        self.trace: list[str] = []
        self.blocked: PortRanges = ()
        """External ports that the gateway may not choose, because of a forbid."""
        self.kept_out: list[RemoteHosts] = []
        """Remote hosts that may not connect, because of a forbid."""
        self.blocked_by: str | None = None
        """A forbid that narrows the ports or the remote hosts."""
        self.changes_s: list[float] = []
        """Seconds until the hours of a forbid for this request begin or end."""
        self.room: PortRanges | None = None
        """None: the device's quota has room. Else the external ports that are already counted: only these are
        left."""

    def verdict(self) -> Verdict:
        if broken := floor.violation(self.facts, self.request):
            return self.deny(*broken)
        self.trace.append("floor ok")
        if self.request.via is Via.OPERATOR:
            return self.operator()
        if over := self.over_limit():
            return self.deny(*over)
        rule_input = RuleInput(self.policy, self.facts, self.request)
        return self.forbidden(rule_input) or self.granted(rule_input)

    def deny(self, refusal: Refusal, reason: str, rule: str | None = None) -> Verdict:
        return self.answer(Outcome.DENY, rule, refusal, reason, None)

    def ask(self, reason: str, rule: str | None = None) -> Verdict:
        if self.request.pinhole and self.request.needs_nat:  # an approval could not open it
            return self.deny(Refusal.SAME_PORT, SAME_PORT_ONLY, rule)
        return self.answer(Outcome.ASK, rule, Refusal.ASK, reason, None)

    def allow(self, rule: str, reason: str, clamps: Clamps) -> Verdict:
        lifetime = lifetime_s(self.request, clamps)
        requested_s = self.request.lifetime_s
        if requested_s is not None and requested_s > lifetime:
            self.trace.append(f"lease cut from {duration_text(requested_s)} to {duration_text(lifetime)}")
        return self.answer(Outcome.ALLOW, rule, None, reason, clamps)

    def answer(
        self, outcome: Outcome, rule: str | None, refusal: Refusal | None, reason: str, clamps: Clamps | None
    ) -> Verdict:
        return Verdict(outcome, rule, refusal, (*self.trace, reason), clamps, self.policy.digest)

    def operator(self) -> Verdict:
        """Only the floor applies to the operator, and the lease is not cut."""
        limits, requested_s = self.policy.limits, self.request.lifetime_s or 0
        clamps = Clamps(limits.max_ttl_s, max(limits.max_hold_s, requested_s), self.choices(UNPRIVILEGED))
        return self.allow(OPERATOR_RULE, "requested by the operator", clamps)

    def choices(self, choosable: PortRanges) -> PortRanges:
        """The port of an exact request, else the ports to choose from."""
        exact = floor.exact_external(self.request)
        return choosable if exact is None else ((exact, exact),)

    def over_limit(self) -> tuple[Refusal, str] | None:
        facts, limits = self.facts, self.policy.limits
        asking = not (facts.restoring or facts.renewing)
        # The rate comes first: the audit log counts these refusals in one record. A frozen device is the most
        # likely one to flood the log.
        if asking and facts.changes_last_minute >= limits.requests_per_minute:
            return Refusal.RATE, f"more than {limits.requests_per_minute} changes in a minute"
        if facts.quarantined:
            owner = "this device" if facts.target_device == facts.device else "this device or the internal client"
            return Refusal.NOT_AUTHORIZED, f"{owner} is in quarantine after an incident"
        if facts.restoring:
            return None
        if asking and facts.frozen and not facts.standing:
            return Refusal.NOT_AUTHORIZED, "this device is frozen after an incident"
        return self.over_quota()

    def over_quota(self) -> tuple[Refusal, str] | None:
        facts, held, limits = self.facts, self.facts.held, self.policy.limits
        if held.by_device >= limits.per_device:
            self.room = normalized((port, port) for port in held.on_port)
            if not intersection(self.choices(ALL_PORTS), self.room):
                return self.full()
        if held.elements >= limits.elements_per_device and not facts.standing:
            most = limits.elements_per_device
            return Refusal.QUOTA, f"this device uses {most} elements of the kernel's tables, its limit"
        if held.total >= limits.total_mappings:
            return Refusal.TABLE_FULL, f"the gateway is at its limit of {limits.total_mappings} mappings"
        self.trace.append(
            f"limits ok: device {held.by_device}/{limits.per_device}, elements {held.elements}/"
            f"{limits.elements_per_device}, all {held.total}/{limits.total_mappings}"
        )
        return None

    def forbidden(self, rule_input: RuleInput) -> Verdict | None:
        names = possible_names(self.policy, self.facts, self.request.internal.address)
        rules, count = _concerning(
            self.policy.forbids_of, self.policy.forbids_of_anyone, names, rule_input.int_port
        )
        matching = [rule for rule in rules if forbids(rule, rule_input) and self.in_force(rule, rule_input)]
        denying: list[Forbid] = []
        narrowing: list[Forbid] = []
        for rule in matching:
            # If the gateway chooses the port, a forbid of external ports only narrows the choice. One of remote
            # hosts keeps them out, if the request does not name them.
            if rule.ext_ports is not None and rule_input.exact is None:
                narrowing.append(rule)
                continue
            taken = TakenAway.ALL if rule.remote is None else taken_away(rule.remote, self.request)
            if (taken is not TakenAway.ALL) and (stale := stale_refusal(rule, self.facts)) is not None:
                return self.deny(*stale, rule.name)
            if taken is TakenAway.ALL:
                denying.append(rule)
            elif taken is TakenAway.SOME:
                narrowing.append(rule)
        self.trace.append(f"forbids {len(denying)}/{count}")
        if denying:
            name = denying[0].name
            return self.deny(Refusal.NOT_AUTHORIZED, f"forbidden by rule {name}", name)
        if narrowing:
            self.narrow(narrowing, rule_input)
        return None

    def in_force(self, rule: Forbid, rule_input: RuleInput) -> bool:
        """False outside the hours of a forbid. Notes when that will be different."""
        if rule.hours is None:
            return True
        if (change_s := rule_input.change_s(rule.hours)) is not None:
            self.changes_s.append(change_s)
        return rule_input.in_hours(rule.hours)

    def narrow(self, rules: list[Forbid], rule_input: RuleInput) -> None:
        """Notes what these forbids take away from the ports and from the remote hosts."""
        self.blocked_by = rules[0].name
        for rule in rules:
            if rule.ext_ports is not None and rule_input.exact is None:
                self.blocked = normalized((*self.blocked, *rule.ext_ports))
            elif rule.remote is not None:
                self.kept_out.append(rule.remote)

    def granted(self, rule_input: RuleInput) -> Verdict:
        names = names_of(self.policy, self.facts)
        rules, count = _concerning(self.policy.grants_of, self.policy.grants_of_anyone, names, rule_input.int_port)
        matching = [
            (rule, ports) for rule in rules if covers(rule, rule_input) and (ports := permitted(rule, rule_input))
        ]
        first_refusal: tuple[Refusal, str, str] | None = None
        for rule, ports in matching:
            open_ports = subtract(ports, self.blocked) if self.blocked else ports
            if not open_ports or (self.kept_out and not leaves_somebody(rule.remote, self.kept_out, self.request)):
                continue
            refusal = grant_refusal(rule, rule_input)
            if refusal is None:
                open_ports, refusal = self.with_room(rule, open_ports)
            if refusal is None:
                return self.charge(rule, rule_input, open_ports, f"{len(matching)}/{count}")
            # grants are in the order of their rank, so the first refusal is that of the preferred grant
            first_refusal = first_refusal or (*refusal, rule.name)
        self.trace.append(f"grants {len(matching)}/{count}")
        if self.observed(rule_input):
            return self.observe("would-deny: no grant with room" if first_refusal else "would-deny: no grant")
        if first_refusal is not None:
            return self.deny(*first_refusal)
        if matching:
            return self.deny(Refusal.NOT_AUTHORIZED, f"forbidden by rule {self.blocked_by}", self.blocked_by)
        return self.ungranted(rule_input)

    def charge(self, rule: Grant, rule_input: RuleInput, open_ports: PortRanges, count: str) -> Verdict:
        room = ""
        if rule.max_mappings is not None:
            free = rule.max_mappings - self.facts.held.by_grant.get(rule.name, 0)
            room = f": room {free}/{rule.max_mappings}"
        self.trace.append(f"grants {count} ({rule.name}{room})")
        if rule.approve:
            if self.observed(rule_input):
                return self.observe("would-ask: the grant needs approval")
            return self.ask(f"rule {rule.name} waits for the operator's approval", rule.name)
        limits, ends_in_s = self.policy.limits, rule_input.left_s(rule)
        if self.changes_s:
            ends_in_s = min(self.changes_s) if ends_in_s is None else min(*self.changes_s, ends_in_s)
        remote, screen = EVERYBODY
        if rule.remote is not None or self.kept_out:
            remote, screen = narrowed_to(rule.remote, self.kept_out, self.request)
        ttl_s = min(limits.max_ttl_s, rule.max_ttl_s or limits.max_ttl_s)
        clamps = Clamps(
            max_ttl_s=ttl_s if ends_in_s is None else max(1, min(ttl_s, ceil(ends_in_s))),
            max_hold_s=min(limits.max_hold_s, rule.max_hold_s or limits.max_hold_s),
            external_ports=open_ports,
            external=rule.external,
            remote=remote,
            screen=screen,
            ends_in_s=ends_in_s,
        )
        return self.allow(rule.name, f"granted by rule {rule.name}", clamps)

    def leaves_nobody(self) -> bool:
        """True where the forbids keep out every remote host of the request."""
        return bool(self.kept_out) and not leaves_somebody(None, self.kept_out, self.request)

    def with_room(self, rule: Grant, ports: PortRanges) -> tuple[PortRanges, GrantRefusal | None]:
        """The ports that the quotas allow: if one is full, only the ports that are already counted."""
        open_ports = ports if self.room is None else intersection(ports, self.room)
        if not open_ports:
            return open_ports, self.full()
        counted = counted_ports(rule, self.facts)
        open_ports = open_ports if counted is None else intersection(open_ports, counted)
        return open_ports, None if open_ports else quota_refusal(rule)

    def full(self) -> GrantRefusal:
        """The refusal of a device whose quota is full."""
        most = self.policy.limits.per_device
        return Refusal.QUOTA, f"this device is at its limit of {most} mappings"

    def observed(self, rule_input: RuleInput) -> bool:
        """True where observe mode allows a request without a grant: for the device itself, and no port below
        1024."""
        return self.policy.mode is Mode.OBSERVE and rule_input.own and not rule_input.privileged

    def observe(self, why: str) -> Verdict:
        ports = subtract(self.choices(UNPRIVILEGED), self.blocked)
        if not ports or self.leaves_nobody():
            return self.deny(Refusal.NOT_AUTHORIZED, f"forbidden by rule {self.blocked_by}", self.blocked_by)
        if self.room is not None and not (ports := intersection(ports, self.room)):
            return self.deny(*self.full())
        limits = self.policy.limits
        self.trace.append(why)
        remote, screen = narrowed_to(None, self.kept_out, self.request)
        ends_in_s = min(self.changes_s, default=None)
        clamps = Clamps(
            max_ttl_s=limits.max_ttl_s if ends_in_s is None else max(1, min(limits.max_ttl_s, ceil(ends_in_s))),
            max_hold_s=limits.max_hold_s,
            external_ports=ports,
            remote=remote,
            screen=screen,
            ends_in_s=ends_in_s,
        )
        return self.allow(OBSERVE_RULE, "allowed: the gateway is in observe mode", clamps)

    def ungranted(self, rule_input: RuleInput) -> Verdict:
        if not rule_input.own:
            return self.deny(Refusal.NOT_AUTHORIZED, "a device may map ports only to itself")
        if rule_input.privileged:
            return self.deny(Refusal.NOT_AUTHORIZED, "a port below 1024 needs a grant that names it")
        if self.leaves_nobody():
            return self.deny(Refusal.NOT_AUTHORIZED, f"forbidden by rule {self.blocked_by}", self.blocked_by)
        if self.policy.default is Outcome.ASK:
            return self.ask("no grant covers this request; the operator is asked")
        return self.deny(Refusal.NOT_AUTHORIZED, "no grant covers this request")


def _concerning(
    of: Mapping[str, DeviceRules[Rule]], of_anyone: DeviceRules[Rule], names: frozenset[str], int_port: int
) -> tuple[tuple[Rule, ...], int]:
    """The rules that can match these names at this port, in order, and how many rules these names have in all."""
    if len(names) < 2:
        rules = of[next(iter(names))] if names else of_anyone
        return rules.at(int_port), len(rules.every)
    rule_sets = [of[name] for name in names]
    rules_by_name = {rule.name: rule for rules in rule_sets for rule in rules.at(int_port)}
    count = len({rule.name for rules in rule_sets for rule in rules.every})
    return tuple(sorted(rules_by_name.values(), key=_order)), count


def _order(rule: Forbid | Grant) -> tuple[bool, str]:
    return rule.rank if isinstance(rule, Grant) else (False, rule.name)
