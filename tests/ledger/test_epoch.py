"""The epoch: what keeps it, what begins a new one."""

from ipaddress import IPv4Address

import pytest

from upnp_gw.ledger.epoch import Epoch
from upnp_gw.model.mapping import Instant

NOW = Instant(1000.0, 1_800_000_000.0)
ONE, OTHER = IPv4Address("11.22.33.44"), IPv4Address("11.22.33.55")


def at(boot: float) -> Instant:
    return Instant(boot, NOW.wall)


@pytest.mark.spec("PMP-056", "PMP-060", "PMP-061", "PCP-166")
def test_it_counts_seconds_of_boottime() -> None:
    epoch = Epoch.from_json(None, "a", NOW)
    assert [epoch.seconds(Instant(t, 0.0)) for t in (1000, 1000.9, 1010, 900)] == [0, 0, 10, 0]


@pytest.mark.spec("PMP-058", "PCP-168")
def test_a_restart_in_the_same_boot_goes_on() -> None:
    epoch = Epoch.from_json(None, "a", NOW).with_external(ONE, NOW)
    again = Epoch.from_json(epoch.to_json("a"), "a", at(1100))
    assert again == epoch
    assert again.seconds(at(1100)) == 100


@pytest.mark.spec("PMP-057", "PCP-167")
def test_another_boot_or_a_lost_store_begins_a_new_one() -> None:
    epoch = Epoch.from_json(None, "a", NOW).with_external(ONE, NOW)
    booted = Epoch.from_json(epoch.to_json("a"), "b", at(5))
    assert (booted.number, booted.seconds(at(7)), booted.external) == (epoch.number + 1, 2, ONE)
    assert Epoch.from_json(None, "a", at(1100)).seconds(at(1100)) == 0


@pytest.mark.spec("PMP-065", "PCP-167")
def test_only_another_external_address_begins_a_new_one() -> None:
    epoch = Epoch.from_json(None, "a", NOW)
    first = epoch.with_external(ONE, at(1010))
    removed = first.with_external(None, at(1020))
    back = removed.with_external(ONE, at(1030))
    assert first.number == removed.number == back.number == epoch.number
    moved = back.with_external(OTHER, at(1040))
    assert (moved.number, moved.seconds(at(1041))) == (epoch.number + 1, 1)


@pytest.mark.spec("PCP-191")
def test_a_lan_that_gets_or_loses_nat_begins_a_new_one() -> None:
    epoch = Epoch.from_json(None, "a", NOW).with_external(ONE, NOW)
    without = epoch.with_lans({"lan1"}, at(1010))
    assert (without.number, without.seconds(at(1012)), without.external) == (epoch.number + 1, 2, ONE)
    assert without.with_lans({"lan1"}, at(1020)) is without
    again = Epoch.from_json(without.to_json("a"), "a", at(1030))
    assert again == without
    assert again.with_lans(set(), at(1040)).number == without.number + 1


@pytest.mark.parametrize("text", ["", "{", "7", "{}", '{"number": "x", "since": 0, "external": null, "boot": "a"}'])
def test_a_stored_epoch_that_makes_no_sense_is_a_new_one(text: str) -> None:
    """A jump makes clients ask again; an exception would keep the gateway from starting."""
    assert Epoch.from_json(text, "a", NOW).seconds(NOW) == 0
