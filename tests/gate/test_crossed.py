"""The invariants that the operator's own mapping crosses."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from random import Random
from typing import Any

import pytest

from tests.fixtures.policies import GUEST, NETWORK, PC, PC6, PC_MAC, facts_of, map_request, policy_of
from tests.gate.proof.small_policies import built, invariant_tables, policy_tables
from upnp_gw.gate.crossed import crossed_by
from upnp_gw.gate.facts import IdentifiedHost
from upnp_gw.gate.invariant import InvariantKind
from upnp_gw.gate.proof.prove import Prover
from upnp_gw.gate.read_invariants import read_invariant
from upnp_gw.gate.rules import PolicyRules
from upnp_gw.gate.schema import Assurance, Policy
from upnp_gw.gate.values import KeyPath
from upnp_gw.model.device import OPERATOR
from upnp_gw.model.mapping import Via
from upnp_gw.model.request import MapRequest, PortChoice, Source

POLICY = """
[limits]
max_hold = "30d"
[device.pc]
mac = ["02:00:00:00:00:23"]
dhcp_name = "pc"
[zone]
guest = ["192.168.20.0/24", "2001:db8:20::/64"]
[[never]]
name = "it"
"""
CLIENT = IdentifiedHost(PC_MAC, PC_MAC, "lan")
OFFICE = "203.0.113.0/24"


def added(client: Any = PC, port: int = 3389, external: int = 8080, **more: Any) -> MapRequest:
    """The operator's request."""
    own = {"via": Via.OPERATOR, "source": Source(ip_address("127.0.0.1"), "")}
    return map_request(client, port, external, **(own | more))


def crossed(never: str, request: MapRequest, host: IdentifiedHost = CLIENT) -> bool:
    policy = policy_of(POLICY + never)
    facts = facts_of(
        ip_address("127.0.0.1"),
        mac=None,
        device=OPERATOR,
        target_device=host.device,
        target_mac=host.mac,
        target_lan=host.lan,
        main_lan="lan",
        network=NETWORK,
    )
    return [one.name for one in crossed_by(policy, facts, request)] == ["it"]


CROSSED = [
    ("request = { int = [22, 3389] }", added()),
    ("request = { ext = 8080, proto = 'tcp', family = 'ip4' }", added()),
    ("request = { at = '02:00-03:00' }", added()),
    ("from = { zone = 'guest' }", added(GUEST)),
    ("from = { device = 'pc' }", added()),
    ("from = { mac = '02:00:00:00:00:23', lan = 'lan', ip = '192.168.1.0/24' }", added()),
    ("request = { for = '192.168.1.0/24' }", added()),
    (f"request = {{ remote = '{OFFICE}' }}", added()),
    (f"request = {{ remote = '{OFFICE}' }}", added(remote=ip_network("203.0.113.7/32"))),
    (f"request = {{ int = 3389 }}\nunless = {{ remote = '{OFFICE}' }}", added()),
    (f"request = {{ int = 3389 }}\nunless = {{ remote = '{OFFICE}' }}", added(remote=ip_network("203.0.112.0/23"))),
    ("unless = { lease = '24h' }", added(lifetime_s=86_401)),
    ("unless = { lease = '24h' }", added(lifetime_s=None)),
    ("unless = { lease = '24h' }", added(lifetime_s=60, permanent=True)),
    ("unless = { ext = '1024-2000' }", added()),
    ("request = { ext = 443 }", added(PC6, 443, 443)),
    ("request = { ext = 443 }", added(external=0, choice=PortChoice.SUGGESTED)),
]
NOT_CROSSED = [
    ("request = { int = 22 }", added()),
    ("request = { ext = 3389 }", added()),
    ("request = { proto = 'udp' }", added()),
    ("request = { family = 'ip6' }", added()),
    ("from = { zone = 'guest' }", added()),
    ("from = { not = 'pc' }", added()),
    ("from = { via = ['igd1', 'igd2', 'natpmp', 'pcp'] }", added()),
    ("from = { mac = '02:00:00:00:00:99' }", added()),
    ("from = { lan = 'guest' }", added()),
    ("request = { for = '192.168.20.0/24' }", added()),
    (f"request = {{ remote = '{OFFICE}' }}", added(remote=ip_network("198.51.100.0/24"))),
    (f"request = {{ remote = '{OFFICE}' }}", added(PC6)),
    (f"unless = {{ remote = '{OFFICE}' }}", added(remote=ip_network("203.0.113.7/32"))),
    ("unless = { lease = '24h', ext = '8000-9000' }", added(lifetime_s=86_400)),
]


@pytest.mark.parametrize(("never", "request_"), CROSSED, ids=[text for text, _ in CROSSED])
def test_a_mapping_that_crosses(never: str, request_: MapRequest) -> None:
    assert crossed(never, request_)


@pytest.mark.parametrize(("never", "request_"), NOT_CROSSED, ids=[text for text, _ in NOT_CROSSED])
def test_a_mapping_that_does_not(never: str, request_: MapRequest) -> None:
    assert not crossed(never, request_)


def test_anybody_but_a_device() -> None:
    never = "from = { not = 'pc' }"
    assert crossed(never, added(GUEST), IdentifiedHost("02:00:00:00:00:99", "02:00:00:00:00:99", "lan"))
    assert crossed(never, added(), IdentifiedHost(PC_MAC, PC_MAC, "guest")), "another LAN is another device"


def test_a_host_of_the_whole_lan_of_a_zone_is_in_it() -> None:
    """By the rule of forbids: its address may be outside."""
    policy = policy_of('[zone]\nguest = ["192.168.20.0/24", "172.32.0.0/24"]\n[[never]]\nname = "it"\n')
    zone = replace(policy.invariants[0], sender=replace(policy.invariants[0].sender, zone="guest"))
    policy = replace(policy, invariants=(zone,))
    facts = facts_of(PC, target_lan="guest", lan="", network=NETWORK)
    assert crossed_by(policy, facts, added()) == (zone,)
    assert crossed_by(policy, replace(facts, target_lan="lan"), added()) == ()


def _needs_lease(policy: Policy, names: frozenset[str]) -> bool:
    devices = [policy.devices[name] for name in names]
    return any(one.dhcp_name is not None or one.assure is Assurance.LEASE for one in devices)


def test_what_a_control_point_may_not_get_crosses_if_the_operator_adds_it() -> None:
    """Each witness of the prover that asks for its own address, as the operator's mapping."""
    seen = 0
    for seed in range(400):
        random = Random(seed)
        tables = policy_tables(random)
        policy = built(tables)
        rules = PolicyRules(policy.devices, policy.groups, policy.zones, policy.sets, "random")
        raw = invariant_tables(random, tables, "never")
        invariant = read_invariant(raw, InvariantKind.NEVER, rules, KeyPath("random"))
        witness = Prover(policy, [invariant]).proof(invariant).witness
        if witness is None or invariant.sender.vias or _needs_lease(policy, invariant.sender.excluded):
            continue
        facts, request = witness.facts, witness.request
        if facts.address != request.internal.address:
            continue
        longest = replace(
            request,
            via=Via.OPERATOR,
            lifetime_s=366 * 86_400,
            external_port=witness.ext_port,
            choice=PortChoice.EXACT,
        )
        of_operator = replace(facts, device=OPERATOR, mac=None, address=ip_address("127.0.0.1"), lan="")
        asking = replace(policy, invariants=(invariant,))
        assert crossed_by(asking, of_operator, longest) == (invariant,), f"seed {seed}: {raw} {request}"
        seen += 1
    assert seen > 30
