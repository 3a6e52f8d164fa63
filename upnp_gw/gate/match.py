"""The conditions of forbids and grants: whether a rule matches a request, and whether a grant has room for it."""

from collections.abc import Callable

from upnp_gw.gate import floor
from upnp_gw.gate.decision import External, Facts, PortRanges
from upnp_gw.gate.portset import UNPRIVILEGED, contains, normalized
from upnp_gw.gate.schema import Family, Forbid, Grant, Policy
from upnp_gw.model.mapping import DAY_S, IPAddress, IPNetwork
from upnp_gw.model.prefixes import inside
from upnp_gw.model.request import MapRequest, Refusal

DAY_MIN = DAY_S // 60


class RuleInput:
    """The values of a request that the rules read, worked out once."""

    __slots__ = (
        "_zones",
        "exact",
        "facts",
        "family",
        "int_port",
        "own",
        "policy",
        "privileged",
        "request",
        "target",
    )

    def __init__(self, policy: Policy, facts: Facts, request: MapRequest) -> None:
        self.policy = policy
        self.facts = facts
        self.request = request
        self.target: IPAddress = request.internal.address
        self.family = Family.IP6 if self.target.version == 6 else Family.IP4
        self.int_port = request.internal.port
        self.exact = floor.exact_external(request)
        self.own = floor.is_own(facts, request)
        self.privileged = floor.is_privileged(request)
        self._zones: dict[str, tuple[bool, bool]] = {}

    def in_zone(self, name: str) -> tuple[bool, bool]:
        """(the requester is in this zone, the internal client is in this zone)"""
        membership = self._zones.get(name)
        if membership is None:
            zone = self.policy.zones[name]
            target_inside = zone.has(self.target)
            source_inside = target_inside if self.target == self.facts.address else zone.has(self.facts.address)
            membership = self._zones[name] = (source_inside, target_inside)
        return membership

    def touches_zone(self, name: str) -> bool:
        """For a forbid: the requester or the internal client is in the zone. A host also is if its whole LAN is,
        even with an address outside: a link-local one, or one of a new prefix of the provider."""
        zone, facts = self.policy.zones[name], self.facts
        lans = {facts.lan, facts.target_lan}
        return any(self.in_zone(name)) or any(zone.has_lan(facts.network.extent_of(lan)) for lan in lans)

    def fits_zone(self, name: str) -> bool:
        """For a grant: the internal client is in the zone, and so is the requester's address if the zone has
        prefixes of its kind. If the internal client is another host, only the requester counts."""
        source_inside, target_inside = self.in_zone(name)
        if not self.own:
            return source_inside
        return target_inside and (source_inside or not self.policy.zones[name].has_kind_of(self.facts.address))

    def left_s(self, grant: Grant) -> float | None:
        """Seconds (> 0) until the grant or its hours end; None: neither will.

        Also until the local clock is set forward or back, since the hours may end at that moment or be longer.
        """
        facts, ends = self.facts, []
        if grant.hours is not None:
            since, length = _since_and_length(grant.hours, facts.minute_of_day)
            if length < DAY_MIN:
                ends.append(max(0.0, (length - since) * 60 - facts.second_of_minute))
                ends += [] if facts.clock_change_s is None else [facts.clock_change_s]
        if grant.until is not None:
            ends.append(grant.until - facts.wall)
        return min(ends, default=None)


def forbids(rule: Forbid, rule_input: RuleInput) -> bool:
    """True where the forbid matches. The index has already matched the device and the internal port."""
    return (
        rule_input.family in rule.families
        and rule_input.request.transport in rule.transports
        and _in_force(rule, rule_input)
        and (rule.ext_ports is None or rule_input.exact is None or contains(rule.ext_ports, rule_input.exact))
        and (rule.zone is None or rule_input.touches_zone(rule.zone))
    )


def covers(rule: Grant, rule_input: RuleInput) -> bool:
    """True where the grant matches, apart from external port and room. The index has already matched the device and
    the internal port."""
    return (
        rule_input.request.transport in rule.transports
        and rule_input.family in rule.families
        and _in_force(rule, rule_input)
        and _leads_to(rule, rule_input)
        and (rule.zone is None or rule_input.fits_zone(rule.zone))
        and lets_connect(rule, rule_input)
    )


def _in_force(rule: Forbid | Grant, rule_input: RuleInput) -> bool:
    return rule.until is None or rule_input.facts.wall < rule.until


def _leads_to(rule: Grant, rule_input: RuleInput) -> bool:
    """A grant with ``for`` allows only those internal clients; one without, only the requester itself."""
    if not rule.targets:
        return rule_input.own
    target = rule_input.target
    return any(target in net for net in rule.targets)


def lets_connect(rule: Grant, rule_input: RuleInput) -> bool:
    """True where the requested remote host, or at least one of the PCP FILTERs, is inside the grant's ``remote``,
    and the remote ports are allowed. A ``remote`` without a prefix of the request's address family allows
    nobody."""
    if rule.remote_ports is not None and not names_remote_ports(rule_input.request, rule.remote_ports):
        return False
    if not rule.remote:
        return True
    networks, remote = remotes(rule, rule_input), rule_input.request.remote
    if remote is not None:
        return any(inside(remote, net) for net in networks)
    filters = rule_input.request.filters
    return any(peers.within(networks) for peers in filters) if networks and filters else bool(networks)


def names_remote_ports(request: MapRequest, ports: PortRanges) -> bool:
    """True where the request names ports of the remote hosts, all of them among these."""
    named = [request.remote_port] if request.remote_port else [peers.port for peers in request.filters]
    return bool(named) and all(contains(ports, port) for port in named)


def remotes(rule: Grant, rule_input: RuleInput) -> tuple[IPNetwork, ...]:
    """The remote hosts that may connect under this grant, of the internal client's address family."""
    return tuple([net for net in rule.remote if net.version == rule_input.target.version]) if rule.remote else ()


def permitted(rule: Grant, rule_input: RuleInput) -> PortRanges:
    """The external ports that the grant allows: for an exact request its own port or none."""
    port = rule_input.int_port
    if rule_input.exact is not None:
        return ((rule_input.exact, rule_input.exact),) if _may_use(rule, rule_input.exact, port) else ()
    if rule.external is External.SAME:
        return ((port, port),) if _may_use(rule, port, port) else ()
    if rule.ext_ports is not None:
        return rule.ext_ports
    return UNPRIVILEGED if port >= floor.PRIVILEGED_BELOW else ((port, port), *UNPRIVILEGED)


def _may_use(rule: Grant, external: int, internal: int) -> bool:
    if rule.ext_ports is not None:
        return contains(rule.ext_ports, external)
    return external >= floor.PRIVILEGED_BELOW or external == internal


GrantRefusal = tuple[Refusal, str]


def grant_refusal(rule: Grant, facts: Facts, request: MapRequest) -> GrantRefusal | None:
    """The reason why a matching grant does not allow the request now: its hours or its quotas. None: it does."""
    for check in _OBSTACLES:
        if (refusal := check(rule, facts, request)) is not None:
            return refusal
    return None


def _outside_hours(rule: Grant, facts: Facts, request: MapRequest) -> GrantRefusal | None:
    if rule.hours is None or in_hours(rule.hours, facts.minute_of_day):
        return None
    return Refusal.NOT_AUTHORIZED, f"outside the hours of rule {rule.name}"


def in_hours(hours: tuple[int, int], minute: int) -> bool:
    """``from <= minute < until``, across midnight if from is later than until."""
    since, length = _since_and_length(hours, minute)
    return since < length


def _since_and_length(hours: tuple[int, int], minute: int) -> tuple[int, int]:
    """(minutes since the hours last began, their length in minutes); 00:00-24:00 is the whole day."""
    start, end = hours
    return (minute - start) % DAY_MIN, (end - start) % DAY_MIN or DAY_MIN


def _too_many_ports(rule: Grant, facts: Facts, request: MapRequest) -> GrantRefusal | None:
    seen = facts.int_ports_today
    if (
        rule.max_ports_per_day is None
        or len(seen) < rule.max_ports_per_day
        or request.internal.port in seen
        or facts.held.on_port
        or facts.standing
        or facts.renewing
        or facts.restoring
    ):
        return None
    return (
        Refusal.NOT_AUTHORIZED,
        f"more than {rule.max_ports_per_day} different ports today under rule {rule.name}",
    )


def _full(rule: Grant, facts: Facts, request: MapRequest) -> GrantRefusal | None:
    counted, exact = counted_ports(rule, facts), floor.exact_external(request)
    if counted is None or (counted if exact is None else contains(counted, exact)):
        return None
    return quota_refusal(rule)


def quota_refusal(rule: Grant) -> GrantRefusal:
    """The refusal where ``max_mappings`` is reached."""
    return Refusal.QUOTA, f"rule {rule.name} allows a device at most {rule.max_mappings} mappings"


def counted_ports(rule: Grant, facts: Facts) -> PortRanges | None:
    """None: the grant has room. Else the external ports that already count against it on another address of the
    device."""
    if rule.max_mappings is None or facts.restoring or facts.held.by_grant.get(rule.name, 0) < rule.max_mappings:
        return None
    return normalized((port, port) for port, rules in facts.held.on_port.items() if rule.name in rules)


_OBSTACLES: tuple[Callable[[Grant, Facts, MapRequest], GrantRefusal | None], ...] = (
    _outside_hours,
    _too_many_ports,
    _full,
)
"""In this order, so that one port too many in a day is NOT_AUTHORIZED, which counts as evidence, rather than
QUOTA."""
