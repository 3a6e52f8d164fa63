"""The allowed remote hosts of a mapping: PCP FILTERs and the grant's prefixes in a form that the kernel can hold.

The kernel's ranges must not overlap. So a filter inside another one is left out, and one that crosses another one
(a wide prefix from one port, a narrow one from any port) is split around it.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from upnp_gw.gate.decision import Clamps
from upnp_gw.model.mapping import MOST_FILTERS, IPNetwork, Mapping, RemotePeers, Screen
from upnp_gw.model.prefixes import exclude, inside
from upnp_gw.model.request import MapRequest

ANYWHERE6 = IPv6Network("::/0")

AllowedPeers = tuple[RemotePeers | None, ...]
"""The remote hosts that may connect; None: any. Empty: none."""
ANYONE: AllowedPeers = (None,)


def filters_after(request: MapRequest, present: Sequence[RemotePeers]) -> tuple[RemotePeers, ...]:
    """The filters after this request: added to the present ones, or in their place."""
    if not request.filters and not present:
        return ()
    before = () if request.clear_filters else present
    return tuple(dict.fromkeys((*before, *request.filters)))


def allowed_peers(mapping: Mapping) -> AllowedPeers:
    """The remote hosts that may connect to a mapping, in the kernel's form."""
    if not mapping.filters and _names_nobody(mapping):
        return ANYONE
    return combined_peers(
        requested_peers(mapping.key.remote, mapping.key.remote_port) or mapping.requested_filters,
        mapping.filters if mapping.key.remote is None else (),
    )


def _names_nobody(mapping: Mapping) -> bool:
    """True if the requests for the mapping name no remote host or port, as nearly all do."""
    if mapping.key.remote is not None or mapping.key.remote_port:
        return False
    for hold in mapping.holds:  # noqa: SIM110 (ten times for a request; a generator takes three times as long)
        if hold.filters:
            return False
    return True


def requested_peers(remote: IPNetwork | None, port: int) -> tuple[RemotePeers, ...]:
    """The remote host and port of the request itself; empty: it has none."""
    if remote is None and not port:
        return ()
    return (RemotePeers(remote if remote is not None else ANYWHERE6, port),)


def incompatible(one: RemotePeers | None, other: RemotePeers | None) -> bool:
    """True if the kernel could not hold both for one internal endpoint: two for anyone, one host twice, or two
    ranges that overlap. Each of these kinds has a map of its own, so different kinds do not conflict."""
    if one is None or other is None:
        return one is other
    if _is_host(one) or _is_host(other):
        return one == other
    ports_overlap = one.port in (0, other.port) or other.port == 0
    return ports_overlap and (inside(one.network, other.network) or inside(other.network, one.network))


def _is_host(peers: RemotePeers) -> bool:
    return not peers.port and peers.network.prefixlen == peers.network.max_prefixlen


def combined_peers(filters: Sequence[RemotePeers], granted: Sequence[IPNetwork]) -> AllowedPeers:
    """The remote hosts in both ``filters`` (PCP FILTERs) and ``granted`` (the grant's ``remote``). Each of them
    empty: any."""
    if not filters:
        if not granted:
            return ANYONE
        anyone = any(net.prefixlen == 0 for net in granted)
        return ANYONE if anyone else tuple(RemotePeers(net) for net in granted)
    peers = tuple(part for peers in filters for part in peers.within(granted))
    if any(part.network.prefixlen == 0 and not part.port for part in peers):
        return ANYONE
    return disjoint(peers)


def is_narrower(screen: Screen, than: Screen) -> bool:
    """True if a screen asks something of a remote host that the other one does not."""
    return not (set(screen.only) <= set(than.only) and set(screen.never) <= set(than.never))


def granted_prefixes(clamps: Clamps, request: MapRequest) -> tuple[IPNetwork, ...]:
    """The grant's remote prefixes of the request's family, each once; none where the request names its own."""
    if request.remote is not None or not clamps.remote:
        return ()
    if request.internal.address.version == 6:
        six = [net for net in clamps.remote if isinstance(net, IPv6Network)]
        return tuple(collapse_addresses(six))
    four = [net for net in clamps.remote if isinstance(net, IPv4Network)]
    return tuple(collapse_addresses(four))


def disjoint(filters: Iterable[RemotePeers]) -> tuple[RemotePeers, ...]:
    """The same remote hosts and ports as ranges that do not overlap. Stops beyond ``MOST_FILTERS`` ranges."""
    ranges: list[RemotePeers] = []
    # any port first, wide prefixes first: a later prefix is inside an earlier one, or around it
    for peers in sorted(set(filters), key=lambda p: (p.port != 0, p.network.prefixlen, p.network, p.port)):
        pieces = [peers.network]
        for other in ranges:
            if other.port in (0, peers.port):
                pieces = [rest for piece in pieces for rest in exclude(piece, other.network)]
        ranges += [RemotePeers(piece, peers.port) for piece in pieces]
        if len(ranges) > MOST_FILTERS:
            break
    return tuple(ranges)


def narrowed(before: Mapping, after: Mapping) -> bool:
    """True if somebody could connect to the mapping ``before`` who may not ``after``. With other lists of hosts it
    is not known, and taken to be so."""
    if after.screen != before.screen and is_narrower(after.screen, before.screen):
        return True
    now = allowed_peers(after)
    return not all(any(_covers(new, old) for new in now) for old in allowed_peers(before))


def _covers(outer: RemotePeers | None, inner: RemotePeers | None) -> bool:
    if outer is None or inner is None:
        return outer is None
    return outer.port in (0, inner.port) and inside(inner.network, outer.network)
