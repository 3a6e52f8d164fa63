"""The floor: conditions that no policy can remove. They hold for the operator too, except where it says otherwise.

The internal client is an IP address of a host in a LAN prefix: not the gateway, on a LAN with NAT not a public IPv4
address, and the requester itself (the same device) unless a grant says ``for``. Ports are 1 to 65535. The external
port is not one that the gateway uses. Every lease ends. A port below 1024 needs a grant that names it.
"""

from bisect import bisect_right
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from upnp_gw.gate.decision import Facts
from upnp_gw.model.mapping import IPAddress, Transport, Via
from upnp_gw.model.network import Network
from upnp_gw.model.request import MapRequest, PortChoice, Refusal

PRIVILEGED_BELOW = 1024

LOCAL_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "198.18.0.0/15",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
    )
)
"""Prefixes that may hold an internal client: not reachable from the internet (RFC 6890). The last four are for
labs and documentation."""

_EDGES_4 = sorted(edge for net in LOCAL_IPV4 for edge in (int(net.network_address), int(net.broadcast_address) + 1))
"""The begins and ends of the private ranges, sorted: an address after an odd number of edges is inside."""
_LITERALS = (IPv4Address, IPv6Address)
_HOSTS_6 = (int(IPv6Address("100::")), int(IPv6Address("fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff")))
"""Below are the unspecified, loopback and IPv4-mapped addresses; above are link-local and multicast."""
_UNIQUE_LOCAL = (int(IPv6Address("fc00::")), int(IPv6Address("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")))
"""RFC 4193: not reachable from the internet."""

Violation = tuple[Refusal, str]
"""A refusal by the floor: its kind and a sentence."""


def violation(facts: Facts, request: MapRequest) -> Violation | None:
    """The first condition of the floor that the request breaks; None: it breaks none.

    Other internal clients and ports below 1024 are checked with the grants (``is_own``, ``is_privileged``).
    """
    sentence = _malformed(request) or _target(facts.network, request.internal.address)
    if sentence is not None:
        return Refusal.NOT_AUTHORIZED, sentence
    if not facts.device:
        return Refusal.NOT_AUTHORIZED, "the requester is not known"
    exact = exact_external(request)
    if exact is not None and _is_translated(request) and facts.gateway_ports.holds(request.transport, exact):
        return Refusal.CONFLICT_OTHER, "the gateway itself uses this external port"
    return None


def is_own(facts: Facts, request: MapRequest) -> bool:
    """True where the internal client and the requester are the same device; their addresses may differ."""
    return facts.target_device == facts.device


def is_privileged(request: MapRequest) -> bool:
    """True where the internal port, or the external one it insists on, is below 1024."""
    exact = exact_external(request)
    return request.internal.port < PRIVILEGED_BELOW or (exact is not None and exact < PRIVILEGED_BELOW)


def exact_external(request: MapRequest) -> int | None:
    """The only possible external port; None: the gateway chooses. A pinhole has only its internal port."""
    if request.pinhole:
        return request.internal.port
    return request.external_port if request.choice is PortChoice.EXACT else None


def _is_translated(request: MapRequest) -> bool:
    """True for a port mapping, which uses an external port of the gateway; a pinhole uses none."""
    return not request.pinhole


def _malformed(request: MapRequest) -> str | None:
    internal, remote = request.internal, request.remote
    lowest = 1 if request.choice is PortChoice.EXACT else 0
    if not isinstance(internal.address, _LITERALS):
        return "the internal client is not an IP address"
    if request.transport not in (Transport.TCP, Transport.UDP):
        return "only TCP and UDP can be mapped"
    if not 1 <= internal.port <= 65535:
        return "the internal port is not 1 to 65535"
    if not lowest <= request.external_port <= 65535:
        return "the external port is not 1 to 65535"
    if request.lifetime_s is not None and request.lifetime_s <= 0:
        return "the lease must be longer than 0 seconds"
    if request.permanent and request.via is not Via.OPERATOR:
        return "only the operator can make permanent mappings"
    if remote is not None and remote.version != internal.address.version:
        return "the remote host and the internal client have different address families"
    return None


def _target(network: Network, address: IPAddress) -> str | None:
    if network.emulated and (address.is_loopback or any(address in link.ips for link in network.lans)):
        return None
    number = int(address)
    if address.version == 6:
        if not _HOSTS_6[0] <= number <= _HOSTS_6[1] or _UNIQUE_LOCAL[0] <= number <= _UNIQUE_LOCAL[1]:
            return "a pinhole can lead only to a global IPv6 address"
    elif not bisect_right(_EDGES_4, number) & 1 and network.translates(address):
        return "the internal client is not a private address"
    if (address.version, number) in network.own:
        return "the internal client is the gateway itself"
    return _place(network, address.version, number)


def _place(network: Network, version: int, number: int) -> str | None:
    """The reason why this address is no host of a LAN: outside all prefixes, or network or broadcast address (IPv4)
    or the subnet-router anycast address (IPv6, RFC 4291 section 2.6.1) of one. None: it is one."""
    on_lan = False
    for family, first, last, ends in network.lan_spans:
        if family == version and first <= number <= last:
            on_lan = True
            if ends and (number == first or (number == last and version == 4)):
                return "the internal client is a network or broadcast address"
    return None if on_lan else "the internal client is not on a LAN of this gateway"
