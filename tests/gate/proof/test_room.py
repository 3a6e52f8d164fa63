"""Quotas in proofs: which grant is charged, and a witness with the room that it needs."""

import pytest

from tests.gate.proof.brute_force import check_witness
from tests.gate.proof.small_policies import DEVICES, ZONES, Table, built
from tests.gate.proof.test_prove import proof
from upnp_gw.gate.invariant import InvariantKind
from upnp_gw.gate.proof import prove
from upnp_gw.gate.proof.prove import Proof, Prover, Standing
from upnp_gw.gate.proof.room import ROOM
from upnp_gw.gate.proof.space import Space
from upnp_gw.gate.proof.words import request_text
from upnp_gw.gate.read_invariants import read_invariant
from upnp_gw.gate.rules import PolicyRules
from upnp_gw.gate.schema import Policy
from upnp_gw.gate.values import KeyPath

HEAD = '[device.nas]\nmac = ["00:11:32:00:00:02"]\n'
HIGH = '[[grant]]\nname = "a-high"\nwho = "nas"\next_ports = ["30000-40000"]\n'
LOW = '[[grant]]\nname = "b-low"\nwho = "nas"\next_ports = [8443]\n'
SAME = '[[grant]]\nname = "a-same"\nwho = "*"\next = "same"\nmax_ttl = "1h"\n'
ANY = '[[grant]]\nname = "b-any"\nwho = "*"\n'
SHORT = '[[never]]\nfrom = { via = "pcp" }\nunless = { lease = "2h" }'
WEB = '[[always]]\nfrom = { device = "nas" }\nrequest = { int = 8443, ext = 8443 }'


POLICY_5011124: Table = {
    "version": 1,
    "default": "ask",
    "mode": "observe",
    "device": {name: DEVICES[name] for name in ("any", "kid", "pc", "tv")},
    "group": {"many": ["pc", "kid"], "two": ["pc", "tv"]},
    "zone": ZONES,
    "set": {"bots": {"file": "bots.txt"}},
    "forbid": [
        {"name": "f0", "who": "@two", "proto": "udp", "int_ports": [2001, 65535], "hours": "sat,holidays"},
        {
            "name": "f1",
            "who": "kid",
            "family": "ip4",
            "int_ports": ["2000-2001", "1-1023"],
            "hours": "fri 23:00-06:00",
        },
        {"name": "f2", "who": "any", "zone": "main", "remote": ["203.0.113.128/25", "2001:db8:9::/48"]},
    ],
    "grant": [
        {"name": "g0", "who": "*", "proto": "tcp"},
        {"name": "g1", "who": "@two", "ext_ports": [1023], "hours": "13:00-24:00", "max_ttl": "1h"},
        {
            "name": "g2",
            "who": "*",
            "family": "ip4",
            "int_ports": [2000],
            "ext_ports": ["1-1023"],
            "max_hold": "1h",
        },
    ],
}
NEVER_5011124: Table = {
    "name": "never",
    "from": {"ip": "192.168.20.0/24", "via": ["natpmp", "pcp"]},
    "request": {"int": 2000, "ext": 22, "remote": {"never": ["@bots"]}},
}


def proof_5011124() -> tuple[Policy, Proof]:
    policy = built(POLICY_5011124)
    known = PolicyRules(policy.devices, policy.groups, policy.zones, policy.sets, "t")
    invariant = read_invariant(NEVER_5011124, InvariantKind.NEVER, known, KeyPath("t"))
    return policy, Prover(policy, [invariant]).proof(invariant)


def test_the_policy_that_brute_force_found() -> None:
    """Policy 5011124 of an older generator. The answer was unknown: in the first boxes the gateway chooses, and g0
    gives another port. In a later box a request names the port."""
    policy, found = proof_5011124()
    assert (found.standing, found.rule) == (Standing.VIOLATED, "g2")
    check_witness(policy, found, "5011124")


def test_more_boxes_are_looked_at_where_the_first_have_no_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was then: requests that let the gateway choose come first, and all quotas have room."""
    requests = Space.requests
    monkeypatch.setattr(Space, "requests", lambda space: requests(space)[::-1])
    monkeypatch.setattr(prove, "rooms", lambda policy, grant: [ROOM])
    policy, found = proof_5011124()
    assert (found.standing, found.rule) == (Standing.VIOLATED, "g2")
    check_witness(policy, found, "5011124")


def test_a_later_grant_is_charged_where_the_quota_has_one_port_left() -> None:
    """The device has the port at another address: its own quota is full but for this port, of which the first grant
    gives none."""
    found = proof(SHORT, HEAD + SAME + ANY)
    assert (found.standing, found.rule) == (Standing.VIOLATED, "b-any")
    assert found.witness is not None
    held = found.witness.facts.held
    assert held.on_port.keys() == {found.witness.ext_port}
    assert "while its quota is full but for external port" in request_text(found.witness)


def test_a_full_grant_leaves_the_next_one() -> None:
    limited = SAME.replace('ext = "same"', "max_mappings = 2")
    found = proof(SHORT, HEAD + limited + ANY)
    assert (found.standing, found.rule) == (Standing.VIOLATED, "b-any")
    assert found.witness is not None
    assert "while a-same has no room" in request_text(found.witness)
    assert proof(SHORT, HEAD + limited.replace("max_mappings = 2\n", "") + ANY).standing is Standing.HOLDS


def test_ports_of_a_day_are_counted_once_for_two_grants() -> None:
    """Two grants count the same ports: if the second has room, the first has."""
    first = SAME.replace('ext = "same"', "max_ports_per_day = 9")
    assert proof(SHORT, HEAD + first + ANY + "max_ports_per_day = 8\n").standing is Standing.HOLDS
    found = proof(SHORT, HEAD + first + ANY + "max_ports_per_day = 10\n")
    assert (found.standing, found.rule) == (Standing.VIOLATED, "b-any")
    assert found.witness is not None
    assert len(found.witness.facts.int_ports_today) == 9


@pytest.mark.parametrize("limit", ["", "max_mappings = 2\n"])
def test_an_always_counts_the_grant_that_is_charged(limit: str) -> None:
    """The first grant with room decides where the gateway chooses the port, and it does not give this one."""
    found = proof(WEB, HEAD + HIGH + limit + LOW)
    assert (found.standing, found.rule) == (Standing.VIOLATED, "a-high")
    assert proof(WEB, HEAD + HIGH.replace('"30000-40000"', '"8443-40000"') + LOW).standing is Standing.HOLDS


def test_an_always_counts_the_next_grant_where_the_first_is_full() -> None:
    first = HIGH.replace("a-high", "c-high")
    found = proof(WEB, HEAD + first + LOW + "max_mappings = 1\n")
    assert (found.standing, found.rule) == (Standing.VIOLATED, "c-high")
    assert proof(WEB, HEAD + first + LOW).standing is Standing.HOLDS
