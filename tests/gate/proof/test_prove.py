"""Invariants of policies: those that hold, and the witness against those that do not."""

import pytest

from tests.fixtures.policies import policy_of
from upnp_gw.gate.invariant import InvariantKind
from upnp_gw.gate.proof import prove
from upnp_gw.gate.proof.boxes import UNDECIDED, TooMuchWork
from upnp_gw.gate.proof.prove import Proof, Prover, Standing
from upnp_gw.gate.proof.words import answer_text, request_text
from upnp_gw.gate.read_invariants import read_invariant
from upnp_gw.gate.rules import PolicyRules
from upnp_gw.gate.values import KeyPath
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.toml import parse_tables

POLICY = """
default = "deny"
[device.ps5]
mac = ["ac:89:95:00:00:01"]
[device.nas]
mac = ["00:11:32:00:00:02"]
[group]
consoles = ["ps5"]
[zone]
guest = ["192.168.20.0/24", "2001:db8:20::/64"]
home = ["192.168.1.0/24"]
[[forbid]]
name = "admin"
int_ports = [22, 3389]
[[forbid]]
name = "guests"
zone = "guest"
[[grant]]
name = "games"
who = "@consoles"
int_ports = ["1024-65535"]
max_mappings = 6
max_ttl = "4h"
[[grant]]
name = "seed"
who = "nas"
proto = "tcp"
int_ports = [51413]
[[grant]]
name = "web"
who = "nas"
int_ports = [443]
hours = "22:00-06:00"
remote = ["203.0.113.0/24"]
approve = true
"""


def proof(text: str, policy: str = POLICY, most: int = 200_000) -> Proof:
    made = policy_of(policy)
    (kind, raw), *_ = ((kind, raw) for kind, raws in parse_tables(text, "t").items() for raw in raws)
    rules = PolicyRules(made.devices, made.groups, made.zones, made.sets, "t")
    invariant = read_invariant({"name": "i", **raw}, InvariantKind(kind), rules, KeyPath("t"))
    return Prover(made, [invariant], most=most).proof(invariant)


HOLDS = [
    "[[never]]\nrequest = { int = [22, 3389] }",
    '[[never]]\nfrom = { zone = "guest" }',
    '[[never]]\nfrom = { not = "@consoles" }\nrequest = { int = "1024-51412" }',
    '[[never]]\nfrom = { device = "nas", not = "ps5" }\nrequest = { int = 443, at = "06:00-22:00" }',
    '[[never]]\nfrom = { not = "ps5" }\nrequest = { proto = "udp", int = "1024-65535" }',
    '[[never]]\nfrom = { not = "ps5" }\nrequest = { int = 443, remote = ["203.0.114.0/24", "2001:db8::/32"] }',
    '[[never]]\nrequest = { int = 443 }\nunless = { remote = "203.0.113.0/24" }',
    '[[never]]\nfrom = { via = "pcp", device = "ps5", not = "nas" }\nunless = { lease = "4h" }\n',
    '[[always]]\nfrom = { device = "nas", zone = "home" }\nrequest = { proto = "tcp", int = 51413, ext = 51413 }',
    '[[always]]\nfrom = { device = "ps5", ip = "192.168.1.0/24" }\nrequest = { int = 3074, ext = "1024-65535" }',
]
VIOLATED = [
    ("[[never]]\nrequest = { int = [22, 3074] }", "tcp external port 1024 to 192.168.1.77:3074", "by grant games"),
    ("[[never]]\nrequest = { int = 443 }", "from 203.0.113.7 at 22:00", "asked about by grant web"),
    ("[[never]]\nrequest = { ext = 51413 }", "ps5", "allowed by grant games"),
    ('[[never]]\nfrom = { device = "nas" }\nrequest = { proto = "tcp" }\nunless = { lease = "1d" }', "nas", "seed"),
    (
        '[[always]]\nfrom = { device = "nas" }\nrequest = { proto = "tcp", int = 51413, ext = 51413 }',
        "nas",
        "guests",
    ),
    ('[[always]]\nfrom = { device = "nas", zone = "home" }\nrequest = { int = 443, ext = 443 }', "nas", "denied"),
    (
        '[[always]]\nfrom = { device = "ps5", zone = "home" }\nrequest = { int = 3074 }',
        "external port 1 ",
        "denied",
    ),
]


@pytest.mark.parametrize("text", HOLDS)
def test_it_holds(text: str) -> None:
    found = proof(text)
    assert found.standing is Standing.HOLDS, request_text(found.witness) if found.witness else found


@pytest.mark.parametrize(("text", "request_part", "answer"), VIOLATED)
def test_it_does_not_hold(text: str, request_part: str, answer: str) -> None:
    found = proof(text)
    assert found.standing is Standing.VIOLATED
    assert found.witness is not None
    assert request_part in request_text(found.witness)
    assert answer in answer_text(found.witness, found.rule)


def test_a_proof_that_takes_too_long_is_unknown() -> None:
    assert proof(HOLDS[0], most=3).standing is Standing.UNKNOWN


@pytest.mark.parametrize("error", [MemoryError, RecursionError, TooMuchWork, AssertionError, KeyError])
@pytest.mark.parametrize("place", ["never_scope", "always_scope", "Space", "witnesses"])
def test_whatever_stops_a_proof_the_answer_is_unknown(
    error: type[Exception], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a proof, and never a traceback for the operator."""

    def stop(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(prove, place, stop)
    text = VIOLATED[-1][0] if place == "always_scope" else VIOLATED[0][0]
    found = proof(text)
    assert found.standing is Standing.UNKNOWN
    assert found.witness is None
    assert ("too many steps" in found.problem) == issubclass(error, UNDECIDED)
    assert ("the prover failed" in found.problem) != issubclass(error, UNDECIDED)


@pytest.mark.parametrize("text", [VIOLATED[0][0], VIOLATED[-1][0]])
def test_a_violation_that_no_request_shows_is_unknown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "witnesses", lambda *_: iter(()))
    found = proof(text)
    assert found.standing is Standing.UNKNOWN
    assert "no request was found" in found.problem


def test_what_is_unknown_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "never_scope", lambda *_: 1 / 0)
    with pytest.raises(ConfigError, match="got unknown: the prover failed: ZeroDivisionError"):
        policy_of(POLICY + '[[never]]\nname = "n"\nrequest = { int = 22 }\n')


def test_observe_mode_is_said_apart() -> None:
    found = proof("[[never]]\nrequest = { int = 2000 }\nfrom = { not = 'ps5' }", 'mode = "observe"\n' + POLICY)
    assert found.standing is Standing.HOLDS
    assert found.observed
    assert found.witness is not None
    assert answer_text(found.witness, found.rule) == 'allowed by mode = "observe"'


def test_an_approval_is_no_yes_for_always() -> None:
    text = HOLDS[8]
    limited = POLICY.replace("int_ports = [51413]", "int_ports = [51413]\nmax_mappings = 1")
    asking = limited + '[[grant]]\nname = "ask"\nwho = "nas"\napprove = true\n'
    assert proof(text, limited).standing is Standing.HOLDS
    found = proof(text, asking)
    assert found.standing is Standing.VIOLATED
    assert found.witness is not None
    assert found.witness.verdict.outcome == "ask"
    assert found.witness.facts.held.by_grant["seed"] > 0
