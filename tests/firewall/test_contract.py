"""The contract of ``firewall.base``, against every implementation."""

import threading
from dataclasses import replace

import pytest

from tests.fixtures.firewall_driver import NETWORK, Driver, forward, pinhole, settings
from upnp_gw.firewall.base import Close, Cut, Firewall, FirewallMode, Forward, Open, Refill, UpdateNetwork
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Transport

Any2 = Driver[Firewall]

KINDS = [
    forward("m1"),
    forward("m2", transport=Transport.UDP),
    forward("m3", 80, internal_port=8080),
    forward("m4", 81, external=NETWORK.external[0]),
    forward("m5", 82, remote="203.0.113.7/32"),
    forward("m6", 83, remote="203.0.113.0/24"),
    forward("m7", 84, remote="203.0.113.7/32", external=NETWORK.external[0]),
    forward("m8", 85, remote="203.0.113.0/24", external=NETWORK.external[0]),
    forward("m9", 86, remote="0.0.0.0/0"),
    forward("m10", 443, to="2a11:2233:0:77::10"),
    forward("m11", 443, to="2a11:2233:0:77::11", remote="2a11:50:1::10/128"),
    forward("m12", 443, to="2a11:2233:0:77::12", remote="2a11:50:1::/64", transport=Transport.UDP),
    pinhole("m13", 443, "11.99.1.10"),
    pinhole("m14", 443, "11.99.1.11", remote="203.0.113.7/32"),
    pinhole("m15", 443, "11.99.1.12", remote="203.0.113.0/24", transport=Transport.UDP),
]


@pytest.fixture(params=list(FirewallMode))
def firewall(any_firewall: Any2, request: pytest.FixtureRequest) -> Any2:
    any_firewall.open(settings(request.param))
    return any_firewall


@pytest.mark.parametrize("one", KINDS, ids=lambda f: f.id)
@pytest.mark.spec("SR-29")
def test_an_open_forward_is_in_force_and_has_an_end(firewall: Any2, one: Forward) -> None:
    firewall.apply(Open(one))
    (left,) = firewall.read().left_s.items()
    assert left[0] == one.id
    assert 598 < left[1] <= 600


def test_a_refresh_renews_the_timeout_of_every_kind(firewall: Any2) -> None:
    firewall.apply(*map(Open, KINDS))
    firewall.apply(*(Open(replace(one, timeout_s=1000)) for one in KINDS))
    left = firewall.read().left_s
    assert set(left) == {one.id for one in KINDS}
    assert all(998 < seconds <= 1000 for seconds in left.values())
    firewall.apply(*(Open(replace(one, timeout_s=30)) for one in KINDS))
    assert all(28 < seconds <= 30 for seconds in firewall.read().left_s.values())


def test_growth_has_no_forward_that_counted_nothing(firewall: Any2) -> None:
    firewall.apply(*map(Open, KINDS))
    for remotes in (False, True):
        growth = firewall.do(firewall.firewall.read_growth(remotes))
        assert (growth.counters, growth.remotes, growth.exchanges) == ({}, {} if remotes else None, {})


def test_close_is_idempotent(firewall: Any2) -> None:
    firewall.apply(*map(Open, KINDS))
    firewall.apply(*map(Close, KINDS))
    assert firewall.ids() == set()
    firewall.apply(*map(Close, KINDS))
    firewall.apply(Close(forward("m99", 9)))
    assert firewall.ids() == set()


@pytest.mark.spec("SR-29")
def test_a_forward_ends_by_itself_and_closing_it_then_is_fine(firewall: Any2) -> None:
    short = forward("m1", timeout_s=0.2)
    firewall.apply(Open(short), Open(forward("m2", 80)))
    assert firewall.ids() == {"m1", "m2"}, "rounded up to a second"
    firewall.pass_time(1.1)
    assert firewall.ids() == {"m2"}
    firewall.apply(Close(short), Open(forward("m3", 81)))
    assert firewall.ids() == {"m2", "m3"}


def test_an_expired_forward_can_be_opened_again_by_itself_or_by_another(firewall: Any2) -> None:
    firewall.apply(Open(forward("m1", timeout_s=1)), Open(forward("m2", 80, timeout_s=1)))
    firewall.pass_time(1.1)
    firewall.apply(Open(forward("m1")), Close(forward("m2", 80)), Open(forward("m3", 80, to="192.168.77.20")))
    assert firewall.ids() == {"m1", "m3"}


def test_a_replaced_element_leaves_in_the_same_transaction(firewall: Any2) -> None:
    firewall.apply(Open(forward("m1")))
    for new in (
        forward("m1", to="192.168.77.20"),
        forward("m1", to="192.168.77.20", internal_port=4000),
        forward("m1", 5000, to="192.168.77.20"),
        forward("m1", 5000, to="192.168.77.20", remote="203.0.113.7/32"),
        forward("m1", 5000, to="192.168.77.20", remote="203.0.113.0/24"),
    ):
        firewall.apply(Open(new))
        assert firewall.ids() == {"m1"}
    firewall.apply(Close(new), Open(replace(new, id="m2")))
    assert firewall.ids() == {"m2"}
    firewall.apply(Open(forward("m3", 3074)), Open(forward("m4", 5000)))
    assert firewall.ids() == {"m2", "m3", "m4"}


def test_further_work_follows_a_change_only_if_it_was_made(firewall: Any2) -> None:
    """On the thread of the transaction, or not at all: then it is the caller's."""
    threads: list[int] = []

    def work() -> None:
        threads.append(threading.get_ident())

    one = forward("m1", 4074)
    firewall.do(firewall.firewall.apply([Open(one)], work))
    assert len(threads) == (not isinstance(firewall.firewall, MemoryFirewall))
    with pytest.raises(FirewallError, match="another forward"):
        firewall.do(firewall.firewall.apply([Open(replace(one, id="m2"))], work))
    assert len(threads) <= 1
    firewall.loop.call_soon_threadsafe(lambda: threads.append(-threading.get_ident()))
    assert firewall.ids() == {"m1"}
    assert -threads[-1] not in threads, "not the event loop's"


def test_without_nat_each_host_has_its_own_ports(firewall: Any2) -> None:
    """Beside a port mapping of the same port, and of the same endpoint."""
    one, two = pinhole("m1", 443, "11.99.1.10"), pinhole("m2", 443, "11.99.1.11")
    mapped = forward("m3", 443, "192.168.77.10"), forward("m4", 4430, "11.99.1.10", 443)
    firewall.apply(*map(Open, (one, two, *mapped)))
    assert firewall.ids() == {"m1", "m2", "m3", "m4"}
    with pytest.raises(FirewallError, match="another forward"):
        firewall.apply(Open(pinhole("m5", 443, "11.99.1.10")))
    firewall.apply(Close(one), Cut(one))
    assert firewall.ids() == {"m2", "m3", "m4"}
    firewall.apply(Open(replace(mapped[1], id="m2", external_port=4431)))
    assert firewall.ids() == {"m2", "m3", "m4"}, "a pinhole becomes a port mapping"
    firewall.apply(Open(two))
    assert firewall.ids() == {"m2", "m3", "m4"}


def test_a_port_changes_hands_in_one_batch(firewall: Any2) -> None:
    firewall.apply(Open(forward("m1")))
    firewall.apply(Close(forward("m1")), Open(forward("m2", to="192.168.77.20")), Cut(forward("m1")))
    assert firewall.ids() == {"m2"}
    firewall.apply(Close(forward("m1")))
    assert firewall.ids() == {"m2"}, "a late close must not hit the new holder"


def test_two_forwards_to_one_endpoint_live_apart(firewall: Any2) -> None:
    one, two = forward("m1", 80, internal_port=80), forward("m2", 81, internal_port=80, keep=False)
    firewall.apply(Open(one), Open(two))
    firewall.apply(Close(one), Cut(one))
    assert firewall.ids() == {"m2"}
    firewall.apply(Open(replace(two, keep_source_port=True)))
    firewall.apply(Close(two))
    assert firewall.ids() == set()


def test_a_refill_leaves_exactly_its_forwards(firewall: Any2) -> None:
    firewall.apply(Open(forward("m1")), Open(forward("m90", 90)))
    firewall.apply(Refill(tuple(KINDS)))
    assert firewall.ids() == {one.id for one in KINDS}
    firewall.apply(Refill(()))
    assert firewall.ids() == set()


def test_rewire_keeps_the_mappings(firewall: Any2) -> None:
    firewall.apply(*map(Open, KINDS))
    firewall.apply(UpdateNetwork(replace(NETWORK, external=())))
    firewall.apply(UpdateNetwork(NETWORK))
    assert firewall.ids() == {one.id for one in KINDS}


@pytest.mark.spec("SR-5")
def test_a_full_table_refuses_the_next_but_renews_and_replaces(any_firewall: Any2) -> None:
    any_firewall.open(settings(size=4))
    four = [forward(f"m{n}", 3000 + n) for n in range(4)]
    any_firewall.apply(*map(Open, four))
    with pytest.raises(FirewallError, match="full"):
        any_firewall.apply(Open(forward("m9", 9000)))
    any_firewall.apply(*map(Open, four))
    any_firewall.apply(Close(four[0]), Open(forward("m9", 9000)))
    assert any_firewall.ids() == {"m1", "m2", "m3", "m9"}


def test_a_batch_is_all_or_nothing(any_firewall: Any2) -> None:
    any_firewall.open(settings(size=4))
    any_firewall.apply(*(Open(forward(f"m{n}", 3000 + n)) for n in range(3)))
    with pytest.raises(FirewallError):
        any_firewall.apply(Close(forward("m0", 3000)), *(Open(forward(f"n{n}", 4000 + n)) for n in range(3)))
    assert any_firewall.ids() == {"m0", "m1", "m2"}
    any_firewall.apply(Close(forward("m0", 3000)))
    assert any_firewall.ids() == {"m1", "m2"}, "the state is that of the kernel"


def test_close_keeps_running_flows_and_flush_ends_them(any_firewall: Any2) -> None:
    any_firewall.open(settings())
    any_firewall.apply(Open(forward("m1")))
    any_firewall.close()
    any_firewall.open(settings())
    assert any_firewall.ids() == {"m1"}
    any_firewall.apply(Refill((forward("m1"),)))
    any_firewall.close(flush=True)
    any_firewall.open(settings())
    assert any_firewall.ids() == set()


def test_before_open_nothing_can_be_applied(any_firewall: Any2) -> None:
    with pytest.raises(FirewallError, match="not open"):
        any_firewall.apply(Open(forward()))
    any_firewall.close()
