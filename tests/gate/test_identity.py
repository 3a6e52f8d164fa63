"""Who asks: device, names, and the facts that the gateway gathers in one call."""

from datetime import UTC, datetime
from ipaddress import IPv6Address
from typing import Any

import pytest

from tests.gate.world import NETWORK, PC, PC6, PC_MAC, PORTS, ROUTED, TV, TV_MAC, facts_of, map_request
from tests.gate.world import policy_of as policy
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Facts, Held, Outcome
from upnp_gw.gate.identity import OPERATOR, device_of, gather, is_mac, name_of, names_of, suspects
from upnp_gw.gate.limits import DeviceBook
from upnp_gw.gate.schema import Limits
from upnp_gw.model import Endpoint, Instant, IPAddress, Via
from upnp_gw.network import Neighbour, Neighbours
from upnp_gw.request import MapRequest, Source

NOON = datetime(2026, 6, 1, 12, 34, tzinfo=UTC)
NOW = Instant(100, 1_780_000_000)


def neighbours(*entries: tuple[IPAddress, str]) -> Neighbours:
    table = Neighbours()
    for address, mac in entries:
        table.learn(Neighbour(address, mac, "lan"))
    return table


KNOWN = neighbours((PC, PC_MAC), (PC6, PC_MAC), (TV, TV_MAC))


def gathered(request: MapRequest, table: Neighbours = KNOWN, **more: Any) -> Facts:
    book = more.pop("book", None) or DeviceBook(Limits())
    return gather(policy(""), NETWORK, table, PORTS, book, Held(), request, NOW, NOON, **more)


def test_a_device_is_its_mac_and_a_host_without_one_its_address() -> None:
    assert device_of(KNOWN, PC) == device_of(KNOWN, PC6) == (PC_MAC, PC_MAC)
    assert device_of(KNOWN, ROUTED) == (str(ROUTED), None)


@pytest.mark.parametrize(
    ("text", "mac"),
    [
        (PC_MAC, True),
        ("192.168.1.23", False),
        ("2001:db8:1::23", False),
        ("operator", False),
        ("2001:db8:0:1::1:2", False),
    ],
)
def test_a_device_id_says_which_it_is(text: str, mac: bool) -> None:
    assert is_mac(text) is mac


def test_facts_of_a_request_for_itself() -> None:
    facts = gathered(map_request())
    assert facts == facts_of(minute_of_day=12 * 60 + 34, wall=NOW.wall)


def test_facts_over_the_other_family() -> None:
    facts = gathered(map_request(PC6, internal=Endpoint(PC, 40000)))
    assert (facts.device, facts.target_device, facts.address) == (PC_MAC, PC_MAC, PC6)


def test_facts_of_a_request_for_another() -> None:
    facts = gathered(map_request(internal=Endpoint(TV, 40000)))
    assert (facts.device, facts.target_device, facts.target_mac) == (PC_MAC, TV_MAC, TV_MAC)
    routed = gathered(map_request(internal=Endpoint(ROUTED, 40000)))
    assert (routed.target_device, routed.target_mac) == (str(ROUTED), None)


def test_a_host_without_neighbour_entry_asks_for_its_address_alone() -> None:
    own = gathered(map_request(ROUTED))
    assert own.device == own.target_device == str(ROUTED)
    two = gathered(map_request(ROUTED, internal=Endpoint(IPv6Address("2001:db8:1::99"), 1)))
    assert two.device != two.target_device


@pytest.mark.spec("SR-5")
def test_a_link_local_address_of_two_lans_is_told_apart_by_the_interface() -> None:
    """Otherwise a second host at the same address takes rate and incidents off a device, and its name too."""
    here = IPv6Address("fe80::23")
    table = neighbours((PC, PC_MAC), (here, PC_MAC))
    table.learn(Neighbour(here, TV_MAC, "guest"))
    for interface, mac in (("lan", PC_MAC), ("guest", TV_MAC)):
        facts = gathered(map_request(source=Source(here, interface)), table)
        assert (facts.device, facts.mac) == (mac, mac)
        assert facts.target_device == PC_MAC
    assert gathered(map_request(source=Source(here, "")), table).mac is None


def test_the_operator_is_nobodys_device() -> None:
    facts = gathered(map_request(via=Via.OPERATOR))
    assert (facts.device, facts.mac, facts.target_device) == (OPERATOR, None, PC_MAC)


def test_the_book_fills_in_the_rest() -> None:
    book = DeviceBook(Limits(incident_after=1))
    book.changed(PC_MAC, NOW)
    book.granted(PC_MAC, 5000, NOW, NOON.date().toordinal())
    request = map_request(PC, 22)
    book.refused(PC_MAC, request, decide(policy(""), facts_of(), request), NOW, 1)
    facts = gathered(map_request(), book=book, standing=True)
    assert (facts.changes_last_minute, facts.int_ports_today, facts.frozen) == (1, frozenset({5000}), True)
    assert facts.standing


# -- the gateway decides again


HOLDER = [
    (neighbours((PC, PC_MAC)), PC_MAC, PC_MAC, "as it was"),
    (neighbours(), PC_MAC, PC_MAC, "not yet, or no more, in the neighbour table"),
    (neighbours((PC, TV_MAC)), PC_MAC, TV_MAC, "the address is at another MAC now"),
]


@pytest.mark.parametrize(("table", "device", "target_device", "why"), HOLDER)
@pytest.mark.parametrize("flag", ["restoring", "renewing"])
def test_the_holder_asks_again(table: Neighbours, device: str, target_device: str, why: str, flag: str) -> None:
    facts = gathered(map_request(), table, holder=PC_MAC, **{flag: True})
    assert (facts.device, facts.target_device) == (device, target_device), why
    allowed = decide(policy('[[grant]]\nname = "g"\nwho = "*"'), facts, map_request()).outcome
    assert (allowed is Outcome.ALLOW) == (target_device == PC_MAC)


def test_a_holder_known_by_address_stays_one_when_its_mac_is_learnt() -> None:
    facts = gathered(map_request(), KNOWN, holder=str(PC), renewing=True)
    assert (facts.device, facts.target_device) == (PC_MAC, PC_MAC)


# -- names

NAMES = f"""
[device.by-mac]
mac = ["{PC_MAC}"]
[device.by-ip]
ip = ["{PC}"]
[device.both]
mac = ["{PC_MAC}"]
ip = ["{PC}"]
[device.either-ip]
mac = ["{PC_MAC}"]
ip = ["{PC}"]
assure = "ip"
[device.by-dhcp]
mac = ["{PC_MAC}"]
dhcp_name = "pc"
[device.by-lease]
mac = ["{PC_MAC}"]
dhcp_name = "pc"
assure = "lease"
"""
NAMED = [
    (facts_of(), {"by-mac", "by-ip", "both", "either-ip"}),
    (facts_of(dhcp_name="pc"), {"by-mac", "by-ip", "both", "either-ip", "by-dhcp"}),
    (facts_of(dhcp_name="pc", lease_agrees=True), {"by-mac", "by-ip", "both", "either-ip", "by-dhcp", "by-lease"}),
    (facts_of(dhcp_name="other", lease_agrees=True), {"by-mac", "by-ip", "both", "either-ip"}),
    (facts_of(restoring=True), {"by-mac", "by-ip", "both", "either-ip", "by-dhcp", "by-lease"}),
    (facts_of(mac=None), {"by-ip", "either-ip"}),
    (facts_of(mac=TV_MAC), {"by-ip"}),
    (facts_of(PC6), {"by-mac"}),
    (facts_of(TV, mac=TV_MAC), set()),
    (facts_of(TV, mac=None), set()),
]


@pytest.mark.parametrize(("facts", "names"), NAMED)
def test_a_name_needs_all_the_facts_that_the_policy_gives(facts: Facts, names: set[str]) -> None:
    assert names_of(policy(NAMES), facts) == names


@pytest.mark.parametrize("facts", [facts_of(mac=None), facts_of(PC6), facts_of(TV)])
def test_a_suspect_needs_one(facts: Facts) -> None:
    assert suspects(policy(NAMES), facts, TV) >= {"both", "either-ip"}
    assert suspects(policy(NAMES), facts_of(TV, mac=TV_MAC), TV) == set()
    assert "by-mac" in suspects(policy(NAMES), facts_of(TV, mac=TV_MAC, target_mac=PC_MAC), PC)


def test_the_name_that_people_see() -> None:
    names = policy(f'[device.pc]\nmac = ["{PC_MAC}"]\n[device.tv]\nip = ["{TV}"]')
    assert name_of(names, PC_MAC, PC6) == "pc"
    assert name_of(names, None, TV) == name_of(names, "02:00:00:00:00:99", TV) == "tv"
    assert name_of(names, TV_MAC, None) is None
