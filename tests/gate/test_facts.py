"""The requester: device, names, and the facts that the gateway gathers in one call."""

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv6Address, IPv6Interface
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fixtures.policies import (
    GUEST,
    NETWORK,
    PC,
    PC6,
    PC_MAC,
    PORTS,
    ROUTED,
    TV,
    TV_MAC,
    facts_of,
    map_request,
)
from tests.fixtures.policies import policy_of as policy
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Facts, HeldMappings, Outcome
from upnp_gw.gate.device_history import DeviceHistory
from upnp_gw.gate.facts import device_of, gather, ids_of, name_of, names_of, on_other_lans, possible_names
from upnp_gw.gate.schema import Limits
from upnp_gw.model.device import OPERATOR
from upnp_gw.model.dhcp import Lease, Leases
from upnp_gw.model.mapping import Endpoint, Instant, IPAddress, Via
from upnp_gw.model.network import Neighbour, Neighbours, Network
from upnp_gw.model.request import MapRequest, Source

NOON = datetime(2026, 6, 1, 12, 34, tzinfo=UTC)
NOW = Instant(100, 1_780_000_000)


def neighbours(*entries: tuple[IPAddress, str]) -> Neighbours:
    table = Neighbours()
    for address, mac in entries:
        table.learn(Neighbour(address, mac, "lan"))
    return table


KNOWN = neighbours((PC, PC_MAC), (PC6, PC_MAC), (TV, TV_MAC))


ONE_LAN = replace(NETWORK, lans=NETWORK.lans[:1])


def gathered(request: MapRequest, table: Neighbours = KNOWN, network: Network = ONE_LAN, **more: Any) -> Facts:
    history = more.pop("history", None) or DeviceHistory(SimpleNamespace(limits=Limits()))
    return gather(policy(""), network, table, PORTS, history, HeldMappings(), request, NOW, NOON, **more)


def test_a_device_is_its_mac_and_a_host_without_one_its_address() -> None:
    assert device_of(ONE_LAN, KNOWN, PC) == device_of(ONE_LAN, KNOWN, PC6) == (PC_MAC, PC_MAC, "lan")
    assert device_of(ONE_LAN, KNOWN, ROUTED) == (str(ROUTED), None, "")


def test_facts_of_a_request_for_itself() -> None:
    facts = gathered(map_request())
    lans: dict[str, Any] = {"lan": "lan", "target_lan": "lan", "main_lan": "lan"}
    assert facts == facts_of(minute_of_day=12 * 60 + 34, wall=NOW.wall, network=ONE_LAN, **lans)


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
def test_the_interface_distinguishes_a_link_local_address_of_two_lans() -> None:
    """Otherwise a second host at the same address takes rate and incidents off a device, and its name too."""
    here = IPv6Address("fe80::23")
    table = neighbours((PC, PC_MAC), (here, PC_MAC))
    table.learn(Neighbour(here, TV_MAC, "guest"))
    for interface, mac in (("lan", PC_MAC), ("guest", TV_MAC)):
        facts = gathered(map_request(source=Source(here, interface)), table, NETWORK)
        assert (facts.device, facts.mac) == (f"{mac}@{interface}", mac)
        assert facts.target_device == f"{PC_MAC}@lan"
    assert gathered(map_request(source=Source(here, "")), table, NETWORK).mac is None


def test_the_operator_is_no_device_of_the_lan() -> None:
    facts = gathered(map_request(via=Via.OPERATOR))
    assert (facts.device, facts.mac, facts.target_device) == (OPERATOR, None, PC_MAC)


def test_the_book_fills_in_the_rest() -> None:
    history = DeviceHistory(SimpleNamespace(limits=Limits(incident_after=1)))
    history.count_change(PC_MAC, NOW)
    history.count_grant(PC_MAC, 5000, NOW, NOON.date().toordinal())
    request = map_request(PC, 22)
    history.count_refusal(PC_MAC, request, decide(policy(""), facts_of(), request), NOW, 1)
    facts = gathered(map_request(), history=history, standing=True)
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
    again: dict[str, Any] = {flag: True}
    facts = gathered(map_request(), table, holder=PC_MAC, **again)
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
    assert possible_names(policy(NAMES), facts, TV) >= {"both", "either-ip"}
    assert possible_names(policy(NAMES), facts_of(TV, mac=TV_MAC), TV) == set()
    assert "by-mac" in possible_names(policy(NAMES), facts_of(TV, mac=TV_MAC, target_mac=PC_MAC), PC)


def test_the_name_that_people_see() -> None:
    names = policy(f'[device.pc]\nmac = ["{PC_MAC}"]\n[device.tv]\nip = ["{TV}"]')
    assert name_of(names, PC_MAC, "lan", PC6) == "pc"
    assert name_of(names, str(TV), "lan") == name_of(names, "02:00:00:00:00:99", "lan", TV) == "tv"
    assert name_of(names, TV_MAC, "lan") is None
    assert name_of(names, OPERATOR, "lan") is None


# -- several LANs


COPY = neighbours((PC, PC_MAC), (PC6, PC_MAC), (TV, TV_MAC))
COPY.learn(Neighbour(GUEST, PC_MAC, "guest"))
"""The PC on the home LAN, and a host of the guest LAN with its MAC address."""
TWIN = Source(GUEST, "guest")


def test_the_same_mac_on_two_lans_is_two_devices() -> None:
    here, there = gathered(map_request(), COPY, NETWORK), gathered(map_request(GUEST, source=TWIN), COPY, NETWORK)
    assert (here.device, here.lan, here.main_lan) == (f"{PC_MAC}@lan", "lan", "lan")
    assert (there.device, there.lan, there.main_lan) == (f"{PC_MAC}@guest", "guest", "lan")
    assert there.mac == here.mac
    across = gathered(map_request(PC, source=TWIN), COPY, NETWORK)
    assert (across.target_device, across.target_lan) == (here.device, "lan")
    anyone = policy('[[grant]]\nname = "g"\nwho = "*"')
    assert decide(anyone, across, map_request(PC, source=TWIN)).outcome is Outcome.DENY
    assert decide(anyone, there, map_request(GUEST, source=TWIN)).outcome is Outcome.ALLOW


def test_the_holder_is_the_device_of_its_lan() -> None:
    for holder, allowed in ((f"{PC_MAC}@lan", True), (f"{PC_MAC}@guest", False), (PC_MAC, False)):
        facts = gathered(map_request(source=Source(PC, "")), COPY, NETWORK, holder=holder, renewing=True)
        assert (facts.device, facts.lan) == (holder, holder.partition("@")[2])
        assert (facts.target_device == holder) is allowed


LANS = f"""
[device.main]
mac = "{PC_MAC}"
[device.guest]
mac = "{PC_MAC}"
lan = "guest"
[device.both]
mac = "{PC_MAC}"
lan = ["lan", "guest"]
[device.any]
mac = "{PC_MAC}"
lan = "*"
[device.address]
ip = ["{GUEST}", "{PC}"]
[device.address-here]
ip = ["{GUEST}", "{PC}"]
lan = "lan"
"""
ON_LAN = [
    (facts_of(lan="lan", main_lan="lan"), {"main", "both", "any", "address", "address-here"}),
    (facts_of(GUEST, lan="guest", main_lan="lan"), {"guest", "both", "any", "address"}),
    (facts_of(lan="", main_lan="lan"), {"any", "address"}),
    (facts_of(GUEST, lan="guest", main_lan="guest"), {"main", "guest", "both", "any", "address"}),
]


@pytest.mark.parametrize(("facts", "names"), ON_LAN)
def test_a_mac_without_a_lan_counts_on_the_first_lan_alone(facts: Facts, names: set[str]) -> None:
    assert names_of(policy(LANS), facts) == names


def test_a_forbid_of_a_mac_counts_on_every_lan_that_the_policy_does_not_rule_out() -> None:
    """A blocked device cannot escape to the guest LAN. A block of a copied MAC address applies to its LAN alone."""
    rules = policy(LANS)
    there = facts_of(GUEST, lan="guest", main_lan="lan")
    assert possible_names(rules, there, GUEST) == {"main", "guest", "both", "any", "address"}
    here = facts_of(lan="lan", main_lan="lan", target_lan="lan")
    assert "guest" not in possible_names(rules, here, PC)
    delegated = facts_of(TV, mac=TV_MAC, lan="lan", target_mac=PC_MAC, target_lan="guest", main_lan="lan")
    assert possible_names(rules, delegated, GUEST) >= {"main", "guest"}
    assert possible_names(rules, facts_of(lan="", main_lan="lan"), PC) >= {"main", "guest"}, (
        "what is not known closes"
    )


def test_the_name_and_the_ids_on_several_lans() -> None:
    names = policy(f'[device.pc]\nmac = "{PC_MAC}"\n[device.tablet]\nmac = "{TV_MAC}"\nlan = ["guest", "gone"]')
    assert name_of(names, f"{PC_MAC}@lan", "lan") == name_of(names, PC_MAC, "lan") == "pc"
    assert name_of(names, f"{PC_MAC}@guest", "lan") is None
    assert name_of(names, f"{TV_MAC}@guest", "lan") == "tablet"
    pc, tablet = names.devices["pc"], names.devices["tablet"]
    assert ids_of(pc, ("lan", "guest")) == {f"{PC_MAC}@lan"}
    assert ids_of(tablet, ("lan", "guest")) == {f"{TV_MAC}@guest"}
    assert ids_of(pc, ("lan",)) == {PC_MAC}
    assert ids_of(tablet, ("lan",)) == frozenset()
    assert ids_of(tablet, ("guest",)) == {TV_MAC}


def test_a_device_seen_only_on_another_lan_is_reported() -> None:
    names = policy(f'[device.pc]\nmac = "{PC_MAC}"\n[device.tablet]\nmac = "{TV_MAC}"\nlan = "guest"')
    assert on_other_lans(names, NETWORK, COPY) == (
        "the policy recognises tablet only on guest, but its MAC address is on lan;"
        " if it belongs there, add lan = [...] to [device.tablet]",
    )
    away = Neighbours()
    away.learn(Neighbour(GUEST, PC_MAC, "guest"))
    (sentence,) = on_other_lans(names, NETWORK, away)
    assert sentence.startswith("the policy recognises pc only on lan")
    assert on_other_lans(names, ONE_LAN, COPY) == ()


def test_a_dhcp_lease_of_another_lan_gives_no_name() -> None:
    """The copied MAC address has a lease on the home LAN; an IPv6 address of the guest LAN is not under it."""
    lease = Leases([Lease(PC, PC_MAC, "pc", None)])
    guest6 = IPv6Address("2001:db8:20::7")
    network = replace(
        NETWORK,
        lans=(
            NETWORK.lans[0],
            replace(NETWORK.lans[1], addresses=(*NETWORK.lans[1].addresses, IPv6Interface("2001:db8:20::1/64"))),
        ),
    )
    table = neighbours((PC, PC_MAC), (PC6, PC_MAC))
    table.learn(Neighbour(guest6, PC_MAC, "guest"))
    here = gathered(map_request(PC6), table, network, leases=lease)
    there = gathered(map_request(guest6, source=Source(guest6, "guest")), table, network, leases=lease)
    assert (here.dhcp_name, here.lease_agrees) == ("pc", True)
    assert (there.dhcp_name, there.lease_agrees) == (None, False)
