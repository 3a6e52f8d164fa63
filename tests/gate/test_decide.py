"""``decide``: limits, forbids, grants, clamps, case by case. The whole of it against a model: test_decide_model."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_network

import pytest

from tests.fixtures.policies import (
    GUEST,
    PC,
    PC6,
    PC_MAC,
    ROUTED,
    TV,
    TV_MAC,
    but,
    facts_of,
    map_request,
    suggested,
)
from tests.fixtures.policies import policy_of as policy
from upnp_gw.gate.decide import decide, lifetime_s
from upnp_gw.gate.decision import FAULT, Clamps, External, Facts, HeldMappings, Outcome, Verdict
from upnp_gw.gate.schema import Policy
from upnp_gw.model.mapping import Endpoint, RemotePeers, Transport, Via
from upnp_gw.model.request import MapRequest, Refusal

PC_GRANT = f"""
[device.pc]
mac = ["{PC_MAC}"]
[zone]
guest = ["192.168.20.0/24", "2001:db8:20::/64"]
[[grant]]
name = "games"
who = "pc"
"""


def clamps_of(verdict: Verdict) -> Clamps:
    assert verdict.clamps is not None, verdict.reasons
    return verdict.clamps


# -- deny is what is left


@pytest.mark.spec("SR-18")
@pytest.mark.parametrize(
    "text", ["", '[[forbid]]\nname = "f"\nint_ports = [22]', '[device.pc]\nmac = ["02:00:00:00:00:23"]']
)
@pytest.mark.parametrize("request_", [map_request(), map_request(PC, 22), suggested(5000), map_request(PC6)])
def test_without_a_grant_everything_is_denied(text: str, request_: MapRequest) -> None:
    verdict = decide(policy(text), facts_of(request_.source.address), request_)
    assert verdict.outcome is Outcome.DENY
    assert verdict.refusal is Refusal.NOT_AUTHORIZED


@pytest.mark.spec("SR-6")
@pytest.mark.parametrize(
    ("default", "outcome", "refusal"),
    [
        ("deny", Outcome.DENY, Refusal.NOT_AUTHORIZED),
        ("ask", Outcome.ASK, Refusal.ASK),
    ],
)
def test_a_device_that_no_grant_names_gets_the_default(default: str, outcome: Outcome, refusal: Refusal) -> None:
    text = f'default = "{default}"\n{PC_GRANT}'
    verdict = decide(policy(text), facts_of(TV, mac=TV_MAC), map_request(TV))
    assert (verdict.outcome, verdict.refusal, verdict.rule) == (outcome, refusal, None)
    assert decide(policy(text), facts_of(), map_request()).outcome is Outcome.ALLOW


class Broken:
    """A value that raises whatever is done with it."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


@pytest.mark.spec("SR-18")
@pytest.mark.parametrize("broken", ["policy", "facts", "request", "held", "network", "minute"])
def test_a_fault_inside_is_a_denial_with_a_fixed_reason(broken: str) -> None:
    text = f'mode = "observe"\n{PC_GRANT}hours = "00:00-24:00"\nmax_mappings = 3'
    parts: dict[str, object] = {"policy": policy(text), "facts": facts_of(), "request": map_request()}
    if broken == "policy":
        parts["policy"] = replace(policy(text), limits=Broken())  # type: ignore[arg-type]
    elif broken in parts:
        parts[broken] = Broken()
    else:
        key = {"minute": "minute_of_day"}.get(broken, broken)
        parts["facts"] = but(facts_of(), **{key: Broken()})
    verdict = decide(parts["policy"], parts["facts"], parts["request"])  # type: ignore[arg-type]
    assert verdict.outcome is Outcome.DENY
    assert verdict.refusal is Refusal.NOT_AUTHORIZED
    assert verdict.reasons[-1] == FAULT
    assert verdict.clamps is None


def test_the_whole_trace_of_an_allow() -> None:
    text = f"""
    {PC_GRANT}
    max_mappings = 6
    max_ttl = "4h"
    [[grant]]
    name = "other"
    who = "pc"
    proto = "udp"
    [[forbid]]
    name = "a"
    int_ports = [22]
    [[forbid]]
    name = "b"
    zone = "guest"
    """
    request = suggested(3074, lifetime_s=7 * 86400)
    held = HeldMappings(total=10, by_device=3, by_grant={"games": 1})
    verdict = decide(policy(text), facts_of(held=held), request)
    assert verdict.reasons == (
        "floor ok",
        "limits ok: device 3/32, elements 0/128, all 10/1024",
        "forbids 0/2",
        "grants 1/2 (games: room 5/6)",
        "lease cut from 7d to 4h",
        "granted by rule games",
    )
    assert verdict.policy == policy(text).digest


# -- limits


LIMITED: list[tuple[dict[str, object], Refusal]] = [
    ({"frozen": True}, Refusal.NOT_AUTHORIZED),
    ({"changes_last_minute": 60}, Refusal.RATE),
    ({"held": HeldMappings(by_device=32)}, Refusal.QUOTA),
    ({"held": HeldMappings(elements=128)}, Refusal.QUOTA),
    ({"held": HeldMappings(total=1024)}, Refusal.TABLE_FULL),
]


@pytest.mark.spec("SR-5")
@pytest.mark.parametrize(("facts", "refusal"), LIMITED)
def test_limits_hold_over_every_grant(facts: dict[str, object], refusal: Refusal) -> None:
    verdict = decide(policy(PC_GRANT), but(facts_of(), **facts), map_request())
    assert (verdict.outcome, verdict.refusal) == (Outcome.DENY, refusal)
    observing = decide(policy(f'mode = "observe"\n{PC_GRANT}'), but(facts_of(), **facts), map_request())
    assert (observing.outcome, observing.refusal) == (Outcome.DENY, refusal)


@pytest.mark.parametrize(("facts", "refusal"), LIMITED)
def test_a_restored_mapping_and_the_operator_pass_the_limits(facts: dict[str, object], refusal: Refusal) -> None:
    assert decide(policy(PC_GRANT), but(facts_of(restoring=True), **facts), map_request()).outcome is Outcome.ALLOW
    assert decide(policy(""), but(facts_of(), **facts), map_request(via=Via.OPERATOR)).outcome is Outcome.ALLOW


@pytest.mark.spec("SR-5", "SR-22")
@pytest.mark.parametrize("incident", ["frozen", "quarantined"])
def test_the_flood_of_a_device_after_its_incident_is_a_matter_of_the_rate(incident: str) -> None:
    """Refusals by rate are written down together: a frozen device filled the audit log with itself alone."""
    flooding = but(facts_of(changes_last_minute=60), **{incident: True})
    assert decide(policy(PC_GRANT), flooding, map_request()).refusal is Refusal.RATE
    assert (
        decide(
            policy(PC_GRANT), but(flooding, renewing=True, frozen=False, quarantined=True), map_request()
        ).refusal
        is Refusal.NOT_AUTHORIZED
    ), "a renewal of ours is nobody's flood"


def test_one_below_each_limit_is_fine() -> None:
    facts = facts_of(changes_last_minute=59, held=HeldMappings(total=1023, by_device=31))
    assert decide(policy(PC_GRANT), facts, map_request()).outcome is Outcome.ALLOW


@pytest.mark.parametrize("flag", ["renewing", "standing"])
def test_a_frozen_device_keeps_its_mappings(flag: str) -> None:
    assert (
        decide(policy(PC_GRANT), but(facts_of(frozen=True), **{flag: True}), map_request()).outcome is Outcome.ALLOW
    )


def test_the_gateways_own_look_is_no_change_of_the_device() -> None:
    busy = facts_of(changes_last_minute=60)
    assert decide(policy(PC_GRANT), replace(busy, renewing=True), map_request()).outcome is Outcome.ALLOW
    assert decide(policy(PC_GRANT), replace(busy, standing=True), map_request()).refusal is Refusal.RATE


# -- forbids


FORBIDS = [
    ("int_ports = [5900]", map_request(PC, 5900, 40000), True),
    ("int_ports = [5900]", map_request(PC, 40000, 5900), False),
    ("ext_ports = [5900]", map_request(PC, 40000, 5900), True),
    ("ext_ports = [5900]", map_request(PC, 5900, 40000), False),
    ('int_ports = [1, "5000-6000"]', map_request(PC, 5000), True),
    ('int_ports = [1, "5000-6000"]', map_request(PC, 6001), False),
    ('proto = "udp"', map_request(), False),
    ('proto = ["udp", "tcp"]', map_request(), True),
    ('family = "ip6"', map_request(), False),
    ('family = "ip6"', map_request(PC6), True),
    ('who = "pc"', map_request(), True),
    ('who = "tv"', map_request(), False),
    ('zone = "guest"', map_request(), False),
    ('zone = "guest"', map_request(GUEST), True),
    ("", map_request(), True),
]


@pytest.mark.parametrize(("condition", "request_", "denied"), FORBIDS)
def test_a_forbid_denies_a_matching_request_and_the_verdict_names_it(
    condition: str, request_: MapRequest, denied: bool
) -> None:
    text = f"""
    [device.tv]
    mac = ["{TV_MAC}"]
    {PC_GRANT}
    [[forbid]]
    name = "no"
    {condition}
    """
    verdict = decide(policy(text), facts_of(request_.source.address), request_)
    assert verdict.outcome is (Outcome.DENY if denied else Outcome.ALLOW)
    assert verdict.rule == ("no" if denied else "games")
    if denied:
        assert verdict.reasons[-1] == "forbidden by rule no"
        assert verdict.refusal is Refusal.NOT_AUTHORIZED


def test_a_forbid_counts_a_device_by_any_of_its_facts() -> None:
    """Grants want all the facts of a device to agree; a forbid must not be escaped by hiding one of them."""
    text = f"""
    [device.tv]
    mac = ["{TV_MAC}"]
    ip = ["{TV}"]
    dhcp_name = "tv"
    [[grant]]
    name = "all"
    who = "*"
    [[forbid]]
    name = "no-tv"
    who = "tv"
    """
    for facts in (facts_of(TV, mac=None), facts_of(TV, mac=PC_MAC), facts_of(PC, mac=TV_MAC)):
        assert decide(policy(text), facts, map_request(facts.address)).rule == "no-tv"
    assert decide(policy(text), facts_of(), map_request()).rule == "all"


def test_a_forbid_counts_the_target_of_a_delegation_too() -> None:
    text = f"""
    [device.tv]
    ip = ["{TV}"]
    [zone]
    guest = ["192.168.20.0/24"]
    [[grant]]
    name = "for-all"
    who = "*"
    for = ["192.168.0.0/16"]
    [[forbid]]
    name = "no-tv"
    who = "tv"
    [[forbid]]
    name = "no-guests"
    zone = "guest"
    """
    for target, rule in ((TV, "no-tv"), (GUEST, "no-guests"), (IPv4Address("192.168.1.99"), "for-all")):
        facts = facts_of(target_device=str(target), target_mac=None)
        assert decide(policy(text), facts, map_request(internal=Endpoint(target, 40000))).rule == rule
    from_guest = facts_of(GUEST, mac=None, target_device="x", target_mac=None)
    request = map_request(GUEST, internal=Endpoint(IPv4Address("192.168.1.99"), 40000))
    assert decide(policy(text), from_guest, request).rule == "no-guests"


def test_where_the_gateway_chooses_a_forbidden_external_port_is_left_out() -> None:
    text = f'{PC_GRANT}\n[[forbid]]\nname = "vpn"\next_ports = [51820, "60000-65535"]\nproto = ["tcp"]'
    assert decide(policy(text), facts_of(), map_request(PC, 40000, 51820)).rule == "vpn"
    verdict = decide(policy(text), facts_of(), suggested(40000, 51820))
    assert clamps_of(verdict).external_ports == ((1024, 51819), (51821, 59999))
    udp = decide(policy(text), facts_of(), suggested(40000, 51820, transport=Transport.UDP))
    assert clamps_of(udp).external_ports == ((1024, 65535),)


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_and_where_none_is_left_the_forbid_denies(mode: str) -> None:
    text = f"""
    mode = "{mode}"
    default = "ask"
    {PC_GRANT}
    ext = "same"
    [[forbid]]
    name = "vpn"
    ext_ports = ["1024-65535"]
    """
    verdict = decide(policy(text), facts_of(), suggested(51820))
    assert (verdict.outcome, verdict.rule) == (Outcome.DENY, "vpn")


# -- grants


FILTERS = (RemotePeers(ip_network("198.51.100.7"), 443), RemotePeers(ip_network("198.51.100.8"), 444))
GRANTS = [
    ("int_ports = [3074]", map_request(PC, 3074, 40000), True),
    ("int_ports = [3074]", map_request(PC, 3075, 3074), False),
    ('int_ports = ["3478-3480", 3074]', map_request(PC, 3479), True),
    ('proto = ["udp"]', map_request(), False),
    ('proto = ["udp"]', map_request(transport=Transport.UDP), True),
    ('family = "ip4"', map_request(PC6), False),
    ("", map_request(PC6), True),
    ("ext_ports = [5000]", map_request(PC, 40000, 5000), True),
    ("ext_ports = [5000]", map_request(PC, 40000, 5001), False),
    ("ext_ports = [5000]", suggested(40000, 1), True),
    ("ext_ports = [5000]", map_request(PC6, 5000), True),
    ("ext_ports = [5000]", map_request(PC6, 40000), False),
    ('ext = "5000-5009"', map_request(PC, 40000, 5009), True),
    ('ext = "5000-5009"', map_request(PC, 40000, 5010), False),
    ('ext = "same"', map_request(PC, 40000, 5000), True),
    ('zone = "guest"', map_request(), False),
    ('zone = "guest"', map_request(GUEST), True),
    ('remote = ["203.0.113.0/24"]', map_request(), True),
    ('remote = ["203.0.113.0/24"]', map_request(remote=ip_network("203.0.113.7")), True),
    ('remote = ["203.0.113.0/24"]', map_request(remote=ip_network("203.0.112.0/23")), False),
    ('remote = ["203.0.113.0/24"]', map_request(remote=ip_network("198.51.100.7")), False),
    ('remote = ["203.0.113.0/24"]', map_request(PC6), False),
    ('family = ["ip4", "ip6"]\nremote = ["203.0.113.0/24"]', map_request(PC6), False),
    ('remote = ["203.0.112.0/24"]', map_request(remote=ip_network("203.0.112.0/23")), False),
    ("", map_request(remote=ip_network("198.51.100.7")), True),
    ("remote_ports = [443]", map_request(), False),
    ("remote_ports = [443]", map_request(remote=ip_network("198.51.100.7")), False),
    ("remote_ports = [443]", map_request(PC6, remote_port=443), True),
    ("remote_ports = [443]", map_request(PC6, remote_port=444), False),
    ("remote_ports = [443]", map_request(filters=(RemotePeers(ip_network("198.51.100.7"), 443),)), True),
    ("remote_ports = [443]", map_request(filters=(RemotePeers(ip_network("198.51.100.7"), 0),)), False),
    ('remote_ports = ["440-449"]', map_request(filters=FILTERS), True),
    ('remote_ports = ["440-443"]', map_request(filters=FILTERS), False),
    ('remote = ["203.0.113.0/24"]\nremote_ports = [443]', map_request(remote=ip_network("203.0.113.7")), False),
    ('for = ["10.0.40.0/28"]', map_request(), False),
    ('for = ["192.168.1.0/24"]', map_request(), True),
]


@pytest.mark.parametrize(("condition", "request_", "allowed"), GRANTS)
def test_a_grant_matches_if_all_its_conditions_hold(condition: str, request_: MapRequest, allowed: bool) -> None:
    verdict = decide(policy(PC_GRANT + condition), facts_of(request_.source.address), request_)
    assert verdict.outcome is (Outcome.ALLOW if allowed else Outcome.DENY)
    assert verdict.rule == ("games" if allowed else None)


@pytest.mark.spec("SR-2", "SR-26")
def test_another_host_only_by_a_delegating_grant() -> None:
    delegated = policy(f'{PC_GRANT}for = ["10.0.40.0/28"]')
    request = map_request(via=Via.PCP, internal=Endpoint(ROUTED, 40000))
    facts = facts_of(target_device=str(ROUTED), target_mac=None)
    assert decide(delegated, facts, request).rule == "games"
    assert decide(policy(PC_GRANT), facts, request).outcome is Outcome.DENY
    for text in ('default = "ask"\n' + PC_GRANT, 'mode = "observe"\n' + PC_GRANT):
        assert decide(policy(text), facts, request).outcome is Outcome.DENY
    stranger = facts_of(TV, mac=TV_MAC, target_device=str(ROUTED), target_mac=None)
    assert decide(delegated, stranger, request).outcome is Outcome.DENY


def test_a_zone_holds_the_internal_client_and_with_for_the_requester() -> None:
    text = """
    [zone]
    main = ["192.168.1.0/24"]
    [[grant]]
    name = "own"
    zone = "main"
    [[grant]]
    name = "other"
    zone = "main"
    for = ["192.168.20.0/24"]
    """
    over_ipv6 = map_request(PC6, internal=Endpoint(PC, 40000))
    assert decide(policy(text), facts_of(PC6), over_ipv6).rule == "own"
    assert decide(policy(text), facts_of(), map_request(PC6)).outcome is Outcome.DENY
    to_guest = map_request(internal=Endpoint(GUEST, 40000))
    assert decide(policy(text), facts_of(target_device="x"), to_guest).rule == "other"
    from_guest = facts_of(GUEST, mac=None, target_device="x")
    for target in (PC, IPv4Address("192.168.20.9")):
        request = map_request(GUEST, internal=Endpoint(target, 40000))
        assert decide(policy(text), from_guest, request).outcome is Outcome.DENY


def test_the_charged_grant_is_the_first_by_name_that_has_room() -> None:
    text = f"""
    {PC_GRANT}max_mappings = 1
    [[grant]]
    name = "zz"
    who = "pc"
    [[grant]]
    name = "aa"
    who = "pc"
    max_mappings = 2
    """
    held = [({}, "aa"), ({"aa": 2}, "games"), ({"aa": 2, "games": 1}, "zz"), ({"games": 9}, "aa")]
    for by_grant, rule in held:
        assert decide(policy(text), facts_of(held=HeldMappings(by_grant=by_grant)), map_request()).rule == rule


def test_a_full_grant_refuses_by_quota() -> None:
    full = facts_of(held=HeldMappings(by_grant={"games": 6}))
    for default in ("deny", "ask"):
        verdict = decide(policy(f'default = "{default}"\n{PC_GRANT}max_mappings = 6'), full, map_request())
        assert (verdict.outcome, verdict.refusal, verdict.rule) == (Outcome.DENY, Refusal.QUOTA, "games")
    restored = replace(full, restoring=True)
    assert decide(policy(f"{PC_GRANT}max_mappings = 6"), restored, map_request()).outcome is Outcome.ALLOW


def test_distinct_ports_a_day() -> None:
    text = f"{PC_GRANT}max_ports_per_day = 3\nmax_mappings = 1"
    today = facts_of(int_ports_today=frozenset({1024, 1025, 1026}), held=HeldMappings(by_grant={}))
    verdict = decide(policy(text), today, map_request())
    assert (verdict.refusal, verdict.rule) == (Refusal.NOT_AUTHORIZED, "games")
    assert decide(policy(text), today, map_request(PC, 1025)).outcome is Outcome.ALLOW
    for flag in ("standing", "renewing", "restoring"):
        assert decide(policy(text), but(today, **{flag: True}), map_request()).outcome is Outcome.ALLOW
    full = replace(today, held=HeldMappings(by_grant={"games": 1}))
    assert decide(policy(text), full, map_request()).refusal is Refusal.NOT_AUTHORIZED


HOURS = [
    ("06:00-23:00", 359, None),
    ("06:00-23:00", 360, 17 * 3600),
    ("06:00-23:00", 1379, 60),
    ("06:00-23:00", 1380, None),
    ("22:00-02:00", 1319, None),
    ("22:00-02:00", 1320, 4 * 3600),
    ("22:00-02:00", 0, 2 * 3600),
    ("22:00-02:00", 119, 60),
    ("22:00-02:00", 120, None),
    ("00:00-24:00", 0, 24 * 3600),
    ("00:00-24:00", 1439, 24 * 3600),
    ("20:00-24:00", 1439, 60),
    ("20:00-24:00", 0, None),
]


@pytest.mark.parametrize(("hours", "minute", "ttl"), HOURS)
@pytest.mark.parametrize("default", ["deny", "ask"])
def test_hours_refuse_outside_and_end_the_lease_with_them(
    hours: str, minute: int, ttl: int | None, default: str
) -> None:
    text = f'default = "{default}"\n{PC_GRANT}hours = "{hours}"'
    for flags in ({}, {"restoring": True}, {"renewing": True}):
        verdict = decide(policy(text), but(facts_of(minute_of_day=minute), **flags), map_request())
        if ttl is None:
            assert (verdict.outcome, verdict.refusal) == (Outcome.DENY, Refusal.NOT_AUTHORIZED)
        else:
            assert clamps_of(verdict).max_ttl_s == ttl


# -- clamps


def test_clamps_are_the_tighter_of_grant_and_limits() -> None:
    text = '[limits]\nmax_ttl = "2h"\nmax_hold = "5d"\n' + PC_GRANT
    loose = clamps_of(decide(policy(text + 'max_ttl = "4h"\nmax_hold = "9d"'), facts_of(), map_request()))
    assert (loose.max_ttl_s, loose.max_hold_s) == (7200, 5 * 86400)
    tight = clamps_of(decide(policy(text + 'max_ttl = "1h"\nmax_hold = "1d"'), facts_of(), map_request()))
    assert (tight.max_ttl_s, tight.max_hold_s) == (3600, 86400)


SHOWN_LEASES = [
    (Via.PCP, 7 * 86400, 4 * 3600),
    (Via.NATPMP, 60, 60),
    (Via.PCP, None, 4 * 3600),
    (Via.IGD1, 7 * 86400, 7 * 86400),
    (Via.IGD2, 60 * 86400, 30 * 86400),
    (Via.IGD1, None, 30 * 86400),
]


@pytest.mark.parametrize(("via", "requested", "shown"), SHOWN_LEASES)
def test_the_lease_is_cut_to_the_limit_of_the_protocol(via: Via, requested: int | None, shown: int) -> None:
    request = map_request(via=via, lifetime_s=requested)
    verdict = decide(policy(PC_GRANT + 'max_ttl = "4h"'), facts_of(), request)
    assert lifetime_s(request, clamps_of(verdict)) == shown
    clamped = requested is not None and requested > shown
    assert any(reason.startswith("lease cut from ") for reason in verdict.reasons) == clamped


EXTERNAL = [
    ("", 40000, ((1024, 65535),), External.SAME_OR_ANY),
    ('ext = "any"', 40000, ((1024, 65535),), External.ANY),
    ('ext = "same"', 40000, ((40000, 40000),), External.SAME),
    ('ext = "5000-5009"', 40000, ((5000, 5009),), External.ANY),
    ('ext_ports = [443, "8000-8009"]', 40000, ((443, 443), (8000, 8009)), External.SAME_OR_ANY),
    ("int_ports = [443]", 443, ((443, 443), (1024, 65535)), External.SAME_OR_ANY),
    ('int_ports = [443]\next = "same"', 443, ((443, 443),), External.SAME),
]


@pytest.mark.parametrize(("text", "port", "ports", "external"), EXTERNAL)
def test_the_external_ports_to_choose_from(
    text: str, port: int, ports: tuple[tuple[int, int], ...], external: External
) -> None:
    clamps = clamps_of(decide(policy(PC_GRANT + text), facts_of(), suggested(port, 9999)))
    assert (clamps.external_ports, clamps.external) == (ports, external)


def test_the_clamps_have_the_remote_hosts_of_the_address_family() -> None:
    text = f'{PC_GRANT}remote = ["203.0.113.0/24", "2001:db8:9::/48"]'
    assert clamps_of(decide(policy(text), facts_of(), map_request())).remote == (ip_network("203.0.113.0/24"),)
    six = decide(policy(text), facts_of(PC6), map_request(PC6))
    assert clamps_of(six).remote == (ip_network("2001:db8:9::/48"),)


def test_the_operator_is_not_shortened() -> None:
    request = map_request(via=Via.OPERATOR, lifetime_s=90 * 86400, permanent=True)
    clamps = clamps_of(decide(policy(""), facts_of(), request))
    assert lifetime_s(request, clamps) == 90 * 86400


# -- ask, approve, observe


@pytest.mark.spec("SR-28")
def test_ask_is_a_refusal_for_now() -> None:
    verdict = decide(policy('default = "ask"'), facts_of(), map_request())
    assert (verdict.outcome, verdict.refusal, verdict.clamps) == (Outcome.ASK, Refusal.ASK, None)


@pytest.mark.spec("SR-28")
def test_approve_makes_an_allow_a_question() -> None:
    verdict = decide(policy(f"{PC_GRANT}approve = true"), facts_of(), map_request())
    assert (verdict.outcome, verdict.refusal, verdict.rule) == (Outcome.ASK, Refusal.ASK, "games")


def test_the_name_of_an_approval_does_not_change_the_verdict() -> None:
    text = f'{PC_GRANT}approve = true\n[[grant]]\nname = "zz-approved"\nwho = "pc"'
    assert decide(policy(text), facts_of(), map_request()).rule == "zz-approved"


@pytest.mark.parametrize(
    ("extra", "facts", "note"),
    [
        (
            '[device.tv]\nmac = "02:00:00:00:00:40"\n[[grant]]\nname = "x"\nwho = "tv"',
            facts_of(),
            "would-deny: no grant",
        ),
        (
            f"{PC_GRANT}max_mappings = 1",
            facts_of(held=HeldMappings(by_grant={"games": 1})),
            "would-deny: no grant with room",
        ),
        (f"{PC_GRANT}approve = true", facts_of(), "would-ask: the grant needs approval"),
    ],
)
def test_observe_mode_allows_and_marks_a_request_without_a_grant(extra: str, facts: Facts, note: str) -> None:
    verdict = decide(policy(f'mode = "observe"\n{extra}'), facts, map_request())
    assert (verdict.outcome, verdict.rule) == (Outcome.ALLOW, "observe")
    assert note in verdict.reasons


def test_observe_charges_a_grant_where_there_is_one() -> None:
    assert decide(policy(f'mode = "observe"\n{PC_GRANT}'), facts_of(), map_request()).rule == "games"


@pytest.mark.parametrize(("port", "external"), [(443, 443), (40000, 80)])
def test_observe_does_not_open_a_low_port_that_waits_for_approval(port: int, external: int) -> None:
    grant = f"{PC_GRANT}int_ports = [443, 40000]\next_ports = [443, 80]\napprove = true"
    verdict = decide(policy(f'mode = "observe"\n{grant}'), facts_of(), map_request(PC, port, external))
    assert verdict.outcome is Outcome.ASK


# -- what a client says


@pytest.mark.spec("SR-30")
@pytest.mark.parametrize("description", ["", "games", "*", "operator", "'; drop", "\x1b[2J", "x" * 256])
def test_the_clients_description_changes_nothing(description: str) -> None:
    for text in (PC_GRANT, "", 'default = "ask"', 'mode = "observe"'):
        rules: Policy = policy(text)
        verdict = decide(rules, facts_of(), map_request(description=description))
        assert verdict == decide(rules, facts_of(), map_request(description="something else"))


@pytest.mark.spec("SR-29")
def test_a_rule_ends_and_no_lease_outlives_it() -> None:
    end = 1_800_000_000
    until = "2027-01-15T08:00:00Z"
    granted = policy(f"""
    {PC_GRANT}until = {until}
    """)
    verdict = decide(granted, facts_of(wall=end - 600.5), map_request())
    assert verdict.clamps is not None
    assert verdict.clamps.max_ttl_s == 601
    assert decide(granted, facts_of(wall=float(end)), map_request()).outcome is Outcome.DENY
    forbidden = policy(f"""
    {PC_GRANT}
    [[forbid]]
    name = "for-now"
    until = {until}
    """)
    assert decide(forbidden, facts_of(wall=end - 1.0), map_request()).rule == "for-now"
    assert decide(forbidden, facts_of(wall=float(end)), map_request()).outcome is Outcome.ALLOW
