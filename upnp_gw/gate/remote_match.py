"""Remote hosts of a request, and what the rules leave of them. Pure.

A request names a remote host or prefix, or PCP FILTERs, or nobody: then every host of its family is meant. Nothing
here walks over a whole address list, unless nearly all of its addresses are taken away by another one.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from ipaddress import IPv4Network, IPv6Network

from upnp_gw.gate.remote import Hosts, RemoteHosts
from upnp_gw.model.address_ranges import AddressRanges
from upnp_gw.model.mapping import MOST_FILTERS, NO_SCREEN, IPNetwork, Screen
from upnp_gw.model.request import MapRequest

EVERYWHERE: dict[int, IPNetwork] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}
"""IP version -> all its hosts."""
EVERYBODY: tuple[tuple[IPNetwork, ...], Screen] = ((), NO_SCREEN)
"""``narrowed_to`` where no rule narrows anything."""
MOST_PIECES = 4 * MOST_FILTERS
"""Prefixes of an answer to FILTERs. The kernel holds ``MOST_FILTERS`` of them; more are a refusal of the ledger."""

Kept = Sequence[RemoteHosts]
"""Remote hosts that forbids keep out."""


class TakenAway(Enum):
    """The share that a forbid takes away from the remote hosts of a request."""

    NOTHING = 0
    SOME = 1
    ALL = 2


def version_of(request: MapRequest) -> int:
    """The IP version of the internal client."""
    version: int = request.internal.address.version
    return version


def wanted(request: MapRequest) -> tuple[IPNetwork, ...]:
    """The remote hosts that the request would let in."""
    if request.remote is not None:
        return (request.remote,)
    version = version_of(request)
    if not request.filters:
        return (EVERYWHERE[version],)
    nets = (peers.network for peers in request.filters)
    return tuple(net if net.version == version else EVERYWHERE[version] for net in nets if _fits(net, version))


def _fits(net: IPNetwork, version: int) -> bool:
    """A prefix of length 0 means everybody in either family."""
    return net.version == version or net.prefixlen == 0


def admits(remote: RemoteHosts, request: MapRequest) -> bool:
    """True where a grant with this ``remote`` lets in all of the named remote host; without one, somebody."""
    if request.remote is not None:
        return remote.includes(request.remote)
    version = version_of(request)
    if remote.never is None and not request.filters:
        return remote.any_of(version)
    return any(somebody_left(remote, (), net, version) for net in wanted(request))


def taken_away(remote: RemoteHosts, request: MapRequest) -> TakenAway:
    """The part that a forbid with this ``remote`` takes away. A named remote host is let in whole or not at all."""
    version = version_of(request)
    if request.remote is not None:
        met = somebody_left(remote, (), request.remote, version)
        return TakenAway.ALL if met else TakenAway.NOTHING
    nets = wanted(request)
    if not any(somebody_left(remote, (), net, version) for net in nets):
        return TakenAway.NOTHING
    return TakenAway.SOME if any(somebody_left(None, (remote,), net, version) for net in nets) else TakenAway.ALL


def leaves_somebody(granted: RemoteHosts | None, kept_out: Kept, request: MapRequest) -> bool:
    """True where a grant and the forbids leave a remote host that may connect."""
    version = version_of(request)
    return any(somebody_left(granted, kept_out, net, version) for net in wanted(request))


def somebody_left(granted: RemoteHosts | None, kept_out: Kept, net: IPNetwork, version: int) -> bool:
    """True where a host of ``net`` is granted (None: all are) and not kept out. It stops at the first one."""
    if net.version != version:
        return False
    number, last = int(net.network_address), int(net.broadcast_address)
    while number <= last:
        if granted is not None and not granted.has_number(version, number):
            number = granted.next_edge(version, number)
            continue
        blocker = next((hosts for hosts in kept_out if hosts.has_number(version, number)), None)
        if blocker is None:
            return True
        number = blocker.next_edge(version, number)
    return False


def narrowed_to(
    granted: RemoteHosts | None, kept_out: Kept, request: MapRequest
) -> tuple[tuple[IPNetwork, ...], Screen]:
    """The remote hosts that may connect, as prefixes or as a screen; both empty: all that the request wants."""
    version = version_of(request)
    plain = () if granted is None else granted.plain
    if plain is not None and not kept_out:
        return tuple([net for net in plain if net.version == version]), NO_SCREEN
    if request.remote is not None:
        return (), NO_SCREEN
    anybody = any(peers.network.prefixlen == 0 and not peers.port for peers in request.filters)
    if request.filters and not anybody:
        return tuple(_pieces(granted, kept_out, wanted(request))), NO_SCREEN
    return (), screen_of(granted, kept_out)


def _pieces(granted: RemoteHosts | None, kept_out: Kept, nets: Sequence[IPNetwork]) -> list[IPNetwork]:
    """The prefixes that are left of these. At most ``MOST_PIECES``: the rest is left out."""
    found: dict[IPNetwork, None] = {}
    for net in nets:
        for piece in _left_of(granted, kept_out, net):
            found[piece] = None
            if len(found) >= MOST_PIECES:
                return list(found)
    return list(found)


def _left_of(granted: RemoteHosts | None, kept_out: Kept, net: IPNetwork) -> Iterator[IPNetwork]:
    left = AddressRanges.of([net]) if granted is None else granted.within(net)
    for hosts in kept_out:
        left = left - hosts.within(net)
    return left.networks(net.version)


def screen_of(granted: RemoteHosts | None, kept_out: Kept) -> Screen:
    """The screen of a mapping: what the grant's and the forbids' hosts leave."""
    only, never = screens_of(granted, kept_out)
    return Screen(tuple(sorted({hosts.id for hosts in only})), tuple(sorted({hosts.id for hosts in never})))


def screens_of(granted: RemoteHosts | None, kept_out: Kept) -> tuple[list[Hosts], list[Hosts]]:
    """The hosts of which a remote host must be one, and those of which it must be none."""
    pairs = [*([] if granted is None else [granted.screens]), *(hosts.screens_against for hosts in kept_out)]
    return [one for only, _ in pairs for one in only], [one for _, never in pairs for one in never]
