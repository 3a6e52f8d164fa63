"""Finds the gateway of this host, and the address of this host towards it.

The parsers are pure. ``find_route`` reads /proc, and asks the kernel which source address it would use.
"""

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

from upnp_gw.client.mapping_request import NoAnswer
from upnp_gw.model.mapping import IPAddress

PROC_NET = Path("/proc/self/net")
"""Shows the net namespace of the process."""
GATEWAY = 0x2
"""RTF_GATEWAY (linux/route.h)."""
TEMPORARY, DEPRECATED, TENTATIVE = 0x01, 0x20, 0x40
GLOBAL = 0x00
UNIQUE_LOCAL = IPv6Network("fc00::/7")


@dataclass(frozen=True, slots=True)
class GatewayRoute:
    gateway: IPAddress
    source: IPAddress
    interface: str
    ifindex: int

    @property
    def version(self) -> int:
        return self.source.version


def parse_routes4(lines: Iterable[str]) -> list[tuple[int, IPv4Address, str]]:
    """(metric, gateway, interface) of the default routes in /proc/net/route, lowest metric first."""
    routes = []
    for line in lines:
        words = line.split()
        if len(words) < 8 or words[1] != "00000000" or words[7] != "00000000":
            continue
        if int(words[3], 16) & GATEWAY:
            routes.append((int(words[6]), IPv4Address(socket.htonl(int(words[2], 16))), words[0]))
    return sorted(routes)


def parse_routes6(lines: Iterable[str]) -> list[tuple[int, IPv6Address, str]]:
    """The same for /proc/net/ipv6_route."""
    routes = []
    for line in lines:
        words = line.split()
        if len(words) < 10 or words[0] != "0" * 32 or words[1] != "00" or words[9] == "lo":
            continue
        gateway = IPv6Address(int(words[4], 16))
        if int(words[8], 16) & GATEWAY and int(gateway):
            routes.append((int(words[5], 16), gateway, words[9]))
    return sorted(routes)


def parse_addresses6(lines: Iterable[str], interface: str) -> list[IPv6Address]:
    """The global addresses of an interface in /proc/net/if_inet6 that a server can use: no temporary ones, which
    expire while the port is open (RFC 8981), and no unique local ones, which the internet cannot reach."""
    addresses = []
    for line in lines:
        words = line.split()
        if len(words) < 6 or words[5] != interface or int(words[3], 16) != GLOBAL:
            continue
        address = IPv6Address(int(words[0], 16))
        if not int(words[4], 16) & (TEMPORARY | DEPRECATED | TENTATIVE) and address not in UNIQUE_LOCAL:
            addresses.append(address)
    return addresses


def find_route(version: int, gateway: IPAddress | None, source: IPAddress | None) -> GatewayRoute:
    """The route over this IP version. ``gateway`` and ``source`` override what is found. Raises NoAnswer if there
    is none."""
    if gateway is not None and gateway.version != version:
        gateway = None
    if source is not None and source.version != version:
        raise NoAnswer(f"{source} is not an IPv{version} address")
    interface = ""
    if gateway is None:
        routes = parse_routes4(_lines("route")) if version == 4 else parse_routes6(_lines("ipv6_route"))
        if not routes:
            raise NoAnswer(f"this host has no IPv{version} default route; name the gateway with --gateway")
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
    """The source address that the kernel uses towards the gateway."""
    four = gateway.version == 4
    with socket.socket(socket.AF_INET if four else socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((str(gateway), 9) if four else (str(gateway), 9, 0, index))
        except OSError as error:
            raise NoAnswer(f"no route to {gateway}: {error.strerror}") from None
        name = str(sock.getsockname()[0]).partition("%")[0]
    return IPv4Address(name) if four else IPv6Address(name)


def _reachable(towards: IPv6Address, interface: str) -> IPv6Address:
    """A global address of this interface. A pinhole needs one, though the address towards the gateway is mostly
    link-local."""
    addresses = parse_addresses6(_lines("if_inet6"), interface)
    if towards in addresses:
        return towards
    if not addresses:
        raise NoAnswer("this host has no permanent global IPv6 address; name an address with --address")
    return addresses[0]


def _interface(address: IPAddress) -> str:
    """The interface that has this address; empty: none."""
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
