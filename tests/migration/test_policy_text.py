"""The policy file that is written: its names, its comments and its tests."""

import pytest

from tests.migration.small_lines import TODAY, converted, original_of
from upnp_gw.gate.load import check_text
from upnp_gw.migration.order_free import order_free
from upnp_gw.migration.policy_text import MOST_TESTS, Wanted, policy_text

ALL = "deny 0-65535 0.0.0.0/0 0-65535"


def text_of(*lines: str, wanted: Wanted | None = None) -> str:
    original = original_of(lines)
    return policy_text(original, order_free(original.permissions), wanted or Wanted())


def test_a_grant_has_the_name_and_the_text_of_its_lines() -> None:
    text = text_of("deny 22 0.0.0.0/0 0-65535", "allow 1-65535 192.168.1.0/24 1024-65535 # mine", ALL)
    assert (
        "# line 5: allow 1-65535 192.168.1.0/24 1024-65535 # mine\n"
        "# without line 4: deny 22 0.0.0.0/0 0-65535\n"
        '[[grant]]\nname = "line-5"\nwho = "*"\nfamily = "ip4"\nzone = "line-5"\n'
        'int_ports = ["1024-65535"]\next_ports = ["1-21", "23-65535"]\n'
    ) in text


def test_many_lines_and_several_rules_of_one_line_have_names_that_are_accepted() -> None:
    many = [f"allow 1024-65535 192.168.{n}.0/24 1024-65535" for n in range(0, 200, 2)]
    assert 'name = "lines-4-5-6-7-and-96-more"' in text_of(*many, ALL)
    several = text_of("deny 80 192.168.1.64/27 80", "allow 1-1000 192.168.1.0/24 1-1000", ALL)
    assert 'name = "line-5"' in several
    assert 'name = "both-line-5"' in several


@pytest.mark.parametrize(
    ("wanted", "has"),
    [
        (Wanted(), 'name = "ipv6"'),
        (Wanted(ipv6=False), ""),
        (Wanted(upnp=False), 'via = ["igd1", "igd2"]'),
        (Wanted(max_ttl_s=3600), 'max_ttl = "1h"'),
        (Wanted(others=True), 'for = ["192.168.1.0/24"]'),
    ],
)
def test_the_other_choices(wanted: Wanted, has: str) -> None:
    text = text_of("allow 80 192.168.1.0/24 80", ALL, wanted=wanted)
    assert has in text
    assert ('name = "ipv6"' in text) == wanted.ipv6
    assert check_text(text, "p", TODAY).failed == ()


def test_the_tests_show_what_a_line_changes() -> None:
    text = text_of("deny 0-65535 192.168.1.9 0-65535", "allow 1024-65535 192.168.1.0/24 1-65535", ALL)
    first = text[text.index("[[test]]") :].split("\n\n")[0]
    assert 'from = { ip = "192.168.1.9" }' in first
    assert "ext = 1024" in first
    assert 'want = "deny"' in first
    assert check_text(text, "p", TODAY).failed == ()


def test_a_wrong_rule_fails_a_test() -> None:
    text = text_of("allow 80 192.168.1.9 80", ALL).replace("ext_ports = [80]", "ext_ports = [81]")
    assert check_text(text, "p", TODAY).failed


def test_no_more_tests_than_a_reader_can_see() -> None:
    text = text_of(*(f"allow {n} 192.168.1.{n} {n}" for n in range(1, 100)), ALL)
    assert text.count("[[test]]") == MOST_TESTS


def test_text_of_the_file_stays_in_its_comment() -> None:
    text = text_of('allow 80 192.168.1.9 80 # \u2028\u202e[[grant]] \u00ff"', ALL)
    assert "\u2028" not in text
    assert "\u202e" not in text
    assert len(converted(["allow 80 192.168.1.9 80 # \u2028[[grant]]", ALL]).policy) > 0
