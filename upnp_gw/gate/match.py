"""The conditions of forbids and grants: whether a rule matches a request, and whether a grant has room for it."""

from upnp_gw.gate import floor
from upnp_gw.gate.decision import External, Facts, PortRanges
from upnp_gw.gate.hours import Hours, first_change
from upnp_gw.gate.portset import UNPRIVILEGED, contains, normalized
from upnp_gw.gate.remote_match import admits
from upnp_gw.gate.schema import Family, Forbid, Grant, Policy
from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.request import MapRequest, Refusal


class RuleInput:
    """The values of a request that the rules read, worked out once."""

    __slots__ = (
        "_days",
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
        self._days: tuple[int, int] | None = None

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
        return self.requester_in(name) or self.client_in(name)

    def requester_in(self, name: str) -> bool:
        """For a forbid: the requester is in the zone, or its whole LAN is."""
        return self.in_zone(name)[0] or self._whole_lan_in(name, self.facts.lan)

    def client_in(self, name: str) -> bool:
        """For a forbid: the internal client is in the zone, or its whole LAN is."""
        return self.in_zone(name)[1] or self._whole_lan_in(name, self.facts.target_lan)

    def _whole_lan_in(self, name: str, lan: str) -> bool:
        return self.policy.zones[name].has_lan(self.facts.network.extent_of(lan))

    def fits_zone(self, name: str) -> bool:
        """For a grant: the internal client is in the zone, and so is the requester's address if the zone has
        prefixes of its kind. If the internal client is another host, only the requester counts."""
        source_inside, target_inside = self.in_zone(name)
        if not self.own:
            return source_inside
        return target_inside and (source_inside or not self.policy.zones[name].has_kind_of(self.facts.address))

    def left_s(self, grant: Grant) -> float | None:
        """Seconds (>= 0) until the grant or its hours end; None: neither will."""
        change_s = None if grant.hours is None else self.change_s(grant.hours)
        if grant.until is None:
            return change_s
        left_s = grant.until - self.facts.wall
        return left_s if change_s is None else min(left_s, change_s)

    def change_s(self, hours: Hours) -> float | None:
        """Seconds (>= 0) until these hours begin or end; None: never. Or until the local clock is set forward or
        back, since they may begin or end at that moment, or be longer."""
        facts, minute = self.facts, self.facts.minute_of_day
        if hours.constant:
            return None
        change = first_change(hours.days.minutes[self.days], minute, self.in_hours(hours))
        minutes = (
            hours.changes_in_min(facts.today, minute, self.policy.calendar) if change is None else change - minute
        )
        if minutes is None:
            return None
        left_s = max(0.0, minutes * 60 - facts.second_of_minute)
        return left_s if facts.clock_change_s is None else min(left_s, facts.clock_change_s)

    def in_hours(self, hours: Hours) -> bool:
        """True where these hours are now."""
        return hours.holds(self.facts.minute_of_day, *self.days)

    @property
    def days(self) -> tuple[int, int]:
        """The kinds of day of today and yesterday."""
        if self._days is None:
            calendar, today = self.policy.calendar, self.facts.today
            self._days = calendar.kind(today), calendar.kind(today - 1)
        return self._days


def forbids(rule: Forbid, rule_input: RuleInput) -> bool:
    """True where the forbid matches, apart from its hours and remote hosts (``gate.remote_match``). The index has
    already matched the device and the internal port."""
    return (
        rule_input.family in rule.families
        and rule_input.request.transport in rule.transports
        and _in_force(rule, rule_input)
        and (rule.ext_ports is None or rule_input.exact is None or contains(rule.ext_ports, rule_input.exact))
        and (rule.vias is None or rule_input.request.via in rule.vias)
        and (rule.zone is None or rule_input.touches_zone(rule.zone))
        and (rule.zone_from is None or rule_input.requester_in(rule.zone_from))
        and (rule.zone_for is None or rule_input.client_in(rule.zone_for))
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
    """True where the requested remote hosts, or some hosts of at least one PCP FILTER, are among the grant's
    ``remote``, and the remote ports are allowed. A ``remote`` without a host of the request's address family allows
    nobody."""
    if rule.remote_ports is not None and not names_remote_ports(rule_input.request, rule.remote_ports):
        return False
    return rule.remote is None or admits(rule.remote, rule_input.request)


def names_remote_ports(request: MapRequest, ports: PortRanges) -> bool:
    """True where the request names ports of the remote hosts, all of them among these."""
    named = [request.remote_port] if request.remote_port else [peers.port for peers in request.filters]
    return bool(named) and all(contains(ports, port) for port in named)


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


def grant_refusal(rule: Grant, rule_input: RuleInput) -> GrantRefusal | None:
    """The reason why a matching grant does not allow the request now: its hours, an address list that is out of
    date, or its quotas. None: it does."""
    if rule.hours is not None and not rule_input.in_hours(rule.hours):
        return Refusal.NOT_AUTHORIZED, f"outside the hours of rule {rule.name}"
    facts, request = rule_input.facts, rule_input.request
    return stale_refusal(rule, facts) or _too_many_ports(rule, facts, request) or _full(rule, facts, request)


def stale_refusal(rule: Forbid | Grant, facts: Facts) -> GrantRefusal | None:
    """The refusal where the rule depends on an address list that is out of date. None: it does not, or the gateway
    decides again about a lease, which may run out."""
    if not facts.stale_sets or rule.remote is None or facts.renewing or facts.restoring:
        return None
    name = min(facts.stale_sets & rule.remote.sets, default=None)
    if name is None:
        return None
    return Refusal.NOT_AUTHORIZED, f"the address list {name} of rule {rule.name} is out of date"


def _too_many_ports(rule: Grant, facts: Facts, request: MapRequest) -> GrantRefusal | None:
    """After the hours and before the quotas: one port too many in a day is NOT_AUTHORIZED, which counts as
    evidence, rather than QUOTA."""
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
