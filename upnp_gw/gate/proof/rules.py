"""Forbids and grants as regions of the space: exactly the points at which ``match`` lets them match."""

from collections.abc import Iterable
from ipaddress import ip_network
from weakref import WeakKeyDictionary

from upnp_gw.gate.decision import External, PortRanges
from upnp_gw.gate.hours import Hours
from upnp_gw.gate.portset import UNPRIVILEGED
from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof.boxes import Box, Region, crossed, merged
from upnp_gw.gate.proof.dimensions import Relation, Shape
from upnp_gw.gate.proof.space import TRANSPORTS, VIAS, Space
from upnp_gw.gate.proof.spans import IP4, IP6, IP6_BASE, Spans, addresses_of, joined, number_of, without
from upnp_gw.gate.remote import RemoteHosts
from upnp_gw.gate.schema import (
    BOTH_FAMILIES,
    BOTH_TRANSPORTS,
    Assurance,
    Device,
    Family,
    Forbid,
    Grant,
    Policy,
    Zone,
)
from upnp_gw.model.address_ranges import AddressRanges
from upnp_gw.model.mapping import Via

LINK_LOCAL = addresses_of((ip_network("169.254.0.0/16"), ip_network("fe80::/10")))
SCOPES = {
    "ip4": IP4,
    "ip6": without(IP6, addresses_of((ip_network("fc00::/7"),))),
    "local": addresses_of((ip_network("fc00::/7"),)),
}
"""Kinds of address (``schema.scope_of``)."""


def grant_region(space: Space, policy: Policy, grant: Grant, at_any_hour: bool = False) -> Region:
    """The points that the grant matches in its hours, forbids and room left aside. ``at_any_hour``: outside them,
    too: there it has no room, and no other answer than a denial is left."""
    leads: Box = {d.TARGET: addresses_of(grant.targets)} if grant.targets else {d.RELATION: Relation.OWN}
    return crossed(
        [leads],
        common_region(space, grant),
        [{}] if at_any_hour else hours_region(space, policy, grant.hours),
        _ports(grant),
        [_remote(grant)],
        agreeing(space, policy, grant.devices),
        [{}] if grant.zone is None else fitting(space, policy.zones[grant.zone]),
    )


def forbid_region(space: Space, policy: Policy, forbid: Forbid) -> Region:
    """The points that the forbid takes away. Where the gateway chooses, a forbid of external ports takes away those
    points whose port it names, for every remote host."""
    return crossed(
        common_region(space, forbid),
        _taken(forbid),
        [{}] if forbid.vias is None else [{d.VIA: of_vias(forbid.vias)}],
        hours_region(space, policy, forbid.hours),
        touching_devices(space, policy, forbid.devices),
        [{}] if forbid.zone is None else touching_zone(space, policy.zones[forbid.zone]),
        [{}] if forbid.zone_from is None else asking_in(space, policy.zones[forbid.zone_from]),
        [{}] if forbid.zone_for is None else leading_into(space, policy.zones[forbid.zone_for]),
    )


def _taken(forbid: Forbid) -> Region:
    """The external ports and the remote hosts of a forbid."""
    if forbid.remote is None:
        return external(forbid.ext_ports)
    hosts: Box = {d.REMOTE: remote_hosts(forbid.remote)}
    if forbid.ext_ports is None:
        return [hosts]
    exact = crossed(external(forbid.ext_ports), [{**hosts, d.SHAPE: Shape.EXACT | Shape.PINHOLE}])
    return exact + crossed(external(forbid.ext_ports), [{d.SHAPE: Shape.CHOSEN}])


def of_vias(vias: Iterable[Via]) -> int:
    """``VIA``: these protocols."""
    return sum(1 << VIAS.index(via) for via in vias if via in VIAS)


def common_region(space: Space, rule: Forbid | Grant) -> Region:
    """The conditions that forbids and grants share: internal ports, transport, family, end."""
    box: Box = dict(space.until(rule.until))
    if rule.int_ports is not None:
        box[d.INT] = rule.int_ports
    if rule.transports != BOTH_TRANSPORTS:
        box[d.TRANSPORT] = sum(1 << TRANSPORTS.index(transport) for transport in rule.transports)
    if rule.families != BOTH_FAMILIES:
        box[d.TARGET] = joined(span for family in rule.families for span in (IP4 if family is Family.IP4 else IP6))
    return [box]


def hours_region(space: Space, policy: Policy, hours: Hours | None) -> Region:
    """The hours of a rule."""
    return [{}] if hours is None else space.in_hours(policy, hours)


_spans: "WeakKeyDictionary[AddressRanges, Spans]" = WeakKeyDictionary()
"""For as long as a policy has the addresses."""


def remote_hosts(remote: RemoteHosts) -> Spans:
    """The remote hosts of a rule."""
    ranges = remote.ranges
    found = _spans.get(ranges)
    if found is None:
        four, six = (ranges.spans(version) for version in (4, 6))
        found = _spans[ranges] = (*four, *((IP6_BASE + low, IP6_BASE + high) for low, high in six))
    return found


def _ports(grant: Grant) -> Region:
    """The external ports of a grant. Left out: from 1024 on, and the internal port."""
    same: Box = {d.SHAPE: Shape.SAME}
    if grant.ext_ports is not None:
        same[d.INT] = grant.ext_ports
    other = Shape.EXACT_OTHER if grant.external is External.SAME else Shape.OTHER
    return [same, {d.SHAPE: other, d.EXT: grant.ext_ports or UNPRIVILEGED}]


def external(ports: PortRanges | None) -> Region:
    """The points whose external port is one of these; None: any."""
    if ports is None:
        return [{}]
    return [{d.SHAPE: Shape.SAME, d.INT: ports}, {d.SHAPE: Shape.OTHER, d.EXT: ports}]


def _remote(grant: Grant) -> Box:
    box: Box = {}
    if grant.remote is not None:
        box[d.REMOTE] = remote_hosts(grant.remote)
    if grant.remote_ports is not None:
        box[d.REMOTE_PORT] = grant.remote_ports
    return box


# -- who


def agreeing(space: Space, policy: Policy, names: Iterable[str] | None) -> Region:
    """The requests of one of these devices, all of whose facts agree (``facts.names_of``). None: of anyone."""
    if names is None:
        return [{}]
    devices = [policy.devices[name] for name in sorted(names) if name in policy.devices]
    return merged([box for device in devices for box in _agreeing(space, device)])


def _agreeing(space: Space, device: Device) -> Region:
    known: Box = {d.LAN: space.lan_counts(device), d.LEASE: space.leases_of(device)}
    if device.macs:
        unknown = space.no_mac if device.addresses and device.assure is Assurance.IP else 0
        known[d.MAC] = space.of_macs(device.macs) | unknown
    known = space.restricting(known)
    if not device.addresses:
        return [known]
    return crossed([known], asking_from(_numbers(device)))


def _numbers(device: Device) -> Spans:
    return joined((number_of(address), number_of(address)) for address in device.addresses)


def asking_from(addresses: Spans) -> Region:
    """The requester has one of these addresses."""
    return [
        {d.RELATION: Relation.SAME_ADDRESS, d.TARGET: addresses},
        {d.RELATION: Relation.TWO_ADDRESSES, d.SOURCE: addresses},
    ]


def touching_devices(space: Space, policy: Policy, names: Iterable[str] | None) -> Region:
    """The requests in which a fact of one of these devices is the requester's or the internal client's
    (``facts.possible_names``). None: all."""
    if names is None:
        return [{}]
    devices = [policy.devices[name] for name in sorted(names) if name in policy.devices]
    return merged([box for device in devices for box in _touching(space, device)])


def _touching(space: Space, device: Device) -> Region:
    asks = space.restricting({d.LAN: space.lan_may_count(device)})
    is_target = space.restricting({d.TARGET_LAN: space.target_lan_may_count(device)})
    other = {d.RELATION: Relation.OTHER_DEVICE, **is_target}
    region: Region = []
    if device.macs:
        macs = space.of_macs(device.macs)
        region += [{d.MAC: macs, **asks}, {d.TARGET_MAC: macs, **other}]
    if device.addresses:
        addresses = _numbers(device)
        region += crossed([asks], asking_from(addresses))
        region += [
            {d.TARGET: addresses, d.RELATION: Relation.SAME_DEVICE, **asks},
            {d.TARGET: addresses, **other},
        ]
    return region


# -- where


def fitting(space: Space, zone: Zone) -> Region:
    """The requests that a grant of this zone covers (``RuleInput.fits_zone``)."""
    inside = addresses_of(zone.prefixes)
    no_kind = joined(
        (*LINK_LOCAL, *(span for scope, spans in SCOPES.items() if scope not in zone.scopes for span in spans))
    )
    return [
        {d.RELATION: Relation.SAME_ADDRESS, d.TARGET: inside},
        {d.RELATION: Relation.SAME_DEVICE, d.TARGET: inside, d.SOURCE: joined((*inside, *no_kind))},
        {d.RELATION: Relation.OTHER_DEVICE, d.SOURCE: inside},
    ]


def touching_zone(space: Space, zone: Zone) -> Region:
    """The requests with an end in the zone, as a forbid sees it (``RuleInput.touches_zone``)."""
    return [*asking_in(space, zone), *leading_into(space, zone)]


def asking_in(space: Space, zone: Zone) -> Region:
    """The requests whose requester is in the zone (``RuleInput.requester_in``)."""
    return [*asking_from(addresses_of(zone.prefixes)), {space.zone(zone.name): 2}]


def leading_into(space: Space, zone: Zone) -> Region:
    """The requests whose internal client is in the zone (``RuleInput.client_in``)."""
    own = space.zone(zone.name)
    return [
        {d.TARGET: addresses_of(zone.prefixes)},
        {d.RELATION: Relation.OWN, own: 2},
        {d.RELATION: Relation.OTHER_DEVICE, own - d.ZONE + d.TARGET_ZONE: 2},
    ]


def unasked(ask: bool) -> Region:
    """The points where the operator is asked if no grant matches: ``default = "ask"`` (``_Decision.ungranted``)."""
    if not ask:
        return []
    own: Box = {d.RELATION: Relation.OWN, d.INT: UNPRIVILEGED}
    return [
        {**own, d.SHAPE: Shape.SAME},
        {**own, d.SHAPE: Shape.EXACT_OTHER, d.EXT: UNPRIVILEGED},
        {**own, d.SHAPE: Shape.CHOSEN_OTHER, d.EXT: ((d.UNDECIDED, d.UNDECIDED), *UNPRIVILEGED)},
    ]


def observed() -> Region:
    """The points that observe mode allows without a grant (``_Decision.observed``)."""
    own: Box = {d.RELATION: Relation.OWN, d.INT: UNPRIVILEGED}
    return [{**own, d.SHAPE: Shape.SAME}, {**own, d.SHAPE: Shape.OTHER, d.EXT: UNPRIVILEGED}]


def whatever_port(region: Region) -> Region:
    """The region where the gateway chooses the port, with every port: a request matches a grant, whichever it
    gives."""
    out: Region = []
    for box in region:
        shapes = box.get(d.SHAPE, Shape.ALL)
        assert isinstance(shapes, int)
        if shapes & Shape.CHOSEN:
            kept: Box = {key: its for key, its in box.items() if key != d.EXT}
            out.append({**kept, d.SHAPE: Shape.CHOSEN})
    return merged(out)
