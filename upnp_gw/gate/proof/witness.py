"""A concrete request of a box, with facts and room, for ``decide`` and for people to read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_network

from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Facts, Verdict
from upnp_gw.gate.facts import names_of
from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof.boxes import Box
from upnp_gw.gate.proof.dimensions import Relation, Shape
from upnp_gw.gate.proof.room import ROOM, Room
from upnp_gw.gate.proof.space import NATPMP, TRANSPORTS, VIAS, Space, in_natpmp, natpmp_asks
from upnp_gw.gate.proof.spans import IP4, IP6, Spans, address_of, common, has, number_of
from upnp_gw.gate.schema import Policy, Zone
from upnp_gw.model.device import device_id
from upnp_gw.model.mapping import Endpoint, IPAddress, IPNetwork, Transport, Via
from upnp_gw.model.network import GatewayPorts, Link, Network
from upnp_gw.model.request import MapRequest, PortChoice, Source

LAN = "lan"
NOON = 12 * 60
USUAL = tuple(
    number_of(ip_address(text))
    for text in (
        "192.168.1.77",
        "192.168.2.77",
        "10.0.0.77",
        "198.51.100.77",
        "2001:db8:ffff::77",
        "2001:db8:fffe::77",
    )
)
"""Addresses that a witness has, if the box has one of them."""
REMOTE_HOSTS = tuple(number_of(ip_address(text)) for text in ("198.51.100.7", "203.0.113.7", "2001:db8:9::7"))
LONGEST_S = 366 * 86_400
NATURAL = {
    Shape.EXACT_SAME: (Via.IGD1, Via.IGD2, Via.PCP),
    Shape.EXACT_OTHER: (Via.IGD1, Via.IGD2, Via.PCP),
    Shape.CHOSEN_SAME: (Via.NATPMP, Via.PCP, Via.IGD2),
    Shape.CHOSEN_OTHER: (Via.NATPMP, Via.PCP, Via.IGD2),
    Shape.PINHOLE: (Via.IGD2, Via.PCP, Via.IGD1),
}
"""Shape -> the protocols in which a client usually asks like that."""


class NoSuchRequest(Exception):
    """No network has a request of this box."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A request with its facts, and what ``decide`` says to it."""

    facts: Facts
    request: MapRequest
    verdict: Verdict
    ext_port: int
    """The external port that it is about: asked for, or one that the gateway may choose; 0: none yet."""
    name: str | None
    """The name of the device whose MAC address it has; None: it has none."""
    agrees: bool
    """All facts of that device agree, not the MAC address alone."""


def witnesses(space: Space, policy: Policy, box: Box, room: Room = ROOM) -> Iterator[Witness]:
    """Concrete requests of the box, one of each kind. ``room``: what earlier mappings leave of the quotas."""
    for shape, relation in space.variants(box):
        try:
            point = _Point(space, box, shape, relation)
            facts, request = point.facts(policy, room), point.request()
        except NoSuchRequest:
            continue
        name = _name(policy, point.mac)
        agrees = name in names_of(policy, facts)
        yield Witness(facts, request, decide(policy, facts, request), point.ext, name, agrees)


def _name(policy: Policy, mac: str | None) -> str | None:
    devices = policy.by_mac.get(mac or "", ())
    return devices[0].name if devices else None


class _Point:
    """The values of one request of the box: usual ones, else the smallest."""

    def __init__(self, space: Space, box: Box, shape: int, relation: int) -> None:
        self.space, self.box, self.shape, self.relation = space, box, shape, relation
        self.int_port, self.ext = self._ports()
        self.target, self.source = self._addresses()
        self.mac = self._mac(d.MAC, also=relation != Relation.SAME_DEVICE)
        self.lan, self.main_lan = self._lan()
        self.target_mac, self.target_lan = self.mac, self.lan
        if relation == Relation.OTHER_DEVICE:
            self.target_mac, self.target_lan = self._other()

    def _spans(self, dimension: int) -> Spans:
        spans = self.box.get(dimension, self.space.full[dimension])
        assert not isinstance(spans, int)
        return spans

    def _bits(self, dimension: int) -> int:
        bits = self.box.get(dimension, self.space.full[dimension])
        assert isinstance(bits, int)
        return bits

    def _ports(self) -> tuple[int, int]:
        inner, outer = self._spans(d.INT), self._spans(d.EXT)
        if self.shape & Shape.SAME:
            return inner[0][0], inner[0][0]
        for low, high in inner:
            for port in {low, min(low + 1, high)}:
                if (ext := _first_but(outer, port)) is not None:
                    return port, ext
        raise NoSuchRequest

    def _addresses(self) -> tuple[IPAddress, IPAddress]:
        """(of the internal client, of the requester): two different ones, unless it asks for its own."""
        targets = self._usual(d.TARGET)
        if self.relation == Relation.SAME_ADDRESS:
            return address_of(targets[0]), address_of(targets[0])
        for target in targets:
            for source in self._usual(d.SOURCE):
                if source != target:
                    return address_of(target), address_of(source)
        raise NoSuchRequest

    def _usual(self, dimension: int) -> list[int]:
        """Some addresses of the box, usual ones first; two at least, if it has two."""
        spans = self._spans(dimension)
        edges = [number for low, high in spans[:2] for number in (min(low + 77, high), low, high)]
        return [*(number for number in USUAL if has(spans, number)), *edges]

    def _mac(self, dimension: int, also: bool, but: str | None = None) -> str | None:
        """``also``: an unknown one is possible. Names that the policy has come last."""
        bits, space = self._bits(dimension), self.space
        if bits & space.other_mac:
            return "02:00:00:00:00:77" if dimension == d.MAC else "02:00:00:00:00:78"
        named = [mac for at, mac in enumerate(space.macs) if bits >> at & 1]
        preferred = [mac for mac in named if mac != but] or named
        return preferred[0] if preferred else None

    def _lan(self) -> tuple[str, str]:
        """(the requester's LAN, the first LAN)"""
        bits, space = self._bits(d.LAN), self.space
        names = (*space.lans, "other-lan")
        others = 2 * (len(names) - 1)
        first = next(name for name in (LAN, "first-lan", "main-lan", "lan-1") if name not in space.lans)
        if bits >> others + 1 & 1:
            return first, first
        for at, name in enumerate(names):
            if bits >> 2 * at + 1 & 1:
                return name, name
        return next((name for at, name in enumerate(names) if bits >> 2 * at & 1), ""), first

    def _other(self) -> tuple[str | None, str]:
        bits, lans = self._bits(d.TARGET_LAN), self.space.lans
        places = [name for at, name in enumerate((*lans, "far-lan", "")) if bits >> at & 1]
        if self.space.two_lans(self.box):
            places = [name for name in places if name != self.lan]
        if not places:
            raise NoSuchRequest
        place = self.lan if "far-lan" in places and self.lan not in lans else places[0]
        if place == self.lan and self.space.two_lans(self.box):
            place = "far-lan"
        mac = self._mac(d.TARGET_MAC, True, but=self.mac)
        if mac is not None and mac == self.mac and place == self.lan:
            place = next((name for name in places if name != self.lan), "")
        return mac, place

    def _via(self) -> Via:
        bits = self._bits(d.VIA)
        if not (in_natpmp({**self.box, d.TARGET: self._own_target()}) and natpmp_asks(self.shape, self.relation)):
            bits &= ~NATPMP
        vias = [via for at, via in enumerate(VIAS) if bits >> at & 1]
        if not vias:
            raise NoSuchRequest
        return next((via for via in NATURAL[self.shape] if via in vias), vias[0])

    def _own_target(self) -> Spans:
        number = number_of(self.target)
        return ((number, number),)

    def _lease(self) -> tuple[str | None, bool, bool]:
        """(name of the lease, it agrees, it was not read yet)"""
        bits, space = self._bits(d.LEASE), self.space
        names = (*space.lease_names, "other-host", None)
        for at in reversed(range(2 * len(names))):
            if bits >> at & 1:
                return names[at // 2], at % 2 == 0, False
        return None, False, True

    def _wall(self) -> float:
        bits, ends = self._bits(d.TIME), self.space.ends
        first = (bits & -bits).bit_length() - 1
        if first > 0:
            return float(ends[first - 1])
        return ends[0] - 2 * LONGEST_S if ends else 0.0

    def _remote(self) -> IPNetwork | None:
        spans = self._spans(d.REMOTE)
        family = IP6 if self.target.version == 6 else IP4
        if common(spans, family) == family:
            return None
        low, high = common(spans, family)[0]
        number = next((n for n in REMOTE_HOSTS if has(spans, n)), min(low + 77, high))
        return ip_network(address_of(number))

    def _zones(self, base: int) -> Sequence[str]:
        """The zones that must hold a whole LAN: the requester's, or the internal client's."""
        return [name for at, name in enumerate(self.space.zones) if self._bits(base + at) == 2]

    def facts(self, policy: Policy, room: Room) -> Facts:
        dhcp_name, agrees, unread = self._lease()
        minutes, days = self._spans(d.MINUTE), self._bits(d.DAY)
        whole_day = minutes[0][1] - minutes[0][0] == 1439
        single = self.main_lan == self.lan == self.target_lan and len(self.space.lans) == 0

        def identify(mac: str | None, lan: str, address: IPAddress) -> str:
            return device_id(mac, "" if single else lan) if mac is not None else str(address)

        device = identify(self.mac, self.lan, self.source)
        own = self.relation != Relation.OTHER_DEVICE
        return Facts(
            device=device,
            mac=self.mac,
            address=self.source,
            target_device=device if own else identify(self.target_mac, self.target_lan, self.target),
            target_mac=self.target_mac,
            lan=self.lan,
            target_lan=self.target_lan,
            main_lan=self.main_lan,
            network=self._network(policy),
            gateway_ports=GatewayPorts(),
            minute_of_day=NOON if whole_day else _begin(minutes),
            today=self.space.days[(days & -days).bit_length() - 1].ordinal,
            wall=self._wall(),
            held=room.held(policy, self.ext),
            int_ports_today=room.int_ports_today(policy, self.int_port),
            dhcp_name=dhcp_name,
            lease_agrees=agrees,
            restoring=unread,
            stale_sets=room.stale,
        )

    def request(self) -> MapRequest:
        pinhole4 = self.shape == Shape.PINHOLE and self.target.version == 4
        chosen, via = bool(self.shape & Shape.CHOSEN), self._via()
        rports = self._spans(d.REMOTE_PORT)
        return MapRequest(
            via=via,
            source=Source(self.source, self.lan),
            transport=Transport(TRANSPORTS[0 if self._bits(d.TRANSPORT) & 1 else 1]),
            internal=Endpoint(self.target, self.int_port),
            external_port=0 if chosen else self.ext,
            choice=PortChoice.SUGGESTED if chosen or via is Via.NATPMP else PortChoice.EXACT,
            lifetime_s=LONGEST_S,
            remote=self._remote(),
            remote_port=rports[0][0],
            external_address=self.target if pinhole4 else None,
        )

    def _interface(self, zone: Zone) -> "Interface":
        """An address of the gateway in the zone, which no host of the request has."""
        for net in sorted(zone.prefixes, key=lambda net: net.version):
            for at in (1, 0, net.num_addresses - 1):
                if at < net.num_addresses and net[at] not in (self.source, self.target):
                    return IPv4Interface(f"{net[at]}/32") if net.version == 4 else IPv6Interface(f"{net[at]}/128")
        raise NoSuchRequest

    def _network(self, policy: Policy) -> Network:
        """A gateway whose LANs hold both hosts, and whose LANs are in the zones of the box."""
        names = dict.fromkeys((self.main_lan, self.lan, self.target_lan))
        inside: dict[str, Interface] = {}
        ends = [(self.lan, d.ZONE)]
        if self.relation == Relation.OTHER_DEVICE:
            ends.append((self.target_lan, d.TARGET_ZONE))
        for lan, base in ends:
            for name in self._zones(base):
                if lan not in inside and name in policy.zones:
                    inside[lan] = self._interface(policy.zones[name])
        lans = [
            Link(name, 2 + index, True, (inside[name],) if name in inside else ())
            for index, name in enumerate(name for name in names if name)
        ]
        without_nat = frozenset(names) - {""} if self.shape == Shape.PINHOLE else frozenset()
        around = tuple(dict.fromkeys(ip_network(address) for address in (self.source, self.target)))
        return Network(Link("wan", 1, True), tuple(lans), routed=around, without_nat=without_nat)


Interface = IPv4Interface | IPv6Interface


def _begin(minutes: Spans) -> int:
    """The minute at which hours begin, also those that go on after midnight."""
    overnight = len(minutes) > 1 and minutes[0][0] == 0 and minutes[-1][1] == 1439
    return minutes[-1][0] if overnight else minutes[0][0]


def _first_but(spans: Spans, taken: int) -> int | None:
    """The smallest number that is not this one; None: there is none."""
    for low, high in spans:
        for number in (low, low + 1):
            if number <= high and number != taken:
                return number
    return None
