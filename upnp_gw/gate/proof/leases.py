"""The longest lease of an answer, and the requests for which it is longer than a bound."""

from collections.abc import Iterator
from dataclasses import replace

from upnp_gw.gate.hours import DAY_MIN, LOOK_DAYS, Hours
from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof import rules
from upnp_gw.gate.proof.boxes import Region, crossed
from upnp_gw.gate.proof.days import Day
from upnp_gw.gate.proof.dimensions import Shape
from upnp_gw.gate.proof.space import Space
from upnp_gw.gate.proof.spans import Spans, without
from upnp_gw.gate.schema import Grant, Policy
from upnp_gw.model.mapping import DAY_S, Via

WHOLE_DAY: Spans = ((0, DAY_MIN - 1),)


def longest_lease_s(policy: Policy, grant: Grant | None, via: Via) -> int:
    """Seconds of the longest lease that the grant gives over this protocol; None: the limits alone count."""
    limits = policy.limits
    if via.datagram:
        return min(limits.max_ttl_s, (grant and grant.max_ttl_s) or limits.max_ttl_s)
    return min(limits.max_hold_s, (grant and grant.max_hold_s) or limits.max_hold_s)


def longer(space: Space, policy: Policy, grant: Grant | None, via: Via, bound_s: int) -> Region:
    """The points at which the grant can give a lease of more than ``bound_s`` seconds. Over PCP and NAT-PMP a lease
    ends with the grant and with its hours."""
    if longest_lease_s(policy, grant, via) <= bound_s:
        return []
    if grant is None or grant.approve or not via.datagram:
        return [{}]
    times = space.before(grant.until, bound_s)
    return [{**times, **box} for box in _before_end(space, policy, grant.hours, bound_s)]


def days_ahead(policy: Policy, bound_s: int) -> int:
    """The number of days after today whose kinds decide whether a lease is longer than the bound."""
    if not (policy.calendar.dates or policy.calendar.yearly):
        return 0
    return min(LOOK_DAYS, bound_s // DAY_S + 1)


def cut_short(space: Space, policy: Policy, bound_s: int) -> Region:
    """The points at which a lease over PCP and NAT-PMP is not longer than the bound, because the hours of a forbid
    begin or end before: the gate decides again then."""
    region: Region = []
    for forbid in policy.forbids:
        if forbid.hours is None or forbid.hours.constant:
            continue
        matching = rules.forbid_region(space, policy, replace(forbid, hours=None, remote=None, ext_ports=None))
        named: Region = [{d.SHAPE: Shape.CHOSEN}]
        named += crossed(rules.external(forbid.ext_ports), [{d.SHAPE: Shape.EXACT | Shape.PINHOLE}])
        soon = _days(space, forbid.hours, policy, bound_s, soon=True)
        region += crossed(matching, [{}] if forbid.ext_ports is None else named, soon)
    return region


def _before_end(space: Space, policy: Policy, hours: Hours | None, bound_s: int) -> Region:
    """The minutes at whose begin more than these seconds of the hours are left."""
    if hours is None or hours.constant:
        return [{}]
    return _days(space, hours, policy, bound_s, soon=False)


def _days(space: Space, hours: Hours, policy: Policy, bound_s: int, soon: bool) -> Region:
    """The minutes of the hours at whose begin more than these seconds are left until they end. ``soon``: those of
    any time at which they begin or end before."""
    at = space.calendars.index(policy.calendar)
    days: dict[Spans, int] = {}
    for bit, day in enumerate(space.days):
        inside = hours.minutes_of(*day.kinds[at])
        if soon:
            later = _long_before(hours, day, (*inside, *without(WHOLE_DAY, inside)), policy, bound_s)
            spans = without(WHOLE_DAY, tuple(sorted(later)))
        else:
            spans = tuple(_long_before(hours, day, inside, policy, bound_s))
        days[spans] = days.get(spans, 0) | 1 << bit
    return [space.restricting({d.DAY: bits, d.MINUTE: spans}) for spans, bits in days.items() if spans]


def _long_before(hours: Hours, day: Day, parts: Spans, policy: Policy, bound_s: int) -> Iterator[tuple[int, int]]:
    """The minutes of parts of a day, in none of which the hours begin or end, at which more than these seconds are
    left until they do."""
    for first, last in parts:
        left = hours.changes_in_min(day.ordinal, first, policy.calendar)
        count = last - first + 1 if left is None else min(last - first + 1, left - bound_s // 60)
        if count > 0:
            yield first, first + count - 1
