"""The comparison finds each request that a policy answers differently, and says which."""

import pytest

from tests.migration.small_lines import TODAY, converted, original_of
from upnp_gw.gate.load import load_text
from upnp_gw.gate.proof.differences import Kind
from upnp_gw.migration.comparison import IGD, Asking, Comparison, Differing
from upnp_gw.model.mapping import Via

LINES = ("allow 1024-65535 192.168.1.0/24 1024-65535", "allow 80 192.168.1.5 80", "deny 0-65535 0.0.0.0/0 0-65535")
EVERYTHING = Asking(frozenset({*IGD, Via.NATPMP, Via.PCP}))


def compared(text: str, *lines: str, asking: Asking = EVERYTHING) -> list[Differing]:
    policy = load_text(text, "policy.toml", TODAY).policy
    comparison = Comparison(original_of(lines).permissions, policy, asking)
    return [*comparison.differences(), *comparison.patterns()]


def without_tests(text: str) -> str:
    return text[: text.index("[[test]]")]


@pytest.mark.parametrize(
    ("before", "after", "kind", "text"),
    [
        ('"1024-65535"]\next', '"1023-65535"]\next', Kind.MORE, "internal 1023, external 1024-65535"),
        ('"1024-65535"]\next', '"1024-65534"]\next', Kind.LESS, "internal 65535, external 1024-65535"),
        ("ext_ports = [80]", "ext_ports = [80, 443]", Kind.MORE, "at zone line-5, internal 80, external 443"),
        ('"192.168.1.5/32"', '"192.168.1.4/32"', Kind.MORE, "at zone line-5, internal 80, external the same"),
        ('"192.168.1.5/32"', '"192.168.1.4/32"', Kind.LESS, "at 192.168.1.5, internal 80, external the same"),
        ('who = "*"\nfamily', 'who = "*"\nproto = "tcp"\nfamily', Kind.LESS, "udp, internal 1024-65535"),
        ('who = "*"\nfamily', 'who = "*"\next = "same"\nfamily', Kind.LESS, "where the gateway chooses"),
        ('who = "*"\nfamily', 'who = "*"\nhours = "06:00-22:00"\nfamily', Kind.LESS, "22:00-06:00"),
        ('who = "*"\nfamily', 'who = "*"\napprove = true\nfamily', Kind.LESS, "internal 1024-65535"),
        ('default = "deny"', 'default = "deny"\nmode = "observe"', Kind.MORE, "internal 1024-65535"),
    ],
)
def test_a_mistake_in_the_policy_is_a_difference(before: str, after: str, kind: Kind, text: str) -> None:
    right = without_tests(converted(LINES).policy)
    assert before in right
    assert compared(right, *LINES) == []
    found = compared(right.replace(before, after, 1), *LINES)
    assert [one for one in found if one.kind is kind and text in one.text], found


def test_a_second_grant_whose_ports_would_never_be_chosen_is_a_difference() -> None:
    """decide takes the first grant that matches, so the gateway would never choose port 80."""
    text = without_tests(converted(LINES).policy).replace("int_ports = [80]", 'int_ports = [80, "2000-3000"]')
    found = compared(text, *LINES, "allow 80 192.168.1.5 2000-3000")
    assert found, "the order of lines differs, too"
    lines = (LINES[0], "allow 80 192.168.1.5 80", "allow 80 192.168.1.5 2000-3000", LINES[2])
    named_first = text.replace('name = "line-5"', 'name = "zz"')
    less = [one.text for one in compared(named_first, *lines) if one.kind is Kind.LESS]
    assert less
    assert all("where the gateway chooses" in each for each in less)


def test_other_hosts_count_where_miniupnpd_allows_them() -> None:
    text = without_tests(converted(LINES).policy)
    found = compared(text, *LINES, asking=Asking(EVERYTHING.vias, IGD))
    assert {one.kind for one in found} == {Kind.LESS}
    assert all("for another device" in one.text and "over igd1 and igd2" in one.text for one in found)


def test_patterns_are_told_where_they_would_decide() -> None:
    lines = (
        'deny 2000 192.168.1.0/24 0-65535 "peer"',
        'allow 80 192.168.1.7 80 "^web$"',
        'deny 80 192.168.1.7 80 "never decides"',
        *LINES,
    )
    found = compared(without_tests(converted(lines).policy), *lines)
    assert list(dict.fromkeys((one.kind, one.why) for one in found)) == [
        (Kind.MORE, 'miniupnpd refuses them by line 4, if the description fits "peer"'),
        (Kind.LESS, 'miniupnpd allows them by line 5, if the description fits "^web$"'),
    ]
    assert any("external 2000" in one.text for one in found)
