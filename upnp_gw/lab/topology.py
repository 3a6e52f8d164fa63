"""The topology of a lab: the internet with its peers, one gateway, its LANs and their hosts. Pure values.

    peer1 --- internet --- wan0 [gateway] lan0 --- switch --- console, pc
    peer2 ------'                         lan1 --- switch --- server, desk
                                                        `--- wan0 [inner] lan0 --- switch --- rack

The WAN address is a public one, because upnpc calls RFC 1918, shared and documentation addresses "not connected".
These addresses exist only in the namespaces. No packet of a lab reaches a real interface.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

WAN_NETWORK = IPv4Network("11.22.33.0/24")
WAN_NETWORK6 = IPv6Network("2a11:2233::/64")
GATEWAY_WAN = 44
"""Host part of the gateway's first external address; further ones follow it."""
INTERNET = 1
"""Host part of the internet router's address on each of its links."""


@dataclass(frozen=True, slots=True)
class LanHost:
    """A host on a LAN. ``number`` is the host part of its addresses, 2..254."""

    name: str
    number: int
    mac: str


@dataclass(frozen=True, slots=True)
class Lan:
    """One LAN of a router. The router is host 1 of each of its networks."""

    interface: str
    network: IPv4Network
    """The internet routes a public one to the gateway; a private one needs NAT."""
    network6: IPv6Network
    """A global /64 that the internet routes to the gateway, for pinholes."""
    ula: IPv6Network
    hosts: tuple[LanHost, ...]
    routers: tuple["Router", ...] = ()

    @property
    def public(self) -> bool:
        return self.network.is_global

    def and_behind(self) -> Iterator["Lan"]:
        """This LAN, then those behind its routers."""
        yield self
        for router in self.routers:
            yield from router.lan.and_behind()


@dataclass(frozen=True, slots=True)
class Router:
    """A router on a LAN, with a LAN of its own. It routes and does not translate; a test may run a daemon in it."""

    host: LanHost
    """Its name, and its link to the LAN that it is on: ``wan0``."""
    lan: Lan


CONSOLE = LanHost("console", 10, "ac:89:95:00:00:01")
PC = LanHost("pc", 20, "3c:52:82:00:00:02")

HOME = Lan(
    interface="lan0",
    network=IPv4Network("192.168.77.0/24"),
    network6=IPv6Network("2a11:2233:0:77::/64"),
    ula=IPv6Network("fd77:7777:7777:77::/64"),
    hosts=(CONSOLE, PC),
)

GUEST = Lan(
    interface="lan1",
    network=IPv4Network("192.168.88.0/24"),
    network6=IPv6Network("2a11:2233:0:88::/64"),
    ula=IPv6Network("fd77:7777:7777:88::/64"),
    hosts=(LanHost("guest", 10, "9c:b6:d0:00:00:03"),),
)

OFFICE = Lan(
    interface="lan1",
    network=IPv4Network("11.60.77.0/24"),
    network6=IPv6Network("2a11:2233:0:60::/64"),
    ula=IPv6Network("fd77:7777:7777:60::/64"),
    hosts=(LanHost("server", 10, "3c:ec:ef:00:00:04"), LanHost("desk", 20, "3c:52:82:00:00:05")),
)
"""A LAN for a gateway without NAT: its hosts have public addresses."""

INNER = Router(
    LanHost("inner", 2, "02:00:60:00:00:02"),
    Lan(
        interface="lan0",
        network=IPv4Network("11.60.99.0/24"),
        network6=IPv6Network("2a11:2233:0:99::/64"),
        ula=IPv6Network("fd77:7777:7777:99::/64"),
        hosts=(LanHost("rack", 10, "3c:ec:ef:00:00:06"),),
    ),
)
"""A router inside the office, with public addresses behind it."""


@dataclass(frozen=True, slots=True)
class Topology:
    """``Topology()`` is the home of the demo: two peers, one LAN with a console and a PC."""

    lans: tuple[Lan, ...] = (HOME,)
    peers: tuple[str, ...] = ("peer1", "peer2")
    """Hosts on the internet, each in a network of its own: peer n is 11.50.n.10 and 2a11:50:n::10."""
    external: int = 1
    """Number of external IPv4 addresses of the gateway: 11.22.33.44 and following."""
    wan: str = "wan0"

    @property
    def all_lans(self) -> tuple[Lan, ...]:
        """The gateway's LANs and those behind the routers on them."""
        return tuple(behind for lan in self.lans for behind in lan.and_behind())

    @property
    def external_addresses(self) -> tuple[IPv4Address, ...]:
        return tuple(WAN_NETWORK[GATEWAY_WAN + i] for i in range(self.external))


def peer_network(number: int) -> IPv4Network:
    return IPv4Network(f"11.50.{number}.0/24")


def peer_network6(number: int) -> IPv6Network:
    return IPv6Network(f"2a11:50:{number}::/64")


def gateway_of(network: IPv4Network) -> IPv4Address:
    return network[1]


def gateway6_of(network: IPv6Network) -> IPv6Address:
    return network[1]
