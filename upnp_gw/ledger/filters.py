"""Who may connect to a mapping: PCP FILTERs and the grant's prefixes, brought into a form that the kernel can hold.

The kernel's ranges must not overlap, so a filter inside another goes, and one that crosses another (a wide prefix
from one port, a narrow one from any) is cut up around it.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv6Network

from upnp_gw.model.mapping import MOST_FILTERS, IPNetwork, Mapping, RemotePeers
from upnp_gw.model.prefixes import exclude, inside
from upnp_gw.model.request import MapRequest

ANYWHERE6 = IPv6Network("::/0")

AllowedPeers = tuple[RemotePeers | None, ...]
"""Who may connect; None: anyone. Empty: nobody."""


def filters_after(request: MapRequest, standing: Sequence[RemotePeers]) -> tuple[RemotePeers, ...]:
    """The filters after this request: added to those that stand, or in their place."""
    before = () if request.clear_filters else standing
    return tuple(dict.fromkeys((*before, *request.filters)))


def allowed_peers(mapping: Mapping) -> AllowedPeers:
    """Who may connect to a mapping, in the kernel's form."""
    return combined_peers(
        requested_peers(mapping.key.remote, mapping.key.remote_port) or mapping.requested_filters,
        mapping.filters if mapping.key.remote is None else (),
    )


def requested_peers(remote: IPNetwork | None, port: int) -> tuple[RemotePeers, ...]:
    """The remote host and port that a request named itself; empty: it named none."""
    if remote is None and not port:
        return ()
    return (RemotePeers(remote if remote is not None else ANYWHERE6, port),)


def incompatible(one: RemotePeers | None, other: RemotePeers | None) -> bool:
    """Whether the kernel could not hold both for one internal endpoint: no two for anyone, no host twice, no two
    ranges that overlap. It looks for them in this order of their kinds, so those of different kinds are fine."""
    if one is None or other is None:
        return one is other
    if _is_host(one) or _is_host(other):
        return one == other
    ports_meet = one.port in (0, other.port) or other.port == 0
    return ports_meet and (inside(one.network, other.network) or inside(other.network, one.network))


def _is_host(peers: RemotePeers) -> bool:
    return not peers.port and peers.network.prefixlen == peers.network.max_prefixlen


def combined_peers(asked: Sequence[RemotePeers], granted: Sequence[IPNetwork]) -> AllowedPeers:
    """``asked``: the FILTERs; ``granted``: the grant's ``remote``. Both narrow; empty means anyone."""
    if not asked:
        anyone = not granted or any(net.prefixlen == 0 for net in granted)
        return (None,) if anyone else tuple(RemotePeers(net) for net in granted)
    found = tuple(peers for one in asked for peers in one.within(granted))
    if any(peers.network.prefixlen == 0 and not peers.port for peers in found):
        return (None,)
    return disjoint(found)


def disjoint(filters: Iterable[RemotePeers]) -> tuple[RemotePeers, ...]:
    """The same remote hosts and ports as ranges that do not overlap; it stops beyond ``MOST_FILTERS`` of them."""
    found: list[RemotePeers] = []
    # any port first, wide prefixes first: what comes later is inside what stands, or around it
    for peers in sorted(set(filters), key=lambda p: (p.port != 0, p.network.prefixlen, p.network, p.port)):
        pieces = [peers.network]
        for other in found:
            if other.port in (0, peers.port):
                pieces = [left for piece in pieces for left in exclude(piece, other.network)]
        found += [RemotePeers(piece, peers.port) for piece in pieces]
        if len(found) > MOST_FILTERS:
            break
    return tuple(found)


def narrowed(before: Mapping, after: Mapping) -> bool:
    """True where somebody could connect to the mapping that no longer may."""
    now = allowed_peers(after)
    return not all(any(_covers(new, old) for new in now) for old in allowed_peers(before))


def _covers(outer: RemotePeers | None, inner: RemotePeers | None) -> bool:
    if outer is None or inner is None:
        return outer is None
    return outer.port in (0, inner.port) and inside(inner.network, outer.network)
