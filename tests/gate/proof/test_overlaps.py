"""Grants that match the same requests, against ``decide``."""

from dataclasses import replace
from random import Random

import pytest

from tests.fixtures.policies import policy_of
from tests.gate.proof.plain_reading import assignments, matches
from tests.gate.proof.small_policies import built, policy_tables, universe
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.proof.overlaps import Overlap, overlaps
from upnp_gw.gate.schema import Mode

HEAD = '[device.nas]\nmac = ["00:11:32:00:00:02"]\n[device.tv]\nmac = ["00:11:32:00:00:03"]\n'
WEB = '[[grant]]\nname = "web"\nwho = "nas"\nproto = "tcp"\nint_ports = ["8000-8099"]\n'
ALL = '[[grant]]\nname = "all"\nwho = "*"\nint_ports = ["8050-9000"]\n'


def found(text: str) -> list[Overlap]:
    return list(overlaps(policy_of(HEAD + text), 200_000))


CASES = [
    (ALL + WEB, "nas, tcp, internal 8050-8099, external 1024-65535: all decides, whose name comes first"),
    (
        ALL + "max_mappings = 2\n" + WEB,
        "nas, tcp, internal 8050-8099, external 1024-65535: all decides, whose name comes first, while it has room;"
        " then web",
    ),
    (
        ALL + "approve = true\n" + WEB,
        "nas, tcp, internal 8050-8099, external 1024-65535: web decides, since all needs an approval and comes"
        " last",
    ),
    (
        ALL + 'hours = "06:00-12:00"\n' + WEB + 'hours = "10:00-22:00"\nremote = ["203.0.113.0/24"]\n',
        "nas, tcp, internal 8050-8099, external 1024-65535, from 203.0.113.0/24, 10:00-12:00: all"
        " decides, whose name comes first",
    ),
    (
        ALL + WEB + '[[forbid]]\nname = "f"\nint_ports = ["8060-8099"]\n',
        "nas, tcp, internal 8050-8059, external 1024-65535: all decides, whose name comes first",
    ),
]


@pytest.mark.parametrize(("text", "said"), CASES)
def test_the_requests_and_the_one_that_decides(text: str, said: str) -> None:
    assert [str(one) for one in found(text)] == [said]


@pytest.mark.parametrize(
    "text",
    [
        WEB + ALL.replace("8050", "8100"),
        WEB + ALL.replace('"*"', '"tv"'),
        WEB + ALL + '[[forbid]]\nname = "f"\nwho = "nas"\n',
        WEB + ALL + 'family = "ip4"\n' + '[[forbid]]\nname = "f"\nfamily = "ip4"\n',
        WEB + 'hours = "06:00-12:00"\n' + ALL + 'hours = "12:00-20:00"\n',
    ],
)
def test_grants_that_have_no_request_in_common(text: str) -> None:
    assert found(text) == []


def test_every_pair_that_matches_one_request_is_found() -> None:
    """Every request of small universes that ``decide`` allows by a grant."""
    shared = 0
    for seed in range(2000):
        random = Random(seed)
        tables = policy_tables(random)
        if len(tables["grant"]) < 3:
            continue
        policy = replace(built(tables), mode=Mode.ENFORCE)
        pairs = {(one.first.name, one.second.name): one for one in overlaps(policy, 500_000)}
        for facts, request in universe(random, tables["device"], 120):
            matching = [grant.name for grant in policy.grants if matches(policy, grant, facts, request)]
            verdicts = {full: decide(policy, each, request) for full, each in assignments(policy, facts)}
            for at, first in enumerate(matching):
                for second in matching[at + 1 :]:
                    rules = {verdict.rule for verdict in verdicts.values() if verdict.outcome is not Outcome.DENY}
                    if not {first, second} & rules:
                        continue  # a forbid denies it, or narrows it to ports that one of them does not allow
                    if (first, second) not in pairs:
                        assert request.choice == "suggested" or request.remote is None, f"seed {seed}"
                        continue
                    shared += 1
                    free = verdicts[frozenset()]
                    if (
                        first == matching[0]
                        and not pairs[first, second].limited
                        and free.outcome is not Outcome.DENY
                    ):
                        assert second not in rules, f"seed {seed}: {first} always comes first"
    assert shared > 60, shared
