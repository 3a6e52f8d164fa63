"""Sums over address prefixes, of both families at once. Pure."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

IPNetwork = IPv4Network | IPv6Network


def inside(inner: IPNetwork, outer: IPNetwork) -> bool:
    """True if every address of ``inner`` is in ``outer``. False for two address families."""
    if isinstance(inner, IPv4Network) and isinstance(outer, IPv4Network):
        return inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def intersects(first: IPNetwork, second: IPNetwork) -> bool:
    """True where they share an address: then one is inside the other."""
    return inside(first, second) or inside(second, first)


def exclude(net: IPNetwork, part: IPNetwork) -> tuple[IPNetwork, ...]:
    """``net`` without ``part``, as the fewest prefixes, in order."""
    if inside(net, part):
        return ()
    if isinstance(net, IPv4Network) and isinstance(part, IPv4Network) and inside(part, net):
        return tuple(sorted(net.address_exclude(part)))
    if isinstance(net, IPv6Network) and isinstance(part, IPv6Network) and inside(part, net):
        return tuple(sorted(net.address_exclude(part)))
    return (net,)


def collapsed(nets: Iterable[IPNetwork]) -> tuple[IPNetwork, ...]:
    """The same addresses as the fewest prefixes, IPv4 first, in order."""
    nets = list(nets)
    four = collapse_addresses(net for net in nets if isinstance(net, IPv4Network))
    six = collapse_addresses(net for net in nets if isinstance(net, IPv6Network))
    return (*four, *six)
