"""The floor: nothing that a policy says can lower it."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.policies import (
    GUEST,
    NETWORK,
    PC,
    PC6,
    PC_MAC,
    ROUTED,
    TV,
    TV_MAC,
    facts_of,
    map_request,
    suggested,
)
from tests.fixtures.policies import policy_of as policy
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Outcome, Verdict
from upnp_gw.gate.floor import exact_external
from upnp_gw.model.mapping import Endpoint, IPAddress, Transport, Via
from upnp_gw.model.request import MapRequest, PortChoice, Refusal

EVERYTHING = policy(
    """
    [[grant]]
    name = "everything"
    who = "*"
    int_ports = ["1-65535"]
    ext_ports = ["1-65535"]
    """
)
"""As wide as a policy without delegation gets."""


def to(address: IPAddress, port: int = 40000, **more: Any) -> MapRequest:
    return map_request(PC, port, internal=Endpoint(address, port), **more)


def answer(request: MapRequest, **facts: Any) -> Verdict:
    return decide(EVERYTHING, facts_of(request.source.address, **facts), request)


def test_the_policy_of_these_tests_allows_everything_above_the_floor() -> None:
    assert answer(map_request()).outcome is Outcome.ALLOW
    assert answer(map_request(PC, 80, 80)).outcome is Outcome.ALLOW
    assert answer(map_request(ROUTED), mac=None).outcome is Outcome.ALLOW
    assert answer(map_request(PC6)).outcome is Outcome.ALLOW


NO_HOSTS = [
    ("0.0.0.0", "not a private address"),
    ("127.0.0.1", "not a private address"),
    ("8.8.8.8", "not a private address"),
    ("224.0.0.251", "not a private address"),
    ("255.255.255.255", "not a private address"),
    ("172.32.0.5", "not a private address"),
    ("192.168.1.0", "network or broadcast"),
    ("192.168.1.255", "network or broadcast"),
    ("10.0.40.15", "network or broadcast"),
    ("10.0.40.16", "not on a LAN"),
    ("192.168.7.7", "not on a LAN"),
    ("192.168.1.1", "gateway itself"),
    ("192.168.20.1", "gateway itself"),
    ("198.51.100.9", "gateway itself"),
    ("::", "only to a global IPv6"),
    ("::1", "only to a global IPv6"),
    ("::ffff:192.168.1.23", "only to a global IPv6"),
    ("fe80::23", "only to a global IPv6"),
    ("ff02::1", "only to a global IPv6"),
    ("2001:db8:1::", "network or broadcast"),
    ("2001:db8:1::1", "gateway itself"),
    ("2001:db8:2::23", "not on a LAN"),
]


@pytest.mark.spec("SR-2")
@pytest.mark.parametrize(("address", "reason"), NO_HOSTS)
@pytest.mark.parametrize("via", [Via.IGD1, Via.OPERATOR])
def test_no_mapping_leads_to_an_address_that_is_not_a_lan_host(address: str, reason: str, via: Via) -> None:
    target = IPv6Address(address) if ":" in address else IPv4Address(address)
    # Even with the MAC address of the requester: its own in every other respect.
    verdict = answer(to(target, via=via))
    assert (verdict.outcome, verdict.refusal, verdict.rule) == (Outcome.DENY, Refusal.NOT_AUTHORIZED, None)
    assert reason in verdict.reasons[-1]


@pytest.mark.spec("SR-2")
@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6), st.sampled_from([PC, TV, GUEST, ROUTED, PC6])))
def test_only_the_requester_itself_is_ever_a_target(target: IPAddress) -> None:
    own = target in (PC, PC6)
    device = PC_MAC if own else TV_MAC
    verdict = answer(to(target), target_device=device, target_mac=device)
    assert (verdict.outcome is Outcome.ALLOW) == own


@pytest.mark.spec("SR-2")
@given(st.ip_addresses())
def test_the_operator_reaches_lan_hosts_and_nothing_else(target: IPAddress) -> None:
    verdict = answer(to(target, via=Via.OPERATOR), device="operator")
    if verdict.outcome is Outcome.ALLOW:
        assert NETWORK.on_lan(target)
        assert not NETWORK.is_gateway(target)
        assert target.version == 6 or not target.is_global


def test_a_device_may_map_to_its_address_of_the_other_family() -> None:
    """A host may ask for its IPv4 mapping over IPv6, and the reverse."""
    assert answer(map_request(PC6, internal=Endpoint(PC, 40000))).outcome is Outcome.ALLOW
    link_local = IPv6Address("fe80::23")
    assert answer(map_request(link_local, internal=Endpoint(PC6, 40000))).outcome is Outcome.ALLOW


def test_another_device_at_the_same_address_is_another() -> None:
    verdict = answer(map_request(), target_device=TV_MAC, target_mac=TV_MAC)
    assert verdict.outcome is Outcome.DENY
    assert verdict.reasons[-1] == "a device may map ports only to itself"


MALFORMED = [
    (map_request(PC, 0, 40000), "internal port"),
    (map_request(PC, 65536, 40000), "internal port"),
    (map_request(PC, -1, 40000), "internal port"),
    (map_request(PC, 40000, 0), "external port"),
    (map_request(PC, 40000, 65536), "external port"),
    (suggested(40000, -1), "external port"),
    (map_request(lifetime_s=0), "longer than 0 seconds"),
    (map_request(lifetime_s=-5), "longer than 0 seconds"),
    (map_request(permanent=True), "only the operator"),
    (map_request(remote=ip_network("2001:db8::/32")), "different address families"),
    (map_request(PC6, remote=ip_network("203.0.113.0/24")), "different address families"),
]


@pytest.mark.parametrize(("request_", "reason"), MALFORMED)
def test_malformed_requests_are_denied(request_: MapRequest, reason: str) -> None:
    verdict = answer(request_)
    assert verdict.outcome is Outcome.DENY
    assert reason in verdict.reasons[-1]


@pytest.mark.spec("SR-16")
@pytest.mark.parametrize("name", ["fritz.box", "192.168.1.23", 3232235799])
def test_a_target_that_is_no_address_literal_is_denied(name: object) -> None:
    verdict = answer(map_request(internal=Endpoint(name, 40000)))  # type: ignore[arg-type]
    assert verdict.outcome is Outcome.DENY


@pytest.mark.spec("SR-24")
@pytest.mark.parametrize("via", [Via.IGD1, Via.PCP, Via.OPERATOR])
@pytest.mark.parametrize(("transport", "port"), [(Transport.TCP, 8443), (Transport.UDP, 51820)])
def test_the_gateways_own_ports_are_a_conflict(via: Via, transport: Transport, port: int) -> None:
    verdict = answer(map_request(PC, 40000, port, via=via, transport=transport))
    assert (verdict.outcome, verdict.refusal) == (Outcome.DENY, Refusal.CONFLICT_OTHER)
    other = Transport.UDP if transport is Transport.TCP else Transport.TCP
    assert answer(map_request(PC, 40000, port, via=via, transport=other)).outcome is Outcome.ALLOW


def test_where_the_gateway_chooses_its_own_ports_are_the_ledgers_business() -> None:
    assert answer(suggested(40000, 8443)).outcome is Outcome.ALLOW


def test_a_pinhole_may_use_a_port_of_the_gateway() -> None:
    assert answer(map_request(PC6, 8443)).outcome is Outcome.ALLOW


LOW = [(22, 40000), (40000, 22), (1023, 1023), (443, 443), (40000, 1), (1, 40000)]


NO_NAT = replace(NETWORK, without_nat=frozenset(NETWORK.lan_names))
PUBLIC = IPv4Address("172.32.0.9")
"""On the guest link."""


@pytest.mark.parametrize("address", [PC, PUBLIC])
def test_without_nat_a_lan_host_may_have_a_public_address(address: IPv4Address) -> None:
    assert answer(map_request(address).without_nat(), network=NO_NAT).outcome is Outcome.ALLOW


@pytest.mark.parametrize(
    ("text", "reason"), [host for host in NO_HOSTS if ":" not in host[0] and not host[0].startswith("172.32.")]
)
def test_without_nat_too_only_a_lan_host_is_a_target(text: str, reason: str) -> None:
    address = IPv4Address(text)
    verdict = answer(map_request(address).without_nat(), network=NO_NAT)
    assert verdict.outcome is Outcome.DENY
    assert ("not on a LAN" if "private" in reason else reason) in verdict.reasons[-1]


def test_without_nat_the_ports_of_the_gateway_are_no_matter() -> None:
    assert answer(map_request(PC, 8443, 8443)).refusal is Refusal.CONFLICT_OTHER
    assert answer(map_request(PC, 8443, 8443).without_nat(), network=NO_NAT).outcome is Outcome.ALLOW


def test_without_nat_the_gate_judges_the_internal_port() -> None:
    """An exact other external port cannot be had: the ledger refuses it (``ONLY_ITS_OWN_PORT``)."""
    web = policy('[[grant]]\nname = "web"\nwho = "*"\nint_ports = [443]\next_ports = [443]')
    for external in (443, 8443):
        request = map_request(PC, 443, external).without_nat()
        assert (exact_external(request), request.external_port) == (443, external)
        assert decide(web, facts_of(network=NO_NAT), request).outcome is Outcome.ALLOW
    assert suggested(443, 8443).without_nat().external_port == 443


@pytest.mark.parametrize(("internal", "external"), LOW)
@pytest.mark.parametrize("head", ['default = "deny"', 'default = "ask"', 'mode = "observe"'])
def test_ports_below_1024_need_a_grant_that_names_them(internal: int, external: int, head: str) -> None:
    unnamed = policy(f'{head}\n[[grant]]\nname = "g"\nwho = "*"')
    verdict = decide(unnamed, facts_of(), map_request(PC, internal, external))
    assert verdict.outcome is Outcome.DENY
    assert verdict.reasons[-1] == "a port below 1024 needs a grant that names it"


def test_a_grant_that_names_a_low_internal_port_opens_that_external_one_alone() -> None:
    web = policy('[[grant]]\nname = "web"\nwho = "*"\nint_ports = [443]')
    outcomes = {port: decide(web, facts_of(), map_request(PC, 443, port)).outcome for port in (443, 80, 4443)}
    assert outcomes == {443: Outcome.ALLOW, 80: Outcome.DENY, 4443: Outcome.ALLOW}


def test_the_operator_needs_no_grant_for_a_low_port() -> None:
    verdict = decide(policy(""), facts_of(), map_request(PC, 22, 22, via=Via.OPERATOR))
    assert (verdict.outcome, verdict.rule) == (Outcome.ALLOW, "operator")


def on_lan(address: IPAddress) -> bool:
    return any(v == address.version and first <= int(address) <= last for v, first, last, _ in NETWORK.lan_spans)


@given(st.ip_addresses())
def test_the_quick_questions_agree_with_the_network(address: IPAddress) -> None:
    assert ((address.version, int(address)) in NETWORK.own) == NETWORK.is_gateway(address)
    assert on_lan(address) == NETWORK.on_lan(address)


@pytest.mark.parametrize("address", [PC, PC6, GUEST, ROUTED, IPv4Address("192.168.1.1"), IPv6Address("fe80::1")])
def test_and_so_they_do_where_hypothesis_rarely_looks(address: IPAddress) -> None:
    assert ((address.version, int(address)) in NETWORK.own) == NETWORK.is_gateway(address)
    assert on_lan(address)


def test_an_exact_request_has_one_external_port() -> None:
    verdict = answer(map_request(PC, 40000, 40001))
    assert verdict.clamps is not None
    assert verdict.clamps.external_ports == ((40001, 40001),)
    assert map_request().choice is PortChoice.EXACT
