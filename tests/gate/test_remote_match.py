"""The remote hosts that rules leave to a request, host by host."""

import gc
import weakref
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.examples import examples
from tests.fixtures.policies import PC, PC6, map_request
from tests.model.test_address_ranges import UNIVERSE, networks, prefix
from upnp_gw.gate.proof.rules import remote_hosts
from upnp_gw.gate.remote import Hosts, RemoteHosts
from upnp_gw.gate.remote_match import (
    TakenAway,
    admits,
    leaves_somebody,
    narrowed_to,
    screens_of,
    somebody_left,
    taken_away,
)
from upnp_gw.model.address_ranges import AddressRanges, IPAddress, IPNetwork
from upnp_gw.model.mapping import RemotePeers, Via
from upnp_gw.model.request import MapRequest


def hosts(nets: list[IPNetwork], named: bool) -> Hosts:
    ranges = AddressRanges.of(nets)
    return Hosts((), ("list",), ranges) if named else Hosts(tuple(nets), (), ranges)


unions = st.builds(hosts, networks, st.booleans())
remotes = st.builds(RemoteHosts, st.none() | unions, st.none() | unions)
requested = st.none() | st.builds(prefix, st.sampled_from([4, 6]), st.integers(0, 4), st.integers(0, 15))


def request_for(six: bool, remote: IPNetwork | None, filters: list[IPNetwork]) -> MapRequest:
    version = 6 if six else 4
    return map_request(
        PC6 if six else PC,
        via=Via.PCP,
        remote=remote if remote is not None and remote.version == version else None,
        filters=tuple(RemotePeers(net) for net in filters if net.version == version) if remote is None else (),
    )


def asked(request: MapRequest) -> set[IPAddress]:
    """The remote hosts of the universe that a request would let in."""
    version = request.internal.address.version
    nets = [request.remote] if request.remote is not None else [peers.network for peers in request.filters]
    return {a for a in UNIVERSE if a.version == version and (not nets or any(a in net for net in nets))}


requests = st.builds(request_for, st.booleans(), requested, networks)


@examples(200)
@given(remotes, requests)
def test_a_grant_admits_the_host_that_is_named_or_somebody(remote: RemoteHosts, request: MapRequest) -> None:
    inside = {host for host in asked(request) if remote.has(host)}
    if request.remote is not None:
        assert admits(remote, request) == (inside == asked(request))
    elif request.filters:
        assert admits(remote, request) == bool(inside)
    elif inside:
        assert admits(remote, request)


@examples(200)
@given(remotes, requests)
def test_a_forbid_takes_away_exactly_its_hosts(remote: RemoteHosts, request: MapRequest) -> None:
    taken = taken_away(remote, request)
    inside = {host for host in asked(request) if remote.has(host)}
    if request.remote is not None:
        assert (taken is TakenAway.ALL) == bool(inside)
    elif request.filters:
        assert (taken is TakenAway.NOTHING) == (not inside)
        assert (taken is TakenAway.ALL) == (inside == asked(request))
    elif inside != asked(request):
        assert taken is not TakenAway.ALL


@examples(200)
@given(st.none() | remotes, st.lists(remotes, max_size=2), requests)
def test_what_is_left_is_told_as_prefixes_or_as_a_screen(
    granted: RemoteHosts | None, kept_out: list[RemoteHosts], request: MapRequest
) -> None:
    kept_out = [one for one in kept_out if taken_away(one, request) is TakenAway.SOME]
    if granted is not None and not admits(granted, request):
        return
    left = {
        host
        for host in asked(request)
        if (granted is None or granted.has(host)) and not any(one.has(host) for one in kept_out)
    }
    if left:
        assert leaves_somebody(granted, kept_out, request)
    elif request.filters:
        assert not leaves_somebody(granted, kept_out, request)
    if not leaves_somebody(granted, kept_out, request):
        return
    prefixes, screen = narrowed_to(granted, kept_out, request)
    only, never = screens_of(granted, kept_out)
    assert not (prefixes and screen.name)
    told = {
        host
        for host in asked(request)
        if (not prefixes or any(host in net for net in prefixes))
        and (not screen.name or all(one.ranges.has(host) for one in only))
        and (not screen.name or not any(one.ranges.has(host) for one in never))
    }
    assert told == left
    assert set(screen.only) <= {one.id for one in only}
    assert set(screen.never) <= {one.id for one in never}


@given(remotes, st.lists(remotes, max_size=2), st.builds(prefix, st.just(4), st.integers(0, 4), st.integers(0, 15)))
def test_somebody_is_left_where_a_host_is(
    granted: RemoteHosts, kept_out: list[RemoteHosts], net: IPNetwork
) -> None:
    left = [a for a in UNIVERSE if a in net and granted.has(a) and not any(one.has(a) for one in kept_out)]
    assert somebody_left(granted, kept_out, net, 4) == bool(left)
    assert not somebody_left(granted, kept_out, net, 6)


def test_the_id_of_hosts_does_not_depend_on_what_a_list_has_in_it() -> None:
    one, two = (Hosts((), ("bots",), AddressRanges.of([ip_network(text)])) for text in ("::/0", "10.0.0.0/8"))
    assert one.id == two.id
    assert one.id != Hosts((), ("office",), one.ranges).id
    assert (one.text, len(one.id)) == ("@bots", 12)


def test_a_screen_against_hosts_with_both_sides_names_their_difference() -> None:
    office = hosts([ip_network("10.0.0.0/8")], True)
    lab = hosts([ip_network("10.1.0.0/16")], False)
    only, never = RemoteHosts(office, lab).screens_against
    assert only == ()
    assert never[0].ranges == office.ranges - lab.ranges
    assert never[0].text == "@list without 10.1.0.0/16"


def test_addresses_of_a_policy_that_is_gone_do_not_stay() -> None:
    """A list of 100,000 prefixes that changes every day must not fill the memory."""
    office, bots = (AddressRanges.of([ip_network(net)]) for net in ("192.0.2.0/24", "192.0.2.128/25"))
    remote = RemoteHosts(Hosts((), ("office",), office), Hosts((), ("bots",), bots))
    assert remote.ranges is remote.ranges
    assert remote_hosts(remote) is remote_hosts(remote)
    left = [weakref.ref(one) for one in (office, bots, remote.ranges)]
    del office, bots, remote
    gc.collect()
    assert [one() for one in left] == [None, None, None]
