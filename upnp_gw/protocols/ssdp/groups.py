"""The multicast groups, and which address of the gateway is used for each (IGD section 2.6)."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.network import Link

PORT = 1900


@dataclass(frozen=True, slots=True)
class Group:
    """A multicast group, for announcements and searches."""

    address: IPAddress

    @property
    def host(self) -> str:
        """The HOST header of messages to the group."""
        return f"[{self.address}]:{PORT}".upper() if self.address.version == 6 else f"{self.address}:{PORT}"


IPV4 = Group(IPv4Address("239.255.255.250"))
IPV6_LINK = Group(IPv6Address("ff02::c"))
IPV6_SITE = Group(IPv6Address("ff05::c"))
GROUPS = (IPV4, IPV6_LINK, IPV6_SITE)

UNIQUE_LOCAL = 0xFC
"""First octet of fc00::/7 with its last bit masked (RFC 4193)."""


def own_address(link: Link, destination: IPAddress, peer: IPAddress | None = None) -> IPAddress | None:
    """The gateway's address on this link for LOCATION and as source; None: the message is not for the gateway.

    ``destination``: a group or an address of the gateway; ``peer``: the receiver. A search to an address of the
    gateway is answered from that address. IPv4: the address in the peer's subnet. FF02::C: the link-local address.
    FF05::C: a unique local address rather than a global one, because the provider may change its prefix.
    """
    if destination in link.ipv4 or destination in link.ipv6:
        return destination
    if destination == IPV4.address:
        return _nearest(link, peer)
    if destination == IPV6_LINK.address:
        return next((a for a in link.ipv6 if a.is_link_local), None)
    if destination == IPV6_SITE.address:
        routable = [a for a in link.ipv6 if not a.is_link_local]
        return min(routable, key=lambda a: a.packed[0] & 0xFE != UNIQUE_LOCAL, default=None)
    return None


def _nearest(link: Link, peer: IPAddress | None) -> IPv4Address | None:
    """The address in the peer's subnet, else the first; one of 169.254.0.0/16 only if there is no other."""
    own = [a for a in link.addresses if a.version == 4]
    best = min(own, key=lambda a: (peer is None or peer not in a.network, a.ip.is_link_local), default=None)
    return None if best is None else IPv4Address(best.ip)
