"""The network: links, addresses, neighbours, and the ports of the gateway itself."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_network

from upnp_gw.model.device import device_id
from upnp_gw.model.mapping import IPAddress, IPNetwork, Transport
from upnp_gw.model.prefixes import collapsed, exclude


@dataclass(frozen=True, slots=True)
class Link:
    """One interface: its name, kernel index (0: it does not exist), carrier and addresses."""

    name: str
    index: int
    up: bool
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    has_macs: bool = field(default=True, kw_only=True)
    """True where its hosts have MAC addresses; False for a tunnel or the loopback."""
    _extents: tuple[tuple[int, int, int], ...] = field(init=False, compare=False, repr=False)
    """(IP version, first, last) of each connected prefix, for speed."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_extents", tuple(map(_ends, self.networks)))

    @property
    def ipv4(self) -> tuple[IPv4Address, ...]:
        """Its IPv4 addresses."""
        return tuple(a.ip for a in self.addresses if isinstance(a, IPv4Interface))

    @property
    def ipv6(self) -> tuple[IPv6Address, ...]:
        """Its IPv6 addresses, link-local ones among them."""
        return tuple(a.ip for a in self.addresses if isinstance(a, IPv6Interface))

    @property
    def ips(self) -> tuple[IPAddress, ...]:
        """Its addresses of both families."""
        return (*self.ipv4, *self.ipv6)

    @property
    def networks(self) -> tuple[IPNetwork, ...]:
        """The connected prefixes, IPv6 link-local (fe80::/64) among them."""
        return tuple(a.network for a in self.addresses)

    def holds(self, address: IPAddress) -> bool:
        """True where the address is in a connected prefix."""
        number, version = int(address), address.version
        for family, first, last in self._extents:  # noqa: SIM110 (each request asks it; a generator is slow)
            if family == version and first <= number <= last:
                return True
        return False


def shared_prefixes(lans: Sequence[Link]) -> tuple[str, ...]:
    """A sentence for each prefix that two LANs share: an address in it does not show the LAN of its host."""
    first_lan: dict[IPNetwork, str] = {}
    sentences = []
    for link in lans:
        for net in dict.fromkeys(net for net in link.networks if not net.is_link_local):
            first = first_lan.setdefault(net, link.name)
            if first != link.name:
                both = f"{first} and {link.name}"
                sentences.append(f"{both} have the same prefix {net}: it is served only on {first}")
    return tuple(sentences)


def missing_interfaces(links: Iterable[Link]) -> tuple[str, ...]:
    """A sentence for each interface that does not exist now."""
    return tuple(
        f"{link.name} does not exist; it is served as soon as it appears" for link in links if not link.index
    )


@dataclass(frozen=True, slots=True)
class Network:
    """All served links at one moment."""

    wan: Link
    lans: tuple[Link, ...]
    routed: tuple[IPNetwork, ...] = ()
    """LAN prefixes behind another router (``[lan] routed``)."""
    routed_on: tuple[str, ...] = ()
    """For each routed prefix the LAN interface of the kernel's route to it; empty: it has none."""
    external: tuple[IPv4Address, ...] = ()
    """External IPv4 addresses, the primary one first: the WAN link's, or the configured ones."""
    advertise: IPv4Address | None = None
    """The external address of a router in front of this one, by ``[wan] advertise`` or as the gateway above tells.
    Clients get this address; the kernel translates with ``external``."""
    behind: bool = False
    """True: the internet reaches port mappings through a gateway above alone, at ``advertise``. That is None until
    the gateway above has told it, and clients get no address until then."""
    connected_at: float | None = None
    """BOOTTIME seconds since when ``external`` is not empty."""
    generation: int = 0
    """Grows with each change."""
    without_nat: frozenset[str] = frozenset()
    """LAN interfaces without NAT: outside, each of their IPv4 hosts has its own address."""
    emulated: bool = False
    """True for the emulator: clients on the same machine have the gateway's own addresses, as on the loopback."""
    own: frozenset[tuple[int, int]] = field(init=False, compare=False, repr=False)
    """(IP version, number) of every address of the gateway itself, for speed."""
    lan_spans: tuple[tuple[int, int, int, bool], ...] = field(init=False, compare=False, repr=False)
    """(IP version, first, last, whether its first and last address are not hosts) of every LAN prefix, routed ones
    last."""
    _places: tuple[tuple[int, int, int, str], ...] = field(init=False, compare=False, repr=False)
    """(IP version, first, last, LAN interface) of each connected prefix, the longest first. Of two LANs with the
    same prefix the first one has it."""
    _extents: dict[str, tuple[tuple[int, int, int], ...]] = field(init=False, compare=False, repr=False)
    """LAN interface -> (IP version, first, last) of ``prefixes``."""
    prefixes: dict[str, tuple[str, ...]] = field(init=False, compare=False, repr=False)
    """LAN interface -> its IPv4 prefixes, or its IPv6 prefixes where it has no IPv4."""
    _lans: dict[str, Link] = field(init=False, compare=False, repr=False)
    """By name."""
    advertised: IPv4Address | None = field(init=False, compare=False, repr=False)
    """The external IPv4 address that clients get; None: the WAN has none."""
    main_lan: str = field(init=False, compare=False, repr=False)
    """The first LAN interface, or none. A device for which the policy names no LAN is on it."""

    @property
    def elsewhere(self) -> tuple[IPv4Address, ...]:
        """External addresses that are not on the WAN interface while it is up."""
        known = self.wan.up and not self.emulated
        return tuple(a for a in self.external if a not in self.wan.ipv4) if known else ()

    def __post_init__(self) -> None:
        held = [own.ip for link in (self.wan, *self.lans) for own in link.addresses]
        own = frozenset((address.version, int(address)) for address in (*held, *self.external))
        nets = (*(net for link in self.lans for net in link.networks), *self.routed)
        object.__setattr__(self, "_lans", {link.name: link for link in reversed(self.lans)})
        shown = self.advertise or (self.external[0] if self.external and not self.behind else None)
        object.__setattr__(self, "advertised", shown if self.external else None)
        object.__setattr__(self, "main_lan", self.lans[0].name if self.lans else "")
        object.__setattr__(self, "own", own)
        object.__setattr__(self, "lan_spans", tuple(_span(net) for net in nets))
        object.__setattr__(self, "_places", _places(self.lans, zip(self.routed, self.routed_on, strict=False)))
        parts = {link.name: _parts(link) for link in self.lans}
        object.__setattr__(self, "_extents", {name: tuple(map(_ends, nets)) for name, nets in parts.items()})
        object.__setattr__(self, "prefixes", {name: tuple(map(str, nets)) for name, nets in parts.items()})

    @property
    def lan_hosts(self) -> tuple[IPNetwork, ...]:
        """Source prefixes that no packet from the WAN may have: those of the LANs and the gateway's own addresses.

        Without link-local prefixes, which are on every link, and without the prefixes of the WAN link.
        """
        nets = (*(net for link in self.lans for net in link.networks), *self.routed)
        rest = collapsed(net for net in nets if not net.is_link_local)
        for outside in self.wan.networks:
            rest = tuple(part for net in rest for part in exclude(net, outside))
        own = (ip_network(ip) for ip in (*self.wan.ips, *self.external) if not ip.is_link_local)
        return collapsed((*rest, *own))

    def lan(self, interface: str) -> Link | None:
        """The LAN link of this name; None: it is not a LAN."""
        return self._lans.get(interface)

    def link_of_host(self, address: IPAddress, interface: str) -> Link | None:
        """The LAN link with this name, if another host can have this address there: it is in a connected prefix and
        not the gateway's own."""
        link = self._lans.get(interface)
        if link is None or self.is_gateway(address):
            return None
        return link if link.holds(address) else None

    @property
    def lan_names(self) -> tuple[str, ...]:
        """The LAN interfaces, the first one first."""
        return tuple(link.name for link in self.lans)

    def lan_of(self, address: IPAddress) -> str:
        """The LAN interface of this address, or of the router in front of it: the longest prefix wins, as in the
        kernel. Empty for a link-local address, which may be on any LAN, and for a routed one if there is one LAN.
        """
        number, version = int(address), address.version
        for family, first, last, name in self._places:
            if family == version and first <= number <= last:
                return name
        return ""

    def translates(self, address: IPAddress) -> bool:
        """True for an IPv4 host with NAT: the internet reaches it at the gateway's external address. False: at its
        own address."""
        if address.version == 6:
            return False
        return not self.without_nat or (self.lan_of(address) or self.main_lan) not in self.without_nat

    def translates_sender(self, address: IPAddress, interface: str) -> bool:
        """True where the sender of a request has NAT for IPv4: by its address, over IPv6 by the LAN it asks on."""
        return self.translates(address) if address.version == 4 else interface not in self.without_nat

    @property
    def has_nat(self) -> bool:
        """True where at least one LAN has NAT."""
        return any(link.name not in self.without_nat for link in self.lans)

    def external_of(self, address: IPAddress) -> IPAddress | None:
        """The address at which the internet reaches a LAN host: its own, or with NAT ``advertised``."""
        return self.advertised if self.translates(address) else address

    def extent_of(self, interface: str) -> tuple[tuple[int, int, int], ...]:
        """``prefixes`` of a LAN, as (IP version, first, last)."""
        return self._extents.get(interface, ())

    def device_id(self, mac: str, interface: str) -> str:
        """The identifier of the device with this MAC address on this LAN interface (``upnp_gw.model.device``)."""
        return device_id(mac, interface if len(self.lans) > 1 else "")

    def on_lan(self, address: IPAddress) -> bool:
        """True where the address is in a connected prefix of a LAN link or in a routed one."""
        return any(
            address.version == net.version and address in net
            for nets in (*(link.networks for link in self.lans), self.routed)
            for net in nets
        )

    def on_link(self, address: IPAddress, interface: str) -> bool:
        """True where a packet from this address may arrive on this LAN interface."""
        link = self.lan(interface)
        if link is None:
            return False
        place = self.lan_of(address)
        if place:
            return place == interface
        nets = link.networks if len(self.lans) > 1 else (*link.networks, *self.routed)
        return any(address.version == net.version and address in net for net in nets)

    def is_gateway(self, address: IPAddress) -> bool:
        """True for any address of the gateway itself, also those of the WAN."""
        return (address.version, int(address)) in self.own


def _places(lans: Sequence[Link], routed: Iterable[tuple[IPNetwork, str]]) -> tuple[tuple[int, int, int, str], ...]:
    nets = [(net, link.name) for link in lans for net in dict.fromkeys(link.networks) if not net.is_link_local]
    nets += routed if len(lans) > 1 else ()
    nets.sort(key=lambda place: -place[0].prefixlen)  # stable, so the first LAN wins
    return tuple((net.version, int(net.network_address), int(net.broadcast_address), name) for net, name in nets)


def _parts(link: Link) -> list[IPNetwork]:
    nets = [net for net in link.networks if not net.is_link_local]
    return [net for net in nets if net.version == 4] or nets


def _ends(net: IPNetwork) -> tuple[int, int, int]:
    return net.version, int(net.network_address), int(net.broadcast_address)


def _span(net: IPNetwork) -> tuple[int, int, int, bool]:
    ends = net.max_prefixlen - net.prefixlen >= 2
    return net.version, int(net.network_address), int(net.broadcast_address), ends


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One entry of the kernel's neighbour table on a LAN link."""

    address: IPAddress
    mac: str
    """Lower case, colons."""
    interface: str


@dataclass(slots=True)
class Neighbours:
    """The hosts behind addresses, kept by netlink events. A device is identified by its MAC address and its LAN."""

    _by_address: dict[IPAddress, dict[str, Neighbour]] = field(default_factory=dict)
    """Address -> interface -> entry: two LANs can each have their own fe80::1."""
    _by_mac: dict[str, set[tuple[IPAddress, str]]] = field(default_factory=dict)

    def find(self, address: IPAddress, interface: str | None = None) -> Neighbour | None:
        """The entry of an address on this LAN interface, or without ``interface`` on the only one that has it.

        None if two interfaces have it: a guess could confuse hosts of different LANs.
        """
        entries = self._by_address.get(address)
        if not entries:
            return None
        if interface is not None:
            return entries.get(interface)
        return next(iter(entries.values())) if len(entries) == 1 else None

    def mac_of(self, address: IPAddress, interface: str | None = None) -> str | None:
        """The MAC address of that entry."""
        entry = self.find(address, interface)
        return entry.mac if entry is not None else None

    def addresses_of(self, mac: str, interface: str | None = None) -> frozenset[IPAddress]:
        """The addresses of this MAC address on this LAN interface; without one, on all."""
        places = self._by_mac.get(mac, ())
        return frozenset(address for address, where in places if interface in (None, where))

    def interfaces_of(self, mac: str) -> frozenset[str]:
        """The LAN interfaces that this MAC address is seen on."""
        return frozenset(where for _, where in self._by_mac.get(mac, ()))

    def all(self) -> Iterable[Neighbour]:
        """Every entry, as a copy."""
        return tuple(entry for entries in self._by_address.values() for entry in entries.values())

    def learn(self, entry: Neighbour) -> Neighbour | None:
        """Adds an entry. The answer is the entry that it replaced if that had another MAC address, else None."""
        entries = self._by_address.setdefault(entry.address, {})
        old = entries.get(entry.interface)
        entries[entry.interface] = entry
        self._by_mac.setdefault(entry.mac, set()).add((entry.address, entry.interface))
        if old is not None and old.mac != entry.mac:
            self._drop_mac(old)
            return old
        return None

    def forget(self, address: IPAddress, interface: str | None = None) -> None:
        """Removes the entry of an address on this interface, or without ``interface`` on every one."""
        entries = self._by_address.get(address, {})
        for name in (*entries,) if interface is None else (interface,):
            old = entries.pop(name, None)
            if old is not None:
                self._drop_mac(old)
        if not entries:
            self._by_address.pop(address, None)

    def _drop_mac(self, entry: Neighbour) -> None:
        places = self._by_mac.get(entry.mac)
        if places is not None:
            places.discard((entry.address, entry.interface))
            if not places:
                del self._by_mac[entry.mac]


PORT_CONTROL_PORTS = frozenset({(Transport.UDP, 5350), (Transport.UDP, 5351)})
"""External ports that no client gets (RFC 6887 section 11.3), also where NAT-PMP and PCP are off."""


@dataclass(frozen=True, slots=True)
class GatewayPorts:
    """External ports that no mapping may use (SR-24): the gateway listens on them, or a static rule uses them."""

    listening: frozenset[tuple[Transport, int]] = frozenset()
    """Ports of TCP sockets that listen, and of unconnected UDP sockets below the ephemeral range, on a wildcard or
    WAN address."""
    static: frozenset[tuple[Transport, int]] = frozenset()
    """Ports that a dnat rule of another table redirects."""

    def holds(self, transport: Transport, port: int) -> bool:
        """True if no mapping may use this external port."""
        place = (transport, port)
        return place in self.listening or place in self.static or place in PORT_CONTROL_PORTS
