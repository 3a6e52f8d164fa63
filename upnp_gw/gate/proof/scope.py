"""The region of an invariant: the requests that it is about.

A ``[[never]]`` reads ``from`` as a forbid does: one fact of the device is enough, and the internal client counts
too. An ``[[always]]`` reads it as a grant does: all facts must agree. ``not`` is everybody who is not surely
(never) or not possibly (always) one of them.
"""

from upnp_gw.gate.invariant import Bounds, Invariant, Requested, Sender
from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof import rules
from upnp_gw.gate.proof.boxes import Algebra, Box, Region, crossed
from upnp_gw.gate.proof.dimensions import Relation
from upnp_gw.gate.proof.space import TRANSPORTS, Space
from upnp_gw.gate.proof.spans import ADDRESSES, IP4, IP6, addresses_of, joined, without
from upnp_gw.gate.schema import Policy


def never_scope(space: Space, policy: Policy, algebra: Algebra, invariant: Invariant) -> Region:
    """The requests of a ``[[never]]``."""
    sender = invariant.sender
    return algebra.crossed(
        [_general(space, sender)],
        rules.touching_devices(space, policy, sender.devices),
        algebra.subtract([{}], rules.agreeing(space, policy, sender.excluded)) if sender.excluded else [{}],
        [{}] if sender.zone is None else rules.touching_zone(space, policy.zones[sender.zone]),
        _either_address(sender),
        [{}] if sender.mac is None else _either_mac(space, sender.mac),
        requested(space, policy, invariant.requested),
        rules.external(invariant.requested.ext_ports),
    )


def always_scope(space: Space, policy: Policy, algebra: Algebra, invariant: Invariant) -> Region:
    """The requests of an ``[[always]]``, without regard to the external port. The requester's LAN is in no zone but
    that of ``from``, and with a zone its address is in no other one."""
    sender = invariant.sender
    place: Box = {space.zone(name): 1 for name in policy.zones if name != sender.zone}
    place |= {dimension - d.ZONE + d.TARGET_ZONE: 1 for dimension in place}
    mac: Box = {} if sender.mac is None else {d.MAC: space.of_macs([sender.mac])}
    return algebra.crossed(
        [_general(space, sender)],
        [place],
        [mac],
        rules.agreeing(space, policy, sender.devices),
        algebra.subtract([{}], rules.touching_devices(space, policy, sender.excluded)) if sender.excluded else [{}],
        [{}] if sender.zone is None else rules.fitting(space, policy.zones[sender.zone]),
        [{}] if sender.zone is None else _in_no_other(policy, sender.zone),
        _at(sender, bool(invariant.requested.targets)),
        [{}] if invariant.requested.targets else [{d.RELATION: Relation.OWN}],
        requested(space, policy, invariant.requested),
    )


def _at(sender: Sender, for_others: bool) -> Region:
    """The requester is at one of the addresses, and asks for one of them unless the invariant has ``for``."""
    if not sender.addresses:
        return [{}]
    addresses = addresses_of(sender.addresses)
    region = rules.asking_from(addresses)
    return region if for_others else crossed(region, [{d.TARGET: addresses}])


def _in_no_other(policy: Policy, zone: str) -> Region:
    own = addresses_of(policy.zones[zone].prefixes)
    others = addresses_of(net for name, other in policy.zones.items() if name != zone for net in other.prefixes)
    apart = without(ADDRESSES, without(others, own))
    return [{d.RELATION: Relation.SAME_ADDRESS}, {d.RELATION: Relation.TWO_ADDRESSES, d.SOURCE: apart}]


def _general(space: Space, sender: Sender) -> Box:
    box: Box = {}
    if sender.vias is not None:
        box[d.VIA] = rules.of_vias(sender.vias)
    if sender.lan is not None:
        box[d.LAN] = space.of_lan(sender.lan)
    return box


def _either_address(sender: Sender) -> Region:
    if not sender.addresses:
        return [{}]
    addresses = addresses_of(sender.addresses)
    return [{d.TARGET: addresses}, {d.RELATION: Relation.TWO_ADDRESSES, d.SOURCE: addresses}]


def _either_mac(space: Space, mac: str) -> Region:
    macs = space.of_macs([mac])
    return [{d.MAC: macs}, {d.RELATION: Relation.OTHER_DEVICE, d.TARGET_MAC: macs}]


def requested(space: Space, policy: Policy, request: Requested) -> Region:
    """The conditions on the request, but for its external port."""
    box: Box = {}
    if request.transports is not None:
        box[d.TRANSPORT] = sum(1 << TRANSPORTS.index(transport) for transport in request.transports)
    if request.int_ports is not None:
        box[d.INT] = request.int_ports
    if request.remote is not None:
        box[d.REMOTE] = rules.remote_hosts(request.remote)
    targets: Box = {d.TARGET: addresses_of(request.targets)} if request.targets else {}
    family: Box = {}
    if request.versions:
        family[d.TARGET] = joined(span for version in request.versions for span in (IP4 if version == 4 else IP6))
    return crossed([box], [targets], [family], rules.hours_region(space, policy, request.hours))


def beyond(bounds: Bounds) -> Region:
    """The points that are not within the bounds of external ports and remote hosts."""
    region: Region = []
    if bounds.ext_ports is not None:
        region += rules.external(without(((0, 65535),), bounds.ext_ports))
    if bounds.remote is not None:
        region.append({d.REMOTE: without(ADDRESSES, rules.remote_hosts(bounds.remote))})
    return region
