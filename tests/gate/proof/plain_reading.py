"""The meaning of invariants for one request, read off docs/policy-semantics.md, with ``decide`` for the answers.

It shares no code with the prover: no boxes, no spans.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_address

from tests.gate.proof.small_policies import REMOTE_HOSTS
from upnp_gw.gate import floor
from upnp_gw.gate.decide import decide, lifetime_s
from upnp_gw.gate.decision import Facts, HeldMappings, Outcome, PortRanges, Verdict
from upnp_gw.gate.facts import names_of, possible_names
from upnp_gw.gate.invariant import Invariant, InvariantKind, Requested
from upnp_gw.gate.match import RuleInput, covers, forbids, permitted
from upnp_gw.gate.portset import contains
from upnp_gw.gate.remote_match import EVERYWHERE
from upnp_gw.gate.schema import Forbid, Grant, Policy
from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.request import MapRequest

HOSTS = tuple(map(ip_address, REMOTE_HOSTS))
EVERY_PORT = range(1, 65536)


def assignments(policy: Policy, facts: Facts) -> Iterator[tuple[frozenset[str], Facts]]:
    """(the grants without room, the facts) for every assignment of room to the grants."""
    limited = [grant.name for grant in policy.grants if _limited(grant)]
    yield frozenset(), facts
    for count in range(1, 0 if facts.restoring else len(limited) + 1):  # quotas do not apply at a restart
        for full in itertools.combinations(limited, count):
            held = HeldMappings(by_grant=dict.fromkeys(full, 9))
            today = _ports_today(policy, frozenset(full))
            if today is not None:
                yield frozenset(full), replace(facts, held=held, int_ports_today=today)


def one_port_left(
    policy: Policy, facts: Facts, request: MapRequest, about: Requested
) -> Iterator[tuple[frozenset[str], Facts]]:
    """The same where the gateway chooses, and the device's quota is full but for one port, which it has at another
    of its addresses."""
    if request.choice == "exact" or facts.restoring or len(policy.grants) < 2:
        return
    limited = frozenset(grant.name for grant in policy.grants if grant.max_mappings is not None)
    most = policy.limits.per_device
    for full, each in assignments(policy, facts):
        for port in INTERESTING:
            if _of(about.ext_ports, port):
                left = {port: limited - full}
                yield full, replace(each, held=HeldMappings(most, most, each.held.by_grant, on_port=left))


def _limited(grant: Grant) -> bool:
    return grant.max_mappings is not None or grant.max_ports_per_day is not None


def _ports_today(policy: Policy, full: frozenset[str]) -> frozenset[int] | None:
    """Ports of today by which just these are full, of the grants that count nothing else. None: no number is."""
    days = {
        grant.name: grant.max_ports_per_day
        for grant in policy.grants
        if grant.max_ports_per_day is not None and (grant.max_mappings is None or grant.name not in full)
    }
    most = max((count for name, count in days.items() if name in full), default=0)
    if any(count <= most for name, count in days.items() if name not in full):
        return None
    return frozenset(range(3, 3 + most))  # no port of these tests


def violates(policy: Policy, invariant: Invariant, facts: Facts, request: MapRequest) -> bool:
    """True where the request violates the invariant."""
    if invariant.kind is InvariantKind.NEVER:
        about = invariant.requested
        return about_never(policy, invariant, facts, request) and any(
            _gets_through(policy, invariant, each, request)
            for _, each in (*assignments(policy, facts), *one_port_left(policy, facts, request, about))
        )
    return about_always(policy, invariant, facts, request) and any(
        not _allowed(decide(policy, each, request), request, invariant.requested)
        for full, each in assignments(policy, facts)
        if _some_room(policy, facts, request, full)
    )


def shows(policy: Policy, invariant: Invariant, facts: Facts, request: MapRequest) -> bool:
    """True where the request violates the invariant by these very facts, whatever others would."""
    if invariant.kind is InvariantKind.NEVER:
        return about_never(policy, invariant, facts, request) and _gets_through(policy, invariant, facts, request)
    return (
        about_always(policy, invariant, facts, request)
        and not _allowed(decide(policy, facts, request), request, invariant.requested)
        and _some_room(policy, facts, request, frozenset(facts.held.by_grant))
    )


def observed(policy: Policy, invariant: Invariant, facts: Facts, request: MapRequest) -> bool:
    """True where only observe mode lets the request through."""
    return decide(policy, facts, request).rule == "observe"


# -- never: one fact is enough


def about_never(policy: Policy, invariant: Invariant, facts: Facts, request: MapRequest) -> bool:
    sender, target = invariant.sender, request.internal.address
    rule_input = RuleInput(policy, facts, request)
    return (
        (sender.devices is None or bool(sender.devices & possible_names(policy, facts, target)))
        and not sender.excluded & names_of(policy, facts)
        and (sender.zone is None or rule_input.touches_zone(sender.zone))
        and (not sender.addresses or any(a in net for a in (facts.address, target) for net in sender.addresses))
        and (sender.mac is None or sender.mac in (facts.mac, facts.target_mac))
        and _general(policy, invariant, facts, request)
        and (request.choice == "suggested" or _of(invariant.requested.ext_ports, _ext(request)))
    )


def _gets_through(policy: Policy, invariant: Invariant, facts: Facts, request: MapRequest) -> bool:
    """Allowed or asked about, with a port and for a remote host that the invariant is about, beyond its bounds."""
    verdict = decide(policy, facts, request)
    if verdict.outcome is Outcome.DENY or verdict.rule == "observe":
        return False
    hosts = [host for host in HOSTS if host.version == request.internal.address.version]
    hosts += [request.remote.network_address] if request.remote is not None else []
    let_in = [host for host in hosts if _lets_in(policy, verdict, facts, request, host)]
    about = invariant.requested
    let_in = [host for host in let_in if about.remote is None or about.remote.has(host)]
    if not let_in:
        return False
    ports = [
        port
        for port in _got(policy, verdict, facts, request)
        if (port == 0 and about.ext_ports is None) or (port and _of(about.ext_ports, port))
    ]
    bounds = invariant.unless
    if not ports or bounds is None:
        return bool(ports)
    if bounds.lease_s is not None and _lease_s(policy, verdict, facts, request) > bounds.lease_s:
        return True
    if bounds.ext_ports is not None and any(not _of(bounds.ext_ports, port) for port in ports):
        return True
    return bounds.remote is not None and any(not bounds.remote.has(host) for host in let_in)


def _got(policy: Policy, verdict: Verdict, facts: Facts, request: MapRequest) -> Iterable[int]:
    """The external ports that the request can get; 0: the question names none."""
    if request.choice == "exact" or request.pinhole:
        return [_ext(request)]
    grant = policy.grant(verdict.rule)
    if verdict.clamps is not None:
        spans = verdict.clamps.external_ports
    elif grant is not None:
        blocked = _blocked(policy, facts, request)
        left = facts.held.on_port
        return [
            port
            for low, high in permitted(grant, RuleInput(policy, facts, request))
            for port in _edges(low, high, blocked)
            if not left or port in left
        ]
    else:
        blocked = _blocked(policy, facts, request)
        return [0, *_edges(1024, 65535, blocked)]
    return [port for low, high in spans for port in _edges(low, high, set())]


INTERESTING = sorted({1, 21, 22, 23, 1022, 1023, 1024, 1025, 1999, 2000, 2001, 2002, 65534, 65535})


def _edges(low: int, high: int, blocked: set[int]) -> list[int]:
    """The ports of a range that a policy of these tests can tell apart."""
    ports = {low, high, *(port for port in INTERESTING if low <= port <= high)}
    return sorted(ports - blocked)


def _blocked(policy: Policy, facts: Facts, request: MapRequest) -> set[int]:
    """The ports of ``INTERESTING`` that forbids take away where the gateway chooses, from everybody."""
    taken = [rule.ext_ports for rule in policy.forbids if rule.ext_ports and _hit(policy, facts, request, rule)]
    return {port for port in INTERESTING if any(contains(ports, port) for ports in taken)}


def _hit(policy: Policy, facts: Facts, request: MapRequest, rule: Forbid) -> bool:
    """The forbid matches, its remote hosts left aside, and in its hours."""
    rule_input, names = RuleInput(policy, facts, request), possible_names(policy, facts, request.internal.address)
    return (
        (rule.devices is None or bool(rule.devices & names))
        and (rule.int_ports is None or contains(rule.int_ports, request.internal.port))
        and forbids(rule, rule_input)
        and (rule.hours is None or rule_input.in_hours(rule.hours))
    )


def _lets_in(policy: Policy, verdict: Verdict, facts: Facts, request: MapRequest, host: IPAddress) -> bool:
    """The host is one that the request wants and the rule grants, and no forbid keeps it out."""
    if request.remote is not None and host not in request.remote:
        return False
    grant = policy.grant(verdict.rule)
    if grant is not None and grant.remote is not None and not grant.remote.has(host):
        return False
    exact = RuleInput(policy, facts, request).exact is not None
    return not any(
        rule.remote is not None
        and rule.remote.has(host)
        and (rule.ext_ports is None or exact)
        and _hit(policy, facts, request, rule)
        for rule in policy.forbids
    )


def _lease_s(policy: Policy, verdict: Verdict, facts: Facts, request: MapRequest) -> int:
    if verdict.clamps is not None:
        return lifetime_s(request, verdict.clamps)
    grant = policy.grant(verdict.rule)
    limits = policy.limits
    if request.via.datagram:
        return min(limits.max_ttl_s, (grant and grant.max_ttl_s) or limits.max_ttl_s)
    return min(limits.max_hold_s, (grant and grant.max_hold_s) or limits.max_hold_s)


# -- always: all facts must agree


def about_always(policy: Policy, invariant: Invariant, facts: Facts, request: MapRequest) -> bool:
    sender = invariant.sender
    rule_input = RuleInput(policy, facts, request)
    in_other_zones = [
        name
        for name, zone in policy.zones.items()
        if name != sender.zone
        and any(zone.has_lan(facts.network.extent_of(lan)) for lan in (facts.lan, facts.target_lan))
    ]
    elsewhere = sender.zone is not None and (
        not policy.zones[sender.zone].has(facts.address)
        and any(zone.has(facts.address) for zone in policy.zones.values())
    )
    return (
        not elsewhere
        and floor.violation(facts, request) is None
        and (sender.devices is None or bool(sender.devices & names_of(policy, facts)))
        and not sender.excluded & possible_names(policy, facts, request.internal.address)
        and (sender.zone is None or rule_input.fits_zone(sender.zone))
        and all(
            not sender.addresses or any(address in net for net in sender.addresses)
            for address in (facts.address, *(() if invariant.requested.targets else (request.internal.address,)))
        )
        and (sender.mac is None or sender.mac == facts.mac)
        and _general(policy, invariant, facts, request)
        and (rule_input.own or bool(invariant.requested.targets))
        and not in_other_zones
        and (request.choice == "suggested" or _of(invariant.requested.ext_ports, _ext(request)))
        and _named(invariant.requested, request)
    )


def _named(about: Requested, request: MapRequest) -> bool:
    """With ``remote``: a request that names one of these hosts, or wants everybody and all are these. Without: any,
    also one that names nobody."""
    if about.remote is None:
        return True
    if request.remote is None:
        return about.remote.includes(EVERYWHERE[request.internal.address.version])
    return about.remote.has(request.remote.network_address)


def _some_room(policy: Policy, facts: Facts, request: MapRequest, full: frozenset[str]) -> bool:
    """True where some matching grant has room, or where none matches."""
    matching = [grant for grant in policy.grants if matches(policy, grant, facts, request)]
    return not matching or any(grant.name not in full for grant in matching)


def matches(policy: Policy, grant: Grant, facts: Facts, request: MapRequest) -> bool:
    rule_input = RuleInput(policy, facts, request)
    names = names_of(policy, facts)
    return (
        (grant.devices is None or bool(grant.devices & names))
        and any(low <= request.internal.port <= high for low, high in grant.int_ports)
        and covers(grant, rule_input)
        and bool(permitted(grant, rule_input))
        and (grant.hours is None or rule_input.in_hours(grant.hours))
    )


def _allowed(verdict: Verdict, request: MapRequest, about: Requested) -> bool:
    if verdict.outcome is not Outcome.ALLOW or verdict.rule == "observe" or verdict.clamps is None:
        return False
    if request.choice == "exact" or request.pinhole:
        return True
    spans = verdict.clamps.external_ports
    return any(_of(about.ext_ports, port) for low, high in spans for port in _edges(low, high, set()))


# -- both


def _general(policy: Policy, invariant: Invariant, facts: Facts, request: MapRequest) -> bool:
    sender, about = invariant.sender, invariant.requested
    target = request.internal.address
    return (
        (sender.lan is None or sender.lan == facts.lan)
        and (sender.vias is None or request.via in sender.vias)
        and (about.transports is None or request.transport in about.transports)
        and (not about.versions or target.version in about.versions)
        and _of(about.int_ports, request.internal.port)
        and (not about.targets or any(target in net for net in about.targets))
        and (about.hours is None or RuleInput(policy, facts, request).in_hours(about.hours))
    )


def _of(ports: PortRanges | None, port: int) -> bool:
    return ports is None or any(low <= port <= high for low, high in ports)


def _ext(request: MapRequest) -> int:
    return request.internal.port if request.pinhole else request.external_port
