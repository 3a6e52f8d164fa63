"""The network as the gateway sees it: links, addresses, neighbours, ports of its own. Pure values.

``servers.netwatch`` fills them from netlink; the gate's facts, the servers and the firewall read them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_network

from upnp_gw.model import IPAddress, IPNetwork, Transport


@dataclass(frozen=True, slots=True)
class Link:
    """One interface: its name, kernel index (0: not there), carrier and addresses."""

    name: str
    index: int
    up: bool
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()

    @property
    def ipv4(self) -> tuple[IPv4Address, ...]:
        return tuple(a.ip for a in self.addresses if isinstance(a, IPv4Interface))

    @property
    def ipv6(self) -> tuple[IPv6Address, ...]:
        return tuple(a.ip for a in self.addresses if isinstance(a, IPv6Interface))

    @property
    def networks(self) -> tuple[IPNetwork, ...]:
        """The connected prefixes, IPv6 link-local (fe80::/64) among them."""
        return tuple(ip_network(a.network) for a in self.addresses)


@dataclass(frozen=True, slots=True)
class Network:
    """All served links at one moment."""

    wan: Link
    lans: tuple[Link, ...]
    routed: tuple[IPNetwork, ...] = ()
    """LAN prefixes behind another router of ours (``[lan] routed``)."""
    external: tuple[IPv4Address, ...] = ()
    """External IPv4 addresses, the primary one first: the WAN link's, or the configured ones."""
    connected_at: float | None = None
    """BOOTTIME seconds since when ``external`` is not empty."""
    generation: int = 0
    """Grows with each change."""

    def lan(self, interface: str) -> Link | None:
        return next((link for link in self.lans if link.name == interface), None)

    def on_lan(self, address: IPAddress) -> bool:
        """True where the address is in a connected prefix of a LAN link or in a routed one."""
        return any(
            address.version == net.version and address in net
            for nets in (*(link.networks for link in self.lans), self.routed)
            for net in nets
        )

    def on_link(self, address: IPAddress, interface: str) -> bool:
        """True where a packet from this address may come in on this LAN interface."""
        link = self.lan(interface)
        if link is None:
            return False
        return any(address.version == net.version and address in net for net in (*link.networks, *self.routed))

    def is_gateway(self, address: IPAddress) -> bool:
        """True for any address of the gateway itself, WAN ones among them."""
        return address in self.external or any(
            address == own.ip for link in (self.wan, *self.lans) for own in link.addresses
        )


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One entry of the kernel's neighbour table on a LAN link."""

    address: IPAddress
    mac: str
    """Lower case, colons."""
    interface: str


@dataclass(slots=True)
class Neighbours:
    """Who is behind which address. Kept by netlink events; a device is told by its MAC address."""

    _by_address: dict[IPAddress, Neighbour] = field(default_factory=dict)
    _by_mac: dict[str, set[IPAddress]] = field(default_factory=dict)

    def mac_of(self, address: IPAddress) -> str | None:
        entry = self._by_address.get(address)
        return entry.mac if entry else None

    def addresses_of(self, mac: str) -> frozenset[IPAddress]:
        return frozenset(self._by_mac.get(mac, ()))

    def all(self) -> Iterable[Neighbour]:
        return tuple(self._by_address.values())

    def learn(self, entry: Neighbour) -> Neighbour | None:
        """Takes in an entry; the answer is the one it replaced when the MAC address is another."""
        old = self._by_address.get(entry.address)
        self._by_address[entry.address] = entry
        self._by_mac.setdefault(entry.mac, set()).add(entry.address)
        if old is not None and old.mac != entry.mac:
            self._drop_mac(old)
            return old
        return None

    def forget(self, address: IPAddress) -> None:
        old = self._by_address.pop(address, None)
        if old is not None:
            self._drop_mac(old)

    def _drop_mac(self, entry: Neighbour) -> None:
        addresses = self._by_mac.get(entry.mac)
        if addresses is not None:
            addresses.discard(entry.address)
            if not addresses:
                del self._by_mac[entry.mac]


@dataclass(frozen=True, slots=True)
class GatewayPorts:
    """External ports that are not ours to give (SR-24): the gateway listens there, or a static rule uses them."""

    listening: frozenset[tuple[Transport, int]] = frozenset()
    """Sockets on a wildcard or WAN address in LISTEN, or unconnected UDP below the ephemeral range."""
    static: frozenset[tuple[Transport, int]] = frozenset()
    """Ports that a dnat of another table leads elsewhere."""

    def holds(self, transport: Transport, port: int) -> bool:
        return (transport, port) in self.listening or (transport, port) in self.static
