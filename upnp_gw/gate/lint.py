"""Warnings about a policy: grants that match nothing, forbids that override grants, wide grants, overdue reviews.

A mistake that would open more than its author meant (an unknown name in a forbid, a name used twice) is an error
and is found earlier, by ``build``.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from upnp_gw.gate.decision import External
from upnp_gw.gate.floor import PRIVILEGED_BELOW
from upnp_gw.gate.hours import EVERY_DAY, HOLIDAY, NO_HOLIDAYS
from upnp_gw.gate.portset import ALL_PORTS, includes, intersection
from upnp_gw.gate.proof.answers import Answer, Answers
from upnp_gw.gate.proof.boxes import UNDECIDED, Effort
from upnp_gw.gate.proof.overlaps import overlaps
from upnp_gw.gate.proof.space import Space
from upnp_gw.gate.schema import ANYWHERE, Family, Forbid, Grant, Policy
from upnp_gw.gate.values import duration_text

MOST_STEPS = 200_000
"""Most steps to look for grants without effect: well under a second."""
MOST_NOTES = 20
"""Most notes about grants that match the same requests."""
NO_REQUEST = "no effect: no request meets all its conditions"
"""Left out where another warning about the grant says why."""
VERSION_OF = {Family.IP4: 4, Family.IP6: 6}


@dataclass(frozen=True, slots=True)
class Finding:
    """One warning: the rule or device, and a sentence about it."""

    about: str
    text: str

    def __str__(self) -> str:
        return f"{self.about}: {self.text}"


def lint(policy: Policy, today: date) -> tuple[Finding, ...]:
    """All warnings, in a fixed order."""
    findings = [Finding(about, text) for check in _WHOLE for about, text in check(policy)]
    for grant in policy.grants:
        findings += [Finding(f"grant {grant.name}", text) for check in _GRANT for text in check(policy, grant)]
        if grant.review_by is not None and grant.review_by < today:
            findings.append(Finding(f"grant {grant.name}", f"its review was due on {grant.review_by}"))
    rules: tuple[Forbid | Grant, ...] = (*policy.forbids, *policy.grants)
    for rule in rules:
        if rule.until is not None and (ended := datetime.fromtimestamp(rule.until, UTC).date()) < today:
            findings.append(Finding(_named(rule), f"no effect: it ended on {ended}"))
    explained = {finding.about for finding in findings if finding.text != NO_REQUEST}
    return tuple(one for one in findings if one.text != NO_REQUEST or one.about not in explained)


def _shared_macs(policy: Policy) -> Iterator[tuple[str, str]]:
    for mac, devices in policy.by_mac.items():
        lans = [lan for device in devices for lan in device.lans or {""}]
        if len(devices) > 1 and (len(set(lans)) < len(lans) or ANYWHERE in lans):
            names = ", ".join(device.name for device in devices)
            yield f"device {devices[0].name}", f"{mac} is the MAC address of several devices: {names}"


def _careless_limits(policy: Policy) -> Iterator[tuple[str, str]]:
    if policy.limits.per_device > policy.limits.total_mappings:
        yield "limits", "per_device is above total_mappings: one device can fill the table"
    if policy.limits.elements_per_device < policy.limits.per_device:
        yield "limits", "elements_per_device is below per_device: each mapping needs an element"


def _wide_forbids(policy: Policy) -> Iterator[tuple[str, str]]:
    for forbid in policy.forbids:
        if overrides(forbid, Grant("", None, int_ports=ALL_PORTS)):
            yield f"forbid {forbid.name}", "denies every request"


def _empty_groups(policy: Policy) -> Iterator[tuple[str, str]]:
    for name, members in policy.groups.items():
        if not members:
            yield f"group {name}", "has no members"


def _lists(policy: Policy) -> Iterator[tuple[str, str]]:
    rules: tuple[Forbid | Grant, ...] = (*policy.forbids, *policy.grants)
    named = frozenset(name for rule in rules if rule.remote is not None for name in rule.remote.sets)
    for name, one in sorted(policy.sets.items()):
        if name not in named:
            yield f"set {name}", "no rule names it"
        elif not one.ranges:
            yield f"set {name}", "has no addresses"
    for rule in rules:
        for name in sorted(() if rule.remote is None else rule.remote.sets - policy.sets.keys()):
            yield _named(rule), f"no set of the policy is named {name}"


def _days_without_holidays(policy: Policy) -> Iterator[tuple[str, str]]:
    if policy.calendar != NO_HOLIDAYS:
        return
    rules: tuple[Forbid | Grant, ...] = (*policy.forbids, *policy.grants)
    for rule in rules:
        windows = () if rule.hours is None else rule.hours.windows
        if any(HOLIDAY in window.days and window.days != EVERY_DAY for window in windows):
            yield _named(rule), "hours name holidays, and the policy has none: write holidays = [...]"


def _named(rule: Forbid | Grant) -> str:
    return f"{'grant' if isinstance(rule, Grant) else 'forbid'} {rule.name}"


def _nobody(policy: Policy, grant: Grant) -> Iterator[str]:
    if grant.devices is None:
        return
    unknown = sorted(grant.devices - policy.devices.keys())
    if unknown:
        yield f"no device of this file is named {', '.join(unknown)}"
    if not grant.devices & policy.devices.keys():
        yield "no effect: it is for no device"


def _without_effect(policy: Policy) -> Iterator[tuple[str, str]]:
    """Grants that no request gets, over all requests. What takes too many steps is left out."""
    try:
        answers = Answers(Space([policy]), policy, Effort(MOST_STEPS))
        for answer in answers.granted:
            grant = answer.grant
            if grant is None or (grant.devices is not None and not grant.devices & policy.devices.keys()):
                continue  # for no device: another warning says so
            if text := _reason(answers, answer, grant):
                yield f"grant {answer.rule}", text
    except UNDECIDED:
        return


def _reason(answers: Answers, answer: Answer, grant: Grant) -> str:
    """The reason why the grant has no effect; empty: it has one."""
    if next(answers.points(answer, [{}]), None) is None:
        if next(answers.points(replace(answer, rule=f"{answer.rule} alone", taken=[]), [{}]), None) is None:
            return NO_REQUEST
        names = [forbid.name for forbid in answers.policy.forbids if answers.meets(forbid, answer)]
        alone = [name for name in names if answers.denies(name, answer)]
        if alone:
            return f"no effect: forbid {alone[0]} denies all of it"
        return f"no effect: forbids {', '.join(names)} deny all of it"
    if next(answers.points(answer, [{}], answers.charged_before(grant)), None) is None:
        return _come_first(answers, answer)
    return ""


def _come_first(answers: Answers, answer: Answer) -> str:
    """The grants that are charged before this one whatever it matches: one of them, if it is enough."""
    earlier = answers.granted[: answers.granted.index(answer)]
    lasting = [other for other in earlier if answers.always_has_room(other)]
    before = [other for other in lasting if next(answers.points(answer, other.region), None) is not None]
    for other in before:
        if next(answers.points(answer, [{}], other.region), None) is None:
            return f"no effect: grant {other.rule} comes first, allows all of it and always has room"
    names = ", ".join(other.rule for other in before)
    return f"no effect: grants {names} come first, allow all of it together and always have room"


def overlap_notes(policy: Policy, findings: Collection[Finding]) -> tuple[Finding, ...]:
    """Each pair of grants that match the same requests, with the one that decides: no mistake, but worth knowing.
    ``findings``: the warnings; a grant without effect is named there."""
    dead = {finding.about for finding in findings if finding.text.startswith("no effect")}
    notes: list[Finding] = []
    try:
        for one in overlaps(policy, MOST_STEPS):
            if f"grant {one.first.name}" in dead or f"grant {one.second.name}" in dead:
                continue
            if len(notes) == MOST_NOTES:
                return (*notes, Finding("grants", "more of them match the same requests"))
            notes.append(Finding(f"grants {one.first.name} and {one.second.name}", f"both match {one}"))
    except UNDECIDED:
        return (*notes, Finding("grants", "not known whether more of them match the same requests: too many steps"))
    return tuple(notes)


def overrides(forbid: Forbid, grant: Grant) -> bool:
    """True where the forbid denies everything that the grant would allow."""
    everyone = forbid.devices is None
    return (
        (everyone or (grant.devices is not None and grant.devices <= (forbid.devices or frozenset())))
        and forbid.zone in (None, grant.zone)
        and (forbid.zone_from, forbid.zone_for, forbid.vias, forbid.remote, forbid.hours) == (None,) * 5
        and grant.families <= forbid.families
        and grant.transports <= forbid.transports
        and (forbid.int_ports is None or includes(forbid.int_ports, grant.int_ports))
        and (forbid.ext_ports is None or includes(forbid.ext_ports, _external_ports(grant)))
    )


def _external_ports(grant: Grant) -> tuple[tuple[int, int], ...]:
    return grant.ext_ports or ALL_PORTS


def _no_port(policy: Policy, grant: Grant) -> Iterator[str]:
    same_only = grant.external is External.SAME or grant.families == {Family.IP6}
    if grant.ext_ports is not None and not intersection(grant.ext_ports, grant.int_ports):
        if Family.IP6 in grant.families:
            yield "allows no IPv6 pinhole: a pinhole has one port, and no port is in both int_ports and ext_ports"
        if same_only:
            yield (
                "no effect where the gateway chooses: the ports must be equal, and none is in both int_ports and"
                " ext_ports"
            )


def _no_remote(policy: Policy, grant: Grant) -> Iterator[str]:
    for family in sorted(grant.families):
        version = VERSION_OF[family]
        # a list may get addresses of the other family at any time
        if grant.remote is not None and not grant.remote.sets and not grant.remote.any_of(version):
            yield f"allows no {family} request: remote has no IPv{version} prefix"
        if grant.targets and all(net.version != version for net in grant.targets):
            yield f"allows no {family} request: for has no IPv{version} prefix"


def _wide(policy: Policy, grant: Grant) -> Iterator[str]:
    if grant.devices is None and grant.zone is None:
        if grant.targets:
            yield "every device may map ports to other hosts"
        if not grant.approve and intersection(grant.int_ports, ((1, PRIVILEGED_BELOW - 1),)):
            yield "every device may map ports below 1024"
    if any(net.prefixlen == 0 for net in grant.targets):
        yield "for includes every host of every LAN"


def _beyond_limits(policy: Policy, grant: Grant) -> Iterator[str]:
    for key, value, limit in (
        ("max_ttl", grant.max_ttl_s, policy.limits.max_ttl_s),
        ("max_hold", grant.max_hold_s, policy.limits.max_hold_s),
    ):
        if value is not None and value > limit:
            yield f"{key} is above [limits] {key}; {duration_text(limit)} applies"
    if grant.max_mappings is not None and grant.max_mappings > policy.limits.per_device:
        yield f"max_mappings is above [limits] per_device; {policy.limits.per_device} applies"


def _idle_approval(policy: Policy, grant: Grant) -> Iterator[str]:
    if grant.approve_for_s is not None and not grant.approve:
        yield "approve_for has no effect without approve = true"


_WHOLE: tuple[Callable[[Policy], Iterator[tuple[str, str]]], ...] = (
    _careless_limits,
    _shared_macs,
    _empty_groups,
    _wide_forbids,
    _lists,
    _days_without_holidays,
    _without_effect,
)
_GRANT: tuple[Callable[[Policy, Grant], Iterator[str]], ...] = (
    _nobody,
    _no_port,
    _no_remote,
    _wide,
    _beyond_limits,
    _idle_approval,
)
