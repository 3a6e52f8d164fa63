"""Which gateway this host has, and from which of its addresses it asks.

The parsers are pure; ``find_way`` reads /proc and asks the kernel which address it would send from.
"""

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

from upnp_gw.client.mapping_request import NoAnswer
from upnp_gw.model.mapping import IPAddress

PROC_NET = Path("/proc/self/net")
"""Follows the net namespace of the process."""
GATEWAY = 0x2
"""The flag of a route that has a gateway (linux/route.h)."""
TEMPORARY, DEPRECATED, TENTATIVE = 0x01, 0x20, 0x40
GLOBAL = 0x00
UNIQUE_LOCAL = IPv6Network("fc00::/7")


@dataclass(frozen=True, slots=True)
class GatewayRoute:
    """From one of our addresses to the gateway."""

    gateway: IPAddress
    source: IPAddress
    interface: str
    ifindex: int

    @property
    def version(self) -> int:
        return self.source.version


def parse_routes4(lines: Iterable[str]) -> list[tuple[int, IPv4Address, str]]:
    """(metric, gateway, interface) of the default routes in /proc/net/route, the best first."""
    found = []
    for line in lines:
        words = line.split()
        if len(words) < 8 or words[1] != "00000000" or words[7] != "00000000":
            continue
        if int(words[3], 16) & GATEWAY:
            found.append((int(words[6]), IPv4Address(socket.htonl(int(words[2], 16))), words[0]))
    return sorted(found)


def parse_routes6(lines: Iterable[str]) -> list[tuple[int, IPv6Address, str]]:
    """The same of /proc/net/ipv6_route."""
    found = []
    for line in lines:
        words = line.split()
        if len(words) < 10 or words[0] != "0" * 32 or words[1] != "00" or words[9] == "lo":
            continue
        gateway = IPv6Address(int(words[4], 16))
        if int(words[8], 16) & GATEWAY and int(gateway):
            found.append((int(words[5], 16), gateway, words[9]))
    return sorted(found)


def parse_addresses6(lines: Iterable[str], interface: str) -> list[IPv6Address]:
    """The global addresses of an interface in /proc/net/if_inet6 that a server can be reached at: not temporary
    ones, which go again while the port is open (RFC 8981), nor those that the internet has no way to."""
    found = []
    for line in lines:
        words = line.split()
        if len(words) < 6 or words[5] != interface or int(words[3], 16) != GLOBAL:
            continue
        address = IPv6Address(int(words[0], 16))
        if not int(words[4], 16) & (TEMPORARY | DEPRECATED | TENTATIVE) and address not in UNIQUE_LOCAL:
            found.append(address)
    return found


def find_way(version: int, gateway: IPAddress | None, source: IPAddress | None) -> GatewayRoute:
    """The way over this IP version; what is given is taken. Raises Silent where there is none."""
    if gateway is not None and gateway.version != version:
        gateway = None
    if source is not None and source.version != version:
        raise NoAnswer(f"{source} is no IPv{version} address")
    interface = ""
    if gateway is None:
        routes = parse_routes4(_lines("route")) if version == 4 else parse_routes6(_lines("ipv6_route"))
        if not routes:
            raise NoAnswer(f"no default route over IPv{version}; name the gateway with --gateway")
        _, gateway, interface = routes[0]
    elif isinstance(gateway, IPv6Address) and gateway.scope_id:
        interface, gateway = gateway.scope_id, IPv6Address(gateway.packed)
    index = socket.if_nametoindex(interface) if interface else 0
    towards = _source(gateway, index)
    if not interface:
        interface = _interface(towards) if version == 6 else ""
        index = socket.if_nametoindex(interface) if interface else 0
    if source is None and isinstance(towards, IPv6Address):
        source = _reachable(towards, interface)
    return GatewayRoute(gateway, source or towards, interface, index)


def _source(gateway: IPAddress, index: int) -> IPAddress:
    """The address that the kernel would send from."""
    four = gateway.version == 4
    with socket.socket(socket.AF_INET if four else socket.AF_INET6, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((str(gateway), 9) if four else (str(gateway), 9, 0, index))
        except OSError as error:
            raise NoAnswer(f"no way to {gateway}: {error.strerror}") from None
        name = str(asking.getsockname()[0]).partition("%")[0]
    return IPv4Address(name) if four else IPv6Address(name)


def _reachable(towards: IPv6Address, interface: str) -> IPv6Address:
    """A pinhole leads to a global address, though a router is most often link-local to its hosts."""
    known = parse_addresses6(_lines("if_inet6"), interface)
    if towards in known:
        return towards
    if not known:
        raise NoAnswer("this host has no lasting global IPv6 address; name one with --address")
    return known[0]


def _interface(address: IPAddress) -> str:
    """Whose address it is."""
    for line in _lines("if_inet6"):
        words = line.split()
        if len(words) >= 6 and IPv6Address(int(words[0], 16)) == address:
            return words[5]
    return ""


def _lines(name: str) -> list[str]:
    try:
        return (PROC_NET / name).read_text("ascii").splitlines()
    except OSError:
        return []
