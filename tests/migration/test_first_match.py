"""The answer of the lines to one request, beside the plain evaluator of the tests."""

from ipaddress import IPv4Address

from tests.migration.small_lines import CLIENTS, PORTS, original_of, plain_answer, seeds
from upnp_gw.migration.first_match import Asked, allows, first_match


def test_the_first_line_that_matches_decides() -> None:
    lines = original_of(["deny 80 10.0.0.5 80", "allow 0-65535 10.0.0.0/8 0-65535"]).permissions
    assert first_match(lines, Asked(IPv4Address("10.0.0.5"), 80, 80)) is lines[0]
    assert first_match(lines, Asked(IPv4Address("10.0.0.5"), 80, 81)) is lines[1]
    assert first_match(lines, Asked(IPv4Address("192.168.1.5"), 80, 81)) is None


def test_both_evaluators_agree() -> None:
    for lines in seeds(500, 30):
        permissions = original_of(lines).permissions
        for client in CLIENTS:
            for ext in PORTS:
                for int_ in PORTS:
                    asked = Asked(IPv4Address(client), ext, int_)
                    assert allows(permissions, asked) == plain_answer(lines, client, ext, int_)


def test_a_line_with_a_pattern_matches_no_description_here() -> None:
    lines = original_of(['deny 0-65535 10.0.0.0/8 0-65535 "x"']).permissions
    assert allows(lines, Asked(IPv4Address("10.0.0.5"), 80, 80))
