"""Ordered permission lines become rules whose order does not matter: few, readable, and with the same answers."""

from random import Random

import pytest

from tests.migration.small_lines import check_lines, original_of, random_lines, seeds
from upnp_gw.gate.explain import ports_text
from upnp_gw.gate.proof.boxes import TooMuchWork
from upnp_gw.migration.order_free import order_free

ALL = "deny 0-65535 0.0.0.0/0 0-65535"


def rules_of(*lines: str) -> list[str]:
    """``allow 4 192.168.1.0/24 1024-65535 22``: the place of the lines in the list, external and internal ports."""
    return [
        " ".join(
            [
                "allow" if rule.allow else "forbid",
                "+".join(str(line.number - 3) for line in rule.lines) or "no-line",
                ",".join(map(str, rule.prefixes)),
                ports_text(rule.ext),
                ports_text(rule.int_),
            ]
        )
        for rule in order_free(original_of(lines).permissions)
    ]


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ([], ["allow no-line 0.0.0.0/0 1-65535 1-65535"]),
        ([ALL], []),
        (["allow 80 10.0.0.5 80", ALL], ["allow 1 10.0.0.5/32 80 80"]),
        (  # two lines that differ in one thing are one rule
            ["allow 1024-65535 192.168.0.0/24 1024-65535", "allow 1024-65535 192.168.1.0/24 1024-65535", ALL],
            ["allow 1+2 192.168.0.0/23 1024-65535 1024-65535"],
        ),
        (  # a line that others cover is left out
            ["allow 80 10.0.0.5 80", "allow 1-65535 10.0.0.0/8 1-65535", ALL],
            ["allow 2 10.0.0.0/8 1-65535 1-65535"],
        ),
        (  # lines after one that denies all never decide
            [ALL, "allow 80 10.0.0.5 80"],
            [],
        ),
        (  # without a last line that denies, everything is allowed
            ["allow 80 10.0.0.5 80"],
            ["allow no-line 0.0.0.0/0 1-65535 1-65535"],
        ),
        (  # hosts that get nothing are a forbid
            [
                "deny 0-65535 10.0.0.5 0-65535",
                "deny 0-65535 10.0.0.9 0-65535",
                "allow 1-65535 10.0.0.0/8 1-65535",
                ALL,
            ],
            ["forbid 1+2 10.0.0.5/32,10.0.0.9/32 1-65535 1-65535", "allow 3 10.0.0.0/8 1-65535 1-65535"],
        ),
        (  # an exception of a host that gets nothing: no forbid, or it would take the exception away
            ["allow 80 10.0.0.1 80", "deny 0-65535 10.0.0.1 0-65535", "allow 1024-65535 10.0.0.0/30 1-65535", ALL],
            ["allow 1 10.0.0.1/32 80 80", "allow 3 10.0.0.0/32,10.0.0.2/31 1024-65535 1-65535"],
        ),
        (  # where the gateway chooses the external port, the first rule by name has all that it may choose
            ["allow 80 10.0.0.5 80", "allow 1024-65535 10.0.0.4/31 1-65535", ALL],
            ["allow 1+2 10.0.0.5/32 80, 1024-65535 80", "allow 2 10.0.0.4/31 1024-65535 1-65535"],
        ),
    ],
)
def test_the_rules_are_few(lines: list[str], wanted: list[str]) -> None:
    assert sorted(rules_of(*lines)) == sorted(wanted)
    check_lines(lines)


def test_a_line_with_port_0_alone_matches_no_request() -> None:
    assert rules_of("deny 0 0.0.0.0/0 0-65535", "allow 0-80 10.0.0.5 0-80", ALL) == [
        "allow 2 10.0.0.5/32 1-80 1-80"
    ]


@pytest.mark.parametrize("first", range(0, 60, 15))
def test_random_lines_have_the_same_answers(first: int) -> None:
    """Each request of a small universe is decided by the policy and by a plain evaluator of the lines;
    ``python -m tests.migration.small_lines`` is the long run."""
    for lines in seeds(first, 15):
        check_lines(lines)


def test_the_lists_are_not_all_alike() -> None:

    lists = [random_lines(Random(seed)) for seed in range(60)]
    assert len({len(lines) for lines in lists}) > 5


def test_lines_that_need_too_many_rules_are_given_up() -> None:
    lines = [
        f"{'deny' if n % 2 else 'allow'} {n}-{60000 - n} 10.{n % 200}.0.0/{8 + n % 9} {n}-{50000 + n}"
        for n in range(900)
    ]
    with pytest.raises(TooMuchWork):
        order_free(original_of(lines).permissions)
