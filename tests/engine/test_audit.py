"""The record of a decision is enough to decide it again, to the same answer."""

from dataclasses import fields, replace
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.fixtures.examples import examples
from tests.fixtures.policies import NETWORK, PC, PC_MAC, PORTS, facts_of, map_request
from tests.gate.test_decide_model import made, policies, questions
from upnp_gw.engine.audit import NotReplayable, facts_and_request, map_record
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Facts, HeldMappings
from upnp_gw.model.mapping import DecisionId, Endpoint, Instant, RemotePeers, Transport
from upnp_gw.model.records import DecisionRecord
from upnp_gw.model.request import MapRequest, Source
from upnp_gw.store.decision_encoding import record_of, split

NOW = Instant(5.0, 1_800_000_000.0)


def stored(policy: Any, facts: Facts, request: MapRequest) -> DecisionRecord:
    """The record as it comes back from the disk."""
    record = map_record(NOW, DecisionId("d7"), request, facts, decide(policy, facts, request))
    shared, own = split(record)
    read = record_of(7, record.at, own, shared)
    assert read == record
    return read


more_facts = st.fixed_dictionaries(
    {
        "changes_last_minute": st.sampled_from([0, 60]),
        "frozen": st.booleans(),
        "standing": st.booleans(),
        "renewing": st.booleans(),
        "restoring": st.booleans(),
        "int_ports_today": st.frozensets(st.sampled_from([22, 443, 1024, 3074, 40000])),
        "held": st.builds(HeldMappings, st.sampled_from([0, 2000]), st.sampled_from([0, 40])),
        "wall": st.sampled_from([0.0, 2e9]),
        "dhcp_name": st.sampled_from([None, "pc"]),
        "lease_agrees": st.booleans(),
    }
)


@examples(300)
@given(policies, questions(), more_facts)
def test_a_replay_under_the_same_policy_gives_the_same_verdict(
    tables: dict[str, Any], question: tuple[Facts, MapRequest], more: dict[str, Any]
) -> None:
    policy, facts = made(tables), replace(question[0], **more)
    record = stored(policy, facts, question[1])
    assert decide(policy, *facts_and_request(record, NETWORK)) == decide(policy, facts, question[1])
    # Without a network the floor's question of where a host is is answered in its favour, and nothing else is.
    assert decide(policy, *facts_and_request(record)) == decide(policy, facts, question[1])


def test_a_decision_of_the_emulator_is_replayed_as_its_own() -> None:
    """Its clients are on the loopback, where no other gateway has any."""
    policy, loopback = made({"version": 1, "default": "deny"}), ip_address("127.0.0.1")
    network = replace(NETWORK, emulated=True)
    request = replace(map_request(loopback), source=Source(loopback, "lo"))
    facts = replace(facts_of(loopback), network=network, lan="lo", target_lan="lo")
    allowed_by_floor = decide(policy, facts, request)
    assert decide(policy, *facts_and_request(stored(policy, facts, request))) == allowed_by_floor
    assert "not a private address" not in allowed_by_floor.reasons[-1]


def test_a_forbid_for_the_zone_of_a_lan_is_replayed_without_the_network() -> None:
    """A guest asked from its link-local address: the gateway knew from its LAN that it is in the zone."""
    policy = made(
        {
            "version": 1,
            "zone": {"guest": ["192.168.20.0/24", "172.32.0.0/24"]},
            "forbid": [{"name": "guests", "zone": "guest"}],
            "grant": [{"name": "all", "who": "*"}],
        }
    )
    local = IPv6Address("fe80::7")
    facts = facts_of(local, lan="guest", main_lan="lan")
    request = map_request(local, source=Source(local, "guest"), internal=Endpoint(PC, 40000))
    verdict = decide(policy, facts, request)
    assert verdict.rule == "guests"
    assert decide(policy, *facts_and_request(stored(policy, facts, request))) == verdict


def test_every_fact_comes_back() -> None:
    facts = facts_of(
        wall=3.0,
        held=HeldMappings(5, 3, {"g": 2}),
        changes_last_minute=7,
        int_ports_today=frozenset({1, 2, 40000}),
        dhcp_name="pc",
        lease_agrees=True,
        frozen=True,
        restoring=True,
        renewing=True,
        standing=True,
    )
    filters = (RemotePeers(ip_network("203.0.113.7"), 5),)
    remote = ip_network("203.0.113.7/32")
    request = map_request(remote=remote, remote_port=443, filters=filters, description="\udc80")
    back, request_back = facts_and_request(stored(made({"version": 1}), facts, request), NETWORK)
    assert request_back == request
    for field in fields(Facts):
        if field.name not in ("gateway_ports", "int_ports_today"):
            assert getattr(back, field.name) == getattr(facts, field.name), field.name
    assert len(back.int_ports_today) == 3
    assert request.internal.port in back.int_ports_today


def test_a_port_that_the_gateway_used_is_used_in_the_replay() -> None:
    request = map_request(port=8443)
    record = stored(made({"version": 1}), facts_of(gateway_ports=PORTS), request)
    facts, _ = facts_and_request(record)
    assert facts.gateway_ports.holds(Transport.TCP, 8443)
    assert not facts.gateway_ports.holds(Transport.TCP, 8444)


@pytest.mark.parametrize(
    "changes",
    [{"facts": {}}, {"choice": None}, {"internal_client": None}, {"transport": None}],
)
def test_a_record_that_cannot_be_explained_has_a_note(changes: dict[str, Any]) -> None:
    record = structs.replace(stored(made({"version": 1}), facts_of(mac=PC_MAC), map_request()), **changes)
    with pytest.raises(NotReplayable):
        facts_and_request(record)
