"""``explain`` looks at every rule, and never says anything else than ``decide`` did."""

import re
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given

from tests.fixtures.address_lists import ListsInMemory
from tests.fixtures.examples import examples
from tests.fixtures.policies import GUEST, PC, PC6, PC_MAC, TODAY, TV, facts_of, map_request, suggested
from tests.fixtures.policies import policy_of as policy
from tests.gate.test_decide_model import made, policies, questions
from upnp_gw.gate.decision import Facts, HeldMappings, Outcome
from upnp_gw.gate.explain import Effect, explain, ports_text
from upnp_gw.gate.load import load_text
from upnp_gw.gate.schema import Policy
from upnp_gw.model.mapping import Endpoint, Transport, Via
from upnp_gw.model.request import MapRequest

TAKEN = "a forbid denies its external ports"
RULES = policy(
    f"""
    [device.pc]
    mac = ["{PC_MAC}"]
    [device.tv]
    ip = ["192.168.1.40"]
    [zone]
    guest = ["192.168.20.0/24"]
    [[forbid]]
    name = "admin"
    int_ports = [22, "137-139"]
    [[forbid]]
    name = "guests"
    zone = "guest"
    [[forbid]]
    name = "vpn"
    proto = "udp"
    ext_ports = [51820]
    [[grant]]
    name = "ended"
    who = "*"
    until = 1969-01-01T00:00:00Z
    [[grant]]
    name = "for-pc"
    who = "pc"
    proto = "udp"
    int_ports = ["3074"]
    max_mappings = 6
    max_ttl = "4h"
    [[grant]]
    name = "for-tv"
    who = "tv"
    remote = ["203.0.113.0/24"]
    ext_ports = [9000]
    hours = "06:00-07:00"
    [[grant]]
    name = "node"
    who = "pc"
    for = ["10.0.40.0/28"]
    zone = "guest"
    approve = true
    """
)


@examples(400)
@given(policies, questions())
def test_an_explanation_agrees_with_the_verdict(
    tables: dict[str, object], question: tuple[Facts, MapRequest]
) -> None:
    policy = made(tables)
    explanation = explain(policy, *question)
    trace = " ".join(explanation.verdict.reasons)
    denying = [rule for rule in explanation.forbids if rule.effect is Effect.DENIES]
    assert f"forbids {len(denying)}/{sum(rule.concerns for rule in explanation.forbids)}" in trace
    if denying:
        assert (explanation.verdict.outcome, explanation.verdict.rule) == (Outcome.DENY, denying[0].name)
        return
    covering = [rule for rule in explanation.grants if rule.effect is not Effect.NONE or rule.why == TAKEN]
    assert f"grants {len(covering)}/{sum(rule.concerns for rule in explanation.grants)}" in trace
    charged = [rule.name for rule in explanation.grants if rule.effect is Effect.CHARGED]
    with_room = [rule.name for rule in explanation.grants if rule.effect in (Effect.CHARGED, Effect.COVERS)]
    if explanation.verdict.outcome is Outcome.ALLOW and explanation.verdict.rule != "observe":
        assert charged == [explanation.verdict.rule] == with_room[:1]
    assert all(rule.why.isprintable() and rule.why for rule in (*explanation.forbids, *explanation.grants))
    assert (explanation.lease_s is not None) == (explanation.verdict.outcome is Outcome.ALLOW)


WHY = [
    (map_request(port=443), "admin", "internal port 443 is not in 22, 137-139"),
    (map_request(port=443), "guests", "neither the requester nor the internal client is in zone guest"),
    (map_request(port=443), "vpn", "is for udp; external port 443 is not in 51820"),
    (map_request(port=443), "ended", "internal port 443 is not in 1024-65535; ended 1969-01-01 00:00 UTC"),
    (map_request(port=443), "for-pc", "internal port 443 is not in 3074; is for udp"),
    (map_request(port=9000), "for-tv", "is for tv"),
    (map_request(port=9000), "node", "192.168.1.23 is not in 10.0.40.0/28; is for zone guest"),
    (
        map_request(port=9000, internal=Endpoint(TV, 9000)),
        "ended",
        "ended 1969-01-01 00:00 UTC; lets a device map only to itself",
    ),
    (map_request(port=22), "admin", "internal port 22"),
    (suggested(3074, transport=Transport.UDP), "vpn", "takes away 51820"),
    (map_request(port=51820, transport=Transport.UDP), "vpn", "external port 51820"),
]


@pytest.mark.parametrize(("request_", "rule", "message"), WHY)
def test_an_explanation_names_the_condition_that_does_not_hold(
    request_: MapRequest, rule: str, message: str
) -> None:
    target = request_.internal.address
    facts = facts_of(target_device="other" if target == TV else PC_MAC)
    explanation = explain(RULES, facts, request_)
    (found,) = [one for one in (*explanation.forbids, *explanation.grants) if one.name == rule]
    assert found.why == message


def test_room_and_the_charged_grant() -> None:
    request = suggested(3074, transport=Transport.UDP, lifetime_s=7 * 86400)
    explanation = explain(RULES, facts_of(held=HeldMappings(1, 1, {"for-pc": 1})), request)
    (charged,) = [rule for rule in explanation.grants if rule.effect is Effect.CHARGED]
    assert (charged.name, charged.why) == ("for-pc", "room 5/6")
    assert (explanation.names, explanation.lease_s) == (("pc",), 4 * 3600)
    full = explain(RULES, facts_of(held=HeldMappings(6, 6, {"for-pc": 6})), request)
    assert [rule.why for rule in full.grants if rule.effect is Effect.FULL] == [
        "rule for-pc allows a device at most 6 mappings"
    ]


def test_the_hours_and_the_remote_hosts_of_a_grant() -> None:
    tv = facts_of(TV, mac=None)
    explanation = {rule.name: rule for rule in explain(RULES, tv, map_request(TV, 9000, via=Via.IGD2)).grants}
    assert explanation["for-tv"].effect is Effect.FULL
    assert explanation["for-tv"].why == "outside the hours of rule for-tv"
    other = {rule.name: rule for rule in explain(RULES, tv, map_request(TV, 9001)).grants}
    assert other["for-tv"].why == "external port 9001 is not in 9000"


def test_a_grant_for_ports_of_the_remote_host() -> None:
    rules = policy(f'[device.pc]\nmac = ["{PC_MAC}"]\n[[grant]]\nname = "g"\nwho = "pc"\nremote_ports = [443]')
    (trace,) = explain(rules, facts_of(), map_request()).grants
    assert trace.why == "needs a request that names ports of the remote host, all in 443"
    (trace,) = explain(rules, facts_of(PC6), map_request(PC6, remote_port=443)).grants
    assert trace.effect is Effect.CHARGED


def test_an_explanation_says_that_a_device_matches_only_in_part() -> None:
    rules = policy(f'[device.pc]\nmac = ["{PC_MAC}"]\nip = ["192.168.1.99"]\n[[grant]]\nname = "g"\nwho = "pc"')
    (trace,) = explain(rules, facts_of(), map_request()).grants
    assert trace.why == "is for pc; the requester matches pc only in part"


def test_a_forbidden_zone() -> None:
    explanation = explain(RULES, facts_of(GUEST, mac=None), map_request(GUEST, 9000))
    assert [rule.why for rule in explanation.forbids if rule.effect is Effect.DENIES] == ["zone guest"]


def test_an_error_in_a_decision_is_explained_by_its_denial() -> None:
    class Broken:
        digest = "0" * 12

        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

    broken: Policy = Broken()  # type: ignore[assignment]
    explanation = explain(broken, facts_of(PC), map_request())
    assert explanation.verdict.outcome is Outcome.DENY
    assert (explanation.forbids, explanation.grants) == ((), ())


def test_long_lists_of_ports_are_cut() -> None:
    assert ports_text(((22, 22), (137, 139))) == "22, 137-139"
    assert re.fullmatch(r"1, 3, 5, 7, 9, 11 and 4 more", ports_text(tuple((n, n) for n in range(1, 20, 2))))


LISTED = load_text(
    f"""
    version = 1
    [device.pc]
    mac = ["{PC_MAC}"]
    [zone]
    guest = ["192.168.20.0/24"]
    [set.bots]
    file = "bots.txt"
    [set.office]
    file = "office.txt"
    [[forbid]]
    name = "bots"
    remote = ["@bots"]
    [[forbid]]
    name = "ends"
    zone = {{ from = "guest", for = "guest" }}
    [[forbid]]
    name = "night"
    hours = "mon-fri 22:00-06:00"
    [[forbid]]
    name = "udp-protocols"
    via = ["natpmp", "pcp"]
    [[grant]]
    name = "office"
    who = "pc"
    remote = {{ only = ["@office"], never = ["203.0.113.9"] }}
    [[grant]]
    name = "bots-only"
    who = "pc"
    remote = ["@bots"]
    """,
    "policy.toml",
    TODAY,
    ListsInMemory({"bots.txt": "203.0.113.0/25", "office.txt": "203.0.113.0/24"}),
).policy
LISTED_WHY = [
    (map_request(), {}, "bots", "narrows", "keeps out the remote hosts: only @bots"),
    (map_request(remote=ip_network("203.0.113.7")), {}, "bots", "denies", "remote hosts: only @bots"),
    (map_request(remote=ip_network("203.0.113.200")), {}, "bots", "none", "is for the remote hosts: only @bots"),
    (map_request(), {"stale_sets": frozenset({"bots"})}, "bots", "denies",
     "the address list bots of rule bots is out of date"),
    (map_request(), {}, "ends", "none",
     "the requester is not in zone guest; the internal client is not in zone guest"),
    (map_request(), {}, "night", "none", "outside its hours mon-fri 22:00-06:00"),
    (map_request(), {"minute_of_day": 1320}, "night", "denies", "hours mon-fri 22:00-06:00"),
    (map_request(), {}, "udp-protocols", "none", "is for natpmp, pcp"),
    (map_request(via=Via.PCP), {}, "udp-protocols", "denies", "over pcp"),
    (map_request(), {}, "office", "charged", "no limit on mappings"),
    (map_request(), {}, "bots-only", "none", "forbids keep out all of its remote hosts"),
    (map_request(remote=ip_network("8.8.8.8")), {}, "office", "none",
     "remote hosts: only @office, never 203.0.113.9"),
    (map_request(remote=ip_network("203.0.113.200")), {"stale_sets": frozenset({"office"})}, "office", "full",
     "the address list office of rule office is out of date"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "more", "rule", "effect", "why"), LISTED_WHY)
def test_an_explanation_knows_lists_hours_protocols_and_both_ends(
    request_: MapRequest, more: dict[str, Any], rule: str, effect: str, why: str
) -> None:
    explanation = explain(LISTED, facts_of(**more), request_)
    (found,) = [one for one in (*explanation.forbids, *explanation.grants) if one.name == rule]
    assert (found.effect.value, found.why) == (effect, why)
