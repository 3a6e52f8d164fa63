"""The longest lease of an answer, and the requests for which it is longer than a bound."""

from upnp_gw.gate.hours import Hours
from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof.boxes import Region
from upnp_gw.gate.proof.space import Space
from upnp_gw.gate.proof.spans import Spans
from upnp_gw.gate.schema import Grant, Policy
from upnp_gw.model.mapping import Via


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


def _before_end(space: Space, policy: Policy, hours: Hours | None, bound_s: int) -> Region:
    """The minutes at whose begin more than these seconds of the hours are left."""
    if hours is None or hours.constant:
        return [{}]
    at = space.calendars.index(policy.calendar)
    days: dict[Spans, int] = {}
    for bit, day in enumerate(space.days):
        spans = tuple(
            (first, first + _count(hours, day.ordinal, first, last, policy, bound_s) - 1)
            for first, last in hours.minutes_of(*day.kinds[at])
        )
        spans = tuple(span for span in spans if span[0] <= span[1])
        days[spans] = days.get(spans, 0) | 1 << bit
    return [space.restricting({d.DAY: bits, d.MINUTE: spans}) for spans, bits in days.items() if spans]


def _count(hours: Hours, ordinal: int, first: int, last: int, policy: Policy, bound_s: int) -> int:
    """The number of minutes of a part of a day, from its begin on, at which more than these seconds are left."""
    left = hours.changes_in_min(ordinal, first, policy.calendar)
    if left is None:
        return last - first + 1
    return max(0, min(last - first + 1, left - bound_s // 60))
