"""Tests which remote hosts become able to connect when one row takes the place of another."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from tests.fixtures.mapping_rows import NOW, mapping
from upnp_gw.ledger.leases import without_expired_holds
from upnp_gw.ledger.reachable import no_wider, opens, with_holds
from upnp_gw.model.mapping import Endpoint, Hold, Instant, Mapping, RemotePeers, Via

NET, HOST, OTHER = ip_network("203.0.113.0/24"), ip_network("203.0.113.5/32"), ip_network("198.51.100.7/32")
PLAIN = mapping(1)
SOME = replace(PLAIN, filters=(NET,))


def held(*holds: tuple[Via, tuple[RemotePeers, ...]]) -> Mapping:
    """A mapping that is held over these protocols, each with its FILTERs. The first lease ends first."""
    made = [Hold(via, NOW.boot + 60 * (n + 1), 60, None, 0, filters) for n, (via, filters) in enumerate(holds)]
    return replace(PLAIN, holds=tuple(made))


OPENED = [
    (None, PLAIN, True, "a new row"),
    (PLAIN, PLAIN, False, "the same"),
    (PLAIN, replace(PLAIN, internal=Endpoint(PLAIN.internal.address, 81)), True, "another internal port"),
    (PLAIN, replace(PLAIN, internal=Endpoint(PLAIN.internal.address + 1, 8080)), True, "another internal client"),
    (
        replace(PLAIN, enabled=False),
        replace(PLAIN, enabled=False, internal=Endpoint(PLAIN.internal.address, 81)),
        True,
        "another internal port, disabled",
    ),
    (PLAIN, mapping(1, 8081, internal=8080), True, "another external port"),
    (replace(PLAIN, enabled=False), PLAIN, True, "enabled"),
    (PLAIN, replace(PLAIN, enabled=False), False, "disabled"),
    (replace(PLAIN, parked=True), PLAIN, False, "its device is there again"),
    (SOME, PLAIN, True, "anyone in place of some"),
    (PLAIN, SOME, False, "some in place of anyone"),
    (SOME, replace(PLAIN, filters=(HOST,)), False, "fewer of them"),
    (SOME, replace(PLAIN, filters=(OTHER,)), True, "others"),
    (SOME, replace(PLAIN, filters=(NET, OTHER)), True, "one more"),
    (SOME, replace(PLAIN, filters=(NET, OTHER), enabled=False), False, "one more, disabled"),
    (
        held((Via.PCP, (RemotePeers(NET, 443),))),
        held((Via.PCP, (RemotePeers(NET),))),
        True,
        "from any of their ports",
    ),
    (held((Via.PCP, (RemotePeers(NET),))), held((Via.PCP, (RemotePeers(HOST, 443),))), False, "from one of them"),
    (held((Via.PCP, (RemotePeers(NET),))), held((Via.PCP, (RemotePeers(NET),)), (Via.IGD1, ())), True, "IGD joins"),
    (
        held((Via.PCP, (RemotePeers(NET),))),
        held((Via.PCP, (RemotePeers(NET),)), (Via.NATPMP, ())),
        False,
        "NAT-PMP joins",
    ),
]


@pytest.mark.parametrize(("before", "after", "opened", "why"), OPENED, ids=[case[3] for case in OPENED])
def test_opens(before: Mapping | None, after: Mapping, opened: bool, why: str) -> None:
    assert opens(before, after) is opened


def test_no_wider_keeps_the_remote_hosts_that_both_allow() -> None:
    assert no_wider(SOME, PLAIN) == SOME
    assert no_wider(SOME, replace(PLAIN, filters=(ip_network("203.0.112.0/23"),))) == SOME
    assert no_wider(SOME, replace(PLAIN, filters=(OTHER,))) is None, "the present grant does not allow those"
    assert no_wider(PLAIN, replace(PLAIN, internal=Endpoint(PLAIN.internal.address, 81))) is None
    assert no_wider(replace(PLAIN, enabled=False), PLAIN) is None


def test_no_wider_keeps_the_filters_for_natpmp_alone() -> None:
    before, after = held((Via.NATPMP, (RemotePeers(NET),))), held((Via.NATPMP, ()))
    assert no_wider(before, after, Via.NATPMP) == before
    assert no_wider(before, after) is None
    filtered = held((Via.PCP, (RemotePeers(NET),)))
    assert no_wider(filtered, held((Via.PCP, ())), Via.PCP) is None, "a PCP client gets the true state"


def test_the_end_of_a_lease_leaves_its_filters_in_force() -> None:
    both = held((Via.PCP, (RemotePeers(NET),)), (Via.NATPMP, ()))
    left = without_expired_holds(both, Instant(NOW.boot + 60, NOW.wall))
    assert left is not None
    assert [(hold.via, hold.filters) for hold in left.holds] == [(Via.NATPMP, (RemotePeers(NET),))]
    assert not opens(both, left)


def test_the_end_of_a_lease_that_kept_nobody_out_changes_no_other() -> None:
    igd = held((Via.PCP, (RemotePeers(NET),)), (Via.IGD1, ()))
    assert with_holds(igd, igd.holds[1:]).holds == igd.holds[1:], "anyone could connect"
    assert with_holds(igd, igd.holds[:1]).holds == igd.holds[:1]
