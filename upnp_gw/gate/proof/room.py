"""Room: what earlier mappings leave of the quotas. A witness is tried with several such states, the simplest first.

Room is an assignment: a grant has some or none. Where the gateway chooses the external port, the device's quota can
also be full but for one port, which the device has at another of its addresses and which does not count twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from upnp_gw.gate.decision import HeldMappings
from upnp_gw.gate.schema import Grant, Policy

FULL = 65535


@dataclass(frozen=True, slots=True)
class Room:
    """The quotas at the moment of a request. The default: everything has room."""

    full: frozenset[str] = frozenset()
    """Grants without room."""
    counted: str | None = None
    """The grant under which the device has the request's external port already, at another address. Its quota has
    room for this port alone. None: its quota has room."""
    stale: frozenset[str] = frozenset()
    """Address lists that are out of date."""

    def held(self, policy: Policy, ext_port: int) -> HeldMappings:
        """The mappings of the device. ``ext_port``: of the request."""
        by_grant = dict.fromkeys(sorted(self.full), FULL)
        if self.counted is None:
            return HeldMappings(by_grant=by_grant)
        most = policy.limits.per_device
        return HeldMappings(most, most, by_grant, on_port={ext_port: frozenset({self.counted})})

    def int_ports_today(self, policy: Policy, int_port: int) -> frozenset[int]:
        """Internal ports of the device today, without this one: so many that the grants that count nothing else
        are full, and no more."""
        most = max(
            (
                grant.max_ports_per_day
                for grant in policy.grants
                if grant.name in self.full and grant.max_mappings is None and grant.max_ports_per_day is not None
            ),
            default=0,
        )
        return frozenset([port for port in range(1, most + 2) if port != int_port][:most])


ROOM = Room()


def limited(grant: Grant) -> bool:
    """True where the grant may have no room."""
    return grant.max_mappings is not None or grant.max_ports_per_day is not None


def implied(grant: Grant, other: Grant) -> bool:
    """True where the grant has room whenever the other one has: always, or because both count the same ports of a
    day."""
    days, its = grant.max_ports_per_day, other.max_ports_per_day
    return grant.max_mappings is None and (days is None or (its is not None and its <= days))


def rooms(policy: Policy, grant: Grant | None, chosen: bool = True) -> Iterator[Room]:
    """States in which this grant decides, if any is: those before it have no room. The simplest first. ``chosen``:
    also where only a port is left that the device has already."""
    yield ROOM
    if grant is None:
        return
    full = frozenset(other.name for other in policy.grants if other is not grant and limited(other))
    stale = _stale(policy, grant)
    if full:
        yield Room(full)
    if stale:
        yield Room(full, stale=stale)
    if chosen:
        yield Room(full, grant.name)
        if stale:
            yield Room(full, grant.name, stale)


def _stale(policy: Policy, grant: Grant) -> frozenset[str]:
    """The address lists that can be out of date and on which other grants depend, but not this one."""
    own = frozenset[str]() if grant.remote is None else grant.remote.sets
    others = {name for other in policy.grants if other.remote is not None for name in other.remote.sets}
    return frozenset(
        name for name, one in policy.sets.items() if name in others - own and one.max_age_s is not None
    )
