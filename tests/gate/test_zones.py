"""Zones and LANs: who is in a zone for a forbid, and who for a grant."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

import pytest

from tests.fixtures.policies import NETWORK, facts_of, map_request
from tests.fixtures.policies import policy_of as policy
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.explain import Effect, explain
from upnp_gw.model.mapping import Endpoint, IPAddress
from upnp_gw.model.network import Link, Network
from upnp_gw.model.request import Source

MAC = "00:11:32:00:00:02"
HOME4, HOME6, HOME_LOCAL = (
    IPv4Address("192.168.1.10"),
    IPv6Address("2001:db8:1::10"),
    IPv6Address("fd00:0:0:1::10"),
)
GUEST4, GUEST6 = IPv4Address("192.168.20.7"), IPv6Address("2001:db8:20::7")
LATER6 = IPv6Address("2001:db8:99::7")
"""Of a prefix on the guest LAN that the policy does not name: the provider gave another one."""
LINK_LOCAL = IPv6Address("fe80::7")
LANS = (
    Link("lan0", 2, True, (IPv4Interface("192.168.1.1/24"), IPv6Interface("2001:db8:1::1/64"))),
    Link(
        "lan1",
        3,
        True,
        (IPv4Interface("192.168.20.1/24"), IPv6Interface("2001:db8:20::1/64"), IPv6Interface("2001:db8:99::1/64")),
    ),
)
TWO = replace(NETWORK, lans=LANS)
ONE_LINK = replace(NETWORK, lans=(replace(LANS[0], addresses=(*LANS[0].addresses, *LANS[1].addresses)),))
"""Both prefixes on one link: a switch without VLANs."""

POLICY = f"""
[device.nas]
mac = "{MAC}"
[zone]
main = ["192.168.1.0/24", "2001:db8:1::/64"]
guest = ["192.168.20.0/24", "2001:db8:20::/64"]
"""
FORBID = '[[forbid]]\nname = "guests"\nzone = "guest"\n[[grant]]\nname = "all"\nwho = "*"\n'
MAIN = '[[grant]]\nname = "main"\nwho = "nas"\nzone = "main"\n'
DELEGATED = '[[grant]]\nname = "for"\nwho = "*"\nzone = "main"\nfor = ["192.168.1.0/24", "192.168.20.0/24"]\n'


def outcome(
    rules: str, source: IPAddress, target: IPAddress, lan: str, network: Network = TWO, own: bool = True
) -> Outcome:
    """The gate's answer to a host on this LAN; ``own``: the internal client is the same device."""
    device = network.device_id(MAC, lan)
    facts = facts_of(
        source,
        mac=MAC,
        device=device,
        target_device=device if own else network.device_id(MAC, network.lan_of(target)),
        lan=lan,
        target_lan=network.lan_of(target),
        main_lan="lan0",
        network=network,
    )
    request = map_request(target, source=Source(source, lan), internal=Endpoint(target, 40000))
    verdict = decide(policy(POLICY + rules), facts, request)
    explanation = [rule.effect for rule in explain(policy(POLICY + rules), facts, request).grants]
    assert (Effect.CHARGED in explanation) == (verdict.outcome is Outcome.ALLOW), "explain says the same"
    return verdict.outcome


@pytest.mark.parametrize(
    ("source", "target", "lan", "allowed"),
    [
        (HOME4, HOME4, "lan0", True),
        (HOME6, HOME4, "lan0", True),
        (GUEST4, GUEST4, "lan1", False),
        (LINK_LOCAL, GUEST4, "lan1", False),
        (LINK_LOCAL, LATER6, "lan1", False),
        (LATER6, LATER6, "lan1", False),
        (LATER6, GUEST4, "lan1", False),
        (LINK_LOCAL, HOME4, "lan1", False),
        (HOME4, GUEST4, "lan0", False),
        (LINK_LOCAL, HOME4, "lan0", True),
    ],
)
def test_a_forbid_for_a_zone_holds_for_every_host_of_its_lan(
    source: IPAddress, target: IPAddress, lan: str, allowed: bool
) -> None:
    """From a link-local address and from one of a new prefix too; and not for the home LAN."""
    assert (outcome(FORBID, source, target, lan) is Outcome.ALLOW) is allowed


ENDS = """[[grant]]
name = "any"
who = "*"
for = ["192.168.1.0/24", "192.168.20.0/24"]
[[forbid]]
name = "ends"
zone = { %s }
"""


@pytest.mark.parametrize(
    ("ends", "source", "target", "allowed"),
    [
        ('from = "guest"', GUEST4, HOME4, False),
        ('from = "guest"', HOME4, GUEST4, True),
        ('for = "guest"', GUEST4, HOME4, True),
        ('for = "guest"', HOME4, GUEST4, False),
        ('from = "guest", for = "main"', GUEST4, HOME4, False),
        ('from = "guest", for = "main"', HOME4, GUEST4, True),
        ('from = "guest", for = "main"', GUEST4, GUEST4, True),
        ('from = "guest", for = "main"', LINK_LOCAL, HOME4, False),
    ],
)
def test_a_forbid_for_each_end_looks_at_that_end_alone(
    ends: str, source: IPAddress, target: IPAddress, allowed: bool
) -> None:
    lan = "lan1" if source in (GUEST4, LINK_LOCAL) else "lan0"
    own = source == target
    assert (outcome(ENDS % ends, source, target, lan, own=own) is Outcome.ALLOW) is allowed


def test_a_link_with_the_prefixes_of_two_zones_is_in_neither() -> None:
    """There the address decides alone, or all of the home would be guests."""
    assert outcome(FORBID, HOME4, HOME4, "lan0", ONE_LINK) is Outcome.ALLOW
    assert outcome(FORBID, GUEST4, GUEST4, "lan0", ONE_LINK) is Outcome.DENY


@pytest.mark.parametrize(
    ("source", "target", "allowed"),
    [
        (HOME4, HOME4, True),
        (HOME6, HOME6, True),
        (HOME6, HOME4, True),
        (LINK_LOCAL, HOME4, True),
        (HOME_LOCAL, HOME6, True),
        (GUEST4, HOME4, False),
        (GUEST4, HOME6, False),
        (GUEST6, HOME4, False),
        (LATER6, HOME4, False),
        (GUEST4, GUEST4, False),
    ],
)
def test_a_grant_for_a_zone_wants_both_ends_in_it(source: IPAddress, target: IPAddress, allowed: bool) -> None:
    """On one link a copied MAC address passes for the device. The zone's own kinds of addresses tell them apart; a
    link-local address, or a unique local one where the zone names none, proves nothing."""
    assert (outcome(MAIN, source, target, "lan0", ONE_LINK) is Outcome.ALLOW) is allowed


def test_a_copied_mac_on_another_lan_is_in_no_zone_of_the_device() -> None:
    for source in (GUEST4, GUEST6, LINK_LOCAL):
        for target in (HOME4, HOME6):
            assert outcome(MAIN, source, target, "lan1", own=False) is Outcome.DENY
    assert outcome(MAIN, GUEST4, GUEST4, "lan1") is Outcome.DENY


def test_in_a_delegation_the_zone_is_where_the_requester_is() -> None:
    assert outcome(DELEGATED, HOME4, GUEST4, "lan0", own=False) is Outcome.ALLOW
    assert outcome(DELEGATED, GUEST4, HOME4, "lan1", own=False) is Outcome.DENY
    assert outcome(DELEGATED, LINK_LOCAL, HOME4, "lan1", own=False) is Outcome.DENY
