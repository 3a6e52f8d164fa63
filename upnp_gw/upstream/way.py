"""The way to the gateway above: the WAN link, the router of its default route, our own address there."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.network import Network
from upnp_gw.system.rtnetlink_socket import Rtnetlink

ANYWHERE: dict[int, IPAddress] = {4: IPv4Address("192.0.0.9"), 6: IPv6Address("2001:1::1")}
"""The kernel is asked for its way to the nearest PCP server (RFC 7723). Nothing is sent there."""


@dataclass(frozen=True, slots=True)
class Way:
    """Over one IP version."""

    interface: str
    ifindex: int
    gateway: IPAddress
    """IPv6: mostly link-local."""
    source: IPAddress
    """Our own address, of the same version."""

    @property
    def version(self) -> int:
        return self.source.version


@dataclass(frozen=True, slots=True)
class NoWay:
    """There is no gateway above to ask."""

    problem: str
    """Our sentence."""
    gateway: IPAddress | None = None
    loop: bool = False


def find_way(network: Network, configured: IPAddress | None, source: IPAddress, kernel: Rtnetlink) -> Way | NoWay:
    """The way for requests from ``source``, one of our own addresses. ``configured``: the gateway above that the
    operator named; None, or one of the other version: the router of the default route.

    Never one of our own addresses (CAS-002).
    """
    version = source.version
    wan = network.wan
    if not wan.index:
        return NoWay(f"the WAN interface {wan.name} does not exist")
    gateway = configured if configured is not None and configured.version == version else None
    if gateway is None:
        try:
            gateway = kernel.gateway_to(ANYWHERE[version], wan.index)
        except OSError:
            gateway = None
    if gateway is None:
        return NoWay(f"{wan.name} has no IPv{version} default route to a gateway")
    if network.is_gateway(gateway):
        return NoWay(f"the gateway above at {gateway} is this gateway itself", gateway, loop=True)
    return Way(wan.name, wan.index, gateway, source)


def own_source(network: Network, internal: IPAddress) -> IPAddress | None:
    """Our address for requests about a mapping to ``internal``: itself if it is ours, else one of the WAN; None:
    the WAN has none of this version."""
    if network.is_gateway(internal):
        return internal
    own = [address for address in network.wan.ips if address.version == internal.version]
    return next((address for address in own if not address.is_link_local), None)
