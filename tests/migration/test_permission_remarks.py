"""Remarks about permission lines: the rules that they became, and what the floor takes from them."""

from ipaddress import IPv4Network

import pytest

from tests.migration.small_lines import original_of
from upnp_gw.migration.order_free import order_free
from upnp_gw.migration.permission_remarks import NO_LAN, PUBLIC, permission_remarks
from upnp_gw.migration.remarks import Fate

ALL = "deny 0-65535 0.0.0.0/0 0-65535"
LANS = (IPv4Network("192.168.1.0/24"),)


def told(*lines: str, lans: tuple[IPv4Network, ...] = LANS) -> list[tuple[Fate, str]]:
    permissions = original_of(lines).permissions
    remarks = permission_remarks(permissions, order_free(permissions), lans)
    return [(remark.fate, remark.why) for remark in remarks]


def test_a_line_names_its_rules() -> None:
    lines = (
        "deny 0-65535 192.168.1.9 0-65535",
        "deny 80 192.168.1.64/27 0-65535",
        "allow 1-65535 192.168.1.0/24 1-65535",
        "allow 443 192.168.1.5 443",
        "deny 1 192.168.1.7 1",
        ALL,
    )
    assert told(*lines) == [
        (Fate.CARRIED, "forbid line-4"),
        (Fate.CARRIED, "grant line-6, grant both-line-6: without it"),
        (Fate.CARRIED, "grant line-6, grant both-line-6"),
        (Fate.CARRIED, "it changes nothing: other lines decide"),
        (Fate.CARRIED, "no grant allows it"),
        (Fate.CARRIED, "no grant allows it"),
    ]


def test_a_pattern_is_not_carried() -> None:
    assert told('deny 1 10.0.0.0/8 1 "x"')[0][0] is Fate.NOT_CARRIED


@pytest.mark.parametrize(
    ("prefix", "fate", "more"),
    [
        ("192.168.1.0/24", Fate.CARRIED, ""),
        ("192.168.0.0/16", Fate.CARRIED, ""),
        ("0.0.0.0/0", Fate.CARRIED, ""),
        ("192.168.7.0/24", Fate.CARRIED, NO_LAN),
        ("192.0.0.0/8", Fate.DIFFERENT, PUBLIC),
        ("8.8.8.8", Fate.CARRIED, NO_LAN),
    ],
)
def test_the_part_that_no_policy_allows_here(prefix: str, fate: Fate, more: str) -> None:
    got, why = told(f"allow 80 {prefix} 80", ALL)[0]
    assert (got, why) == (fate, "grant line-4" + f"; {more}" * bool(more))


def test_without_known_lans_nothing_is_said_about_them() -> None:
    assert told("allow 80 192.168.7.1 80", ALL, lans=())[0] == (Fate.CARRIED, "grant line-4")
    assert told("allow 80 8.8.8.8 80", ALL, lans=())[0] == (Fate.DIFFERENT, f"grant line-4; {PUBLIC}")
