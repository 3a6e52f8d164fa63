"""The space of all requests for some policies: the values of each dimension that their rules can tell apart.

Two MAC addresses that no policy names are one value, and so are two LANs or two names of DHCP leases.
"""

from collections.abc import Iterable, Sequence

from upnp_gw.gate.floor import LOCAL_IPV4
from upnp_gw.gate.hours import Hours
from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof.boxes import Algebra, Box, Effort, Region, Set, overlap
from upnp_gw.gate.proof.days import days_of
from upnp_gw.gate.proof.dimensions import Relation, Shape
from upnp_gw.gate.proof.spans import ADDRESSES, IP4, IP6, IP6_BASE, Spans, addresses_of
from upnp_gw.gate.schema import ANYWHERE, Assurance, Device, Forbid, Grant, Policy
from upnp_gw.model.mapping import DAY_S, Via

TRANSPORTS = ("tcp", "udp")
VIAS = (Via.IGD1, Via.IGD2, Via.NATPMP, Via.PCP)
"""The protocols of control points. No rule applies to the operator."""
LOCAL4 = addresses_of(LOCAL_IPV4)
HOSTS4: Spans = ((1 << 24, (127 << 24) - 1), (128 << 24, (224 << 24) - 1))
"""IPv4 addresses that a host can have."""
GLOBAL6: Spans = (
    (IP6_BASE + (1 << 120), IP6_BASE + (0xFC << 120) - 1),
    (IP6_BASE + (0xFE << 120), IP6_BASE + (0xFE80 << 112) - 1),
)
"""IPv6 addresses that the floor lets a pinhole lead to."""
PORTS: Spans = ((1, 65535),)
NATPMP = 1 << VIAS.index(Via.NATPMP)
"""``VIA``: NAT-PMP alone."""
DEFAULT_EFFORT = 2_000_000
"""Most steps of one proof: some seconds."""


class Space:
    """The values of the finite dimensions for these policies, and the sets of the others."""

    def __init__(
        self,
        policies: Sequence[Policy],
        macs: Iterable[str] = (),
        lans: Iterable[str] = (),
        since: float | None = None,
        ahead: int = 0,
    ) -> None:
        """``macs``, ``lans``: more values, of a question. ``since``: wall-clock seconds before which no request is
        considered; None: all times. ``ahead``: days after today whose kinds count."""
        devices = [device for policy in policies for device in policy.devices.values()]
        rules: list[Forbid | Grant] = [rule for policy in policies for rule in policy.forbids]
        rules += [rule for policy in policies for rule in policy.grants]
        self.macs = tuple(sorted({*macs, *(mac for device in devices for mac in device.macs)}))
        self.lans = tuple(sorted({*lans, *(lan for device in devices for lan in device.lans)} - {ANYWHERE}))
        self.lease_names = tuple(
            sorted({device.dhcp_name.casefold() for device in devices if device.dhcp_name is not None})
        )
        self.ends = tuple(sorted({rule.until for rule in rules if rule.until is not None}))
        self.zones = tuple(sorted({name for policy in policies for name in policy.zones}))
        self._mac_bits = {mac: 1 << at for at, mac in enumerate(self.macs)}
        self.other_mac = 1 << len(self.macs)
        self.no_mac = 2 << len(self.macs)
        self.all_macs = 2 * self.no_mac - 1
        self.main_lans = sum(2 << 2 * at for at in range(len(self.lans) + 1))
        """``LAN``: two bits for each named LAN, and two for the others: (not the first LAN, the first LAN)."""
        self.no_lan = 1 << 2 * (len(self.lans) + 1)
        self.no_target_lan = 2 << len(self.lans)
        """``TARGET_LAN``: a bit for each named LAN, one for the others, one for an unknown one."""
        self._lease_bits = {name: 3 << 2 * at for at, name in enumerate(self.lease_names)}
        pairs = len(self.lease_names) + 2  # and another name, and no name
        self.agreeing = sum(1 << 2 * at for at in range(pairs))
        self.unread = 1 << 2 * pairs
        self._long = any(policy.sets for policy in policies)
        self.calendars = tuple(dict.fromkeys(policy.calendar for policy in policies))
        self.days = days_of(self.calendars, ahead)
        """The kinds of days that the calendars can tell apart, each with one such day."""
        passed = 0 if since is None else sum(1 for end in self.ends if end <= since)
        self.full: dict[int, Set] = {
            d.SHAPE: Shape.ALL,
            d.RELATION: Relation.ALL,
            d.TRANSPORT: 3,
            d.VIA: (1 << len(VIAS)) - 1,
            d.MAC: self.all_macs,
            d.TARGET_MAC: self.all_macs,
            d.LAN: 2 * self.no_lan - 1,
            d.TARGET_LAN: 2 * self.no_target_lan - 1,
            d.LEASE: 2 * self.unread - 1,
            d.TIME: (1 << len(self.ends) + 1) - (1 << passed),
            d.INT: PORTS,
            d.EXT: ((d.UNDECIDED, 65535),),
            d.TARGET: ADDRESSES,
            d.SOURCE: ADDRESSES,
            d.REMOTE: ADDRESSES,
            d.REMOTE_PORT: ((0, 65535),),
            d.MINUTE: ((0, DAY_S // 60 - 1),),
            d.DAY: (1 << len(self.days)) - 1,
            **{d.ZONE + at: 3 for at in range(len(self.zones))},
            **{d.TARGET_ZONE + at: 3 for at in range(len(self.zones))},
        }

    def algebra(self, effort: Effort) -> Algebra:
        """The operations on boxes of this space."""
        return Algebra(self.full, effort, self._long)

    # -- values of the finite dimensions

    def of_macs(self, macs: Iterable[str]) -> int:
        """``MAC`` and ``TARGET_MAC``: these addresses."""
        return sum(self._mac_bits[mac] for mac in {*macs})

    def lan_counts(self, device: Device) -> int:
        """``LAN``: where a grant recognises the device (``facts._on_its_lan``)."""
        if ANYWHERE in device.lans or (not device.lans and not device.macs):
            return 2 * self.no_lan - 1
        return self._lans_of(device) if device.lans else self.main_lans

    def lan_may_count(self, device: Device) -> int:
        """``LAN``: where a forbid does (``facts._may_be``)."""
        if not device.lans or ANYWHERE in device.lans:
            return 2 * self.no_lan - 1
        return self._lans_of(device) | self.no_lan

    def target_lan_may_count(self, device: Device) -> int:
        """``TARGET_LAN``: the same for the internal client."""
        if not device.lans or ANYWHERE in device.lans:
            return 2 * self.no_target_lan - 1
        return sum(1 << at for at, lan in enumerate(self.lans) if lan in device.lans) | self.no_target_lan

    def _lans_of(self, device: Device) -> int:
        return sum(3 << 2 * at for at, lan in enumerate(self.lans) if lan in device.lans)

    def of_lan(self, lan: str) -> int:
        """``LAN``: this interface."""
        return 3 << 2 * self.lans.index(lan)

    def leases_of(self, device: Device) -> int:
        """``LEASE``: the leases with which a grant recognises the device."""
        leases = 2 * self.unread - 1
        if device.dhcp_name is not None:
            leases &= self._lease_bits[device.dhcp_name.casefold()] | self.unread
        if device.assure is Assurance.LEASE:
            leases &= self.agreeing | self.unread
        return leases

    def restricting(self, box: Box) -> Box:
        """The box without dimensions that it does not restrict."""
        return {dimension: its for dimension, its in box.items() if its != self.full[dimension]}

    def until(self, end: float | None) -> Box:
        """The time before the end of a rule."""
        if end is None:
            return {}
        return {d.TIME: (2 << self.ends.index(end)) - 1}

    def before(self, end: float | None, seconds: int) -> Box:
        """The times that have a moment more than these seconds before the end of a rule."""
        if end is None:
            return {}
        begins = [float("-inf"), *self.ends]
        return {d.TIME: sum(1 << at for at, begin in enumerate(begins) if end - begin > seconds)}

    def zone(self, name: str) -> int:
        """The dimension of a zone."""
        return d.ZONE + self.zones.index(name)

    def in_hours(self, policy: Policy, hours: Hours) -> Region:
        """``DAY`` and ``MINUTE``: these hours."""
        at = self.calendars.index(policy.calendar)
        days: dict[Spans, int] = {}
        for bit, day in enumerate(self.days):
            spans = hours.minutes_of(*day.kinds[at])
            days[spans] = days.get(spans, 0) | 1 << bit
        return [self.restricting({d.DAY: bits, d.MINUTE: spans}) for spans, bits in days.items() if spans]

    # -- which points are requests

    def requests(self) -> Region:
        """All requests, as far as a product of sets can say so; ``possible`` has the rest. Those that name their
        port come first: they are simpler witnesses."""
        return [
            {d.SHAPE: Shape.EXACT_OTHER, d.EXT: PORTS, d.TARGET: LOCAL4, d.REMOTE: IP4},
            {d.SHAPE: Shape.TRANSLATED & ~Shape.EXACT_OTHER, d.TARGET: LOCAL4, d.REMOTE: IP4},
            {d.SHAPE: Shape.PINHOLE, d.TARGET: HOSTS4, d.REMOTE: IP4},
            {d.SHAPE: Shape.PINHOLE, d.TARGET: GLOBAL6, d.REMOTE: IP6},
        ]

    def possible(self, box: Box) -> bool:
        """True where a request is in the box: some points of a product are none, as two different ports that are
        equal."""
        return any(True for _ in self.variants(box))

    def variants(self, box: Box) -> Iterable[tuple[int, int]]:
        """(bit of Shape, bit of Relation) of each kind of request in the box."""
        shapes, relations = box.get(d.SHAPE, Shape.ALL), box.get(d.RELATION, Relation.ALL)
        assert isinstance(shapes, int)
        assert isinstance(relations, int)
        if not all(box.values()) or not self._timely(box):
            return
        datagram = box.get(d.VIA) == NATPMP
        if datagram and not in_natpmp(box):
            return
        for relation in (1, 2, 4):
            if not relations & relation or not self._related(box, relation):
                continue
            for shape in (1, 2, 4, 8, 16):
                if datagram and not natpmp_asks(shape, relation):
                    continue
                if shapes & shape and (shape & Shape.SAME or not _equal(box, d.INT, d.EXT)):
                    yield shape, relation

    def _timely(self, box: Box) -> bool:
        time, full = box.get(d.TIME), self.full[d.TIME]
        return not isinstance(time, int) or not isinstance(full, int) or bool(time & full)

    def _related(self, box: Box, relation: int) -> bool:
        """Two addresses are not equal. Without a MAC address the address is the device. One device is no other."""
        if box.get(d.LAN) == self.no_lan and any(box.get(d.ZONE + at) == 2 for at in range(len(self.zones))):
            return False  # an unknown LAN is in no zone
        if relation == Relation.SAME_ADDRESS:
            return True
        if _equal(box, d.SOURCE, d.TARGET):
            return False
        macs = box.get(d.MAC)
        if relation == Relation.SAME_DEVICE:
            return macs != self.no_mac
        named = macs == box.get(d.TARGET_MAC) and isinstance(macs, int) and macs.bit_count() == 1
        one_device = named and macs not in (self.no_mac, self.other_mac)
        return not (self._one_lan(box) and (one_device or self.two_lans(box)))

    def two_lans(self, box: Box) -> bool:
        """True where only one of the LANs of requester and internal client is in a zone."""
        return any(
            not overlap(box.get(d.ZONE + at, 3), box.get(d.TARGET_ZONE + at, 3)) for at in range(len(self.zones))
        )

    def _one_lan(self, box: Box) -> bool:
        """True where requester and internal client can only be on the same LAN, which the policy names."""
        lan, target_lan = box.get(d.LAN), box.get(d.TARGET_LAN)
        if not isinstance(lan, int):
            return False
        places = [at for at in range(len(self.lans)) if lan & (3 << 2 * at)]
        inside = len(places) == 1 and not lan & ~(3 << 2 * places[0])
        return inside and target_lan == 1 << places[0]


def in_natpmp(box: Box) -> bool:
    """True where NAT-PMP has a request of the box, as far as addresses and the remote port go: it knows neither
    IPv6 nor remote hosts (RFC 6886 section 3.3)."""
    targets, ports = box.get(d.TARGET, IP4), box.get(d.REMOTE_PORT, ((0, 0),))
    assert not isinstance(targets, int)
    assert not isinstance(ports, int)
    return targets[0][0] < IP6_BASE and ports[0][0] == 0


def natpmp_asks(shape: int, relation: int) -> bool:
    """True where NAT-PMP has requests of this kind: for the address of the sender, and the gateway chooses the
    port."""
    return relation == Relation.SAME_ADDRESS and not shape & Shape.EXACT


def _equal(box: Box, first: int, second: int) -> bool:
    """True where both dimensions can only have the same single value."""
    one, two = box.get(first), box.get(second)
    return one is not None and one == two and not isinstance(one, int) and len(one) == 1 and one[0][0] == one[0][1]
