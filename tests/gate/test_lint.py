"""The warnings of lint about policies that are probably not meant."""

from datetime import date

import pytest

from tests.fixtures.address_lists import ListsInMemory
from tests.fixtures.policies import PC_MAC, TODAY
from upnp_gw.gate.build import ManagedPolicy
from upnp_gw.gate.lint import MOST_NOTES
from upnp_gw.gate.load import check_text, load_tables, load_text
from upnp_gw.text.toml import parse_tables

HEAD = f"""
version = 1
[device.pc]
mac = ["{PC_MAC}"]
[zone]
guest = ["192.168.20.0/24"]
"""
GRANT = '[[grant]]\nname = "g"\nwho = "pc"\n'
FORBID = '[[forbid]]\nname = "f"\n'

NO_PINHOLE = "allows no IPv6 pinhole: a pinhole has one port, and no port is in both int_ports and ext_ports"
NO_CHOICE = (
    "no effect where the gateway chooses: the ports must be equal, and none is in both int_ports and ext_ports"
)


LISTS = ListsInMemory({"office.txt": "203.0.113.0/24", "none.txt": "# nobody"})
SETS = '[set.office]\nfile = "office.txt"\n[set.none]\nfile = "none.txt"\n'
BOTH = 'remote = { only = ["@office"], never = ["@none"] }\n'


def warnings(text: str, today: date = TODAY) -> list[str]:
    return [str(finding) for finding in load_text(HEAD + text, "policy.toml", today, LISTS).warnings]


FINDINGS = [
    (GRANT + FORBID + 'who = "pc"', ["grant g: no effect: forbid f denies all of it"]),
    (GRANT + FORBID + 'int_ports = ["1000-65535"]', ["grant g: no effect: forbid f denies all of it"]),
    (
        GRANT + "ext_ports = [5000]\n" + FORBID + "ext_ports = [5000, 5001]",
        ["grant g: no effect: forbid f denies all of it"],
    ),
    (GRANT + 'zone = "guest"\n' + FORBID + 'zone = "guest"', ["grant g: no effect: forbid f denies all of it"]),
    (
        GRANT + 'int_ports = ["2000-2999"]\n' + FORBID + 'int_ports = ["1-2500"]\n[[forbid]]\nname = "e"\n'
        'int_ports = ["2501-3000"]',
        ["grant g: no effect: forbids e, f deny all of it"],
    ),
    (
        GRANT + '[[grant]]\nname = "h"\nwho = "pc"\nint_ports = [5000]\nmax_ttl = "1h"',
        ["grant h: no effect: grant g comes first, allows all of it and always has room"],
    ),
    (
        GRANT + 'int_ports = ["2000-2499"]\n[[grant]]\nname = "h"\nwho = "pc"\nint_ports = ["2500-2999"]\n'
        '[[grant]]\nname = "i"\nwho = "pc"\nint_ports = ["2000-2999"]\nproto = "tcp"',
        ["grant i: no effect: grants g, h come first, allow all of it together and always have room"],
    ),
    (
        '[group]\nnone = []\n[[grant]]\nname = "g"\nwho = "@none"',
        ["group none: has no members", "grant g: no effect: it is for no device"],
    ),
    (GRANT + 'zone = "guest"\nfamily = "ip6"', ["grant g: no effect: no request meets all its conditions"]),
    (FORBID, ["forbid f: denies every request"]),
    (GRANT + "review_by = 2026-05-31", ["grant g: its review was due on 2026-05-31"]),
    (
        GRANT + 'family = ["ip4", "ip6"]\nremote = ["203.0.113.0/24"]',
        ["grant g: allows no ip6 request: remote has no IPv6 prefix"],
    ),
    (GRANT + 'family = "ip6"\nfor = ["10.0.40.0/28"]', ["grant g: allows no ip6 request: for has no IPv6 prefix"]),
    (
        GRANT + 'family = "ip4"\nint_ports = [5000]\next = "same"\next_ports = [5001]',
        [f"grant g: {NO_CHOICE}"],
    ),
    (
        GRANT + "int_ports = [5000]\next_ports = [5001]",
        [f"grant g: {NO_PINHOLE}"],
    ),
    ('[[grant]]\nname = "g"\nwho = "*"\nint_ports = [443]', ["grant g: every device may map ports below 1024"]),
    ('[[grant]]\nname = "g"\nwho = "*"\nint_ports = [443]\napprove = true', []),
    (
        '[[grant]]\nname = "g"\nwho = "*"\nfor = ["10.0.0.0/8"]',
        ["grant g: every device may map ports to other hosts"],
    ),
    (GRANT + 'for = ["0.0.0.0/0"]', ["grant g: for includes every host of every LAN"]),
    (
        GRANT + 'max_ttl = "25h"\nmax_hold = "31d"\nmax_mappings = 33',
        [
            "grant g: max_ttl is above [limits] max_ttl; 1d applies",
            "grant g: max_hold is above [limits] max_hold; 30d applies",
            "grant g: max_mappings is above [limits] per_device; 32 applies",
        ],
    ),
    (GRANT + 'approve_for = "30d"', ["grant g: approve_for has no effect without approve = true"]),
    ("[limits]\nper_device = 2000", ["limits: per_device is above total_mappings: one device can fill the table"]),
    (
        f'[device.second]\nmac = ["{PC_MAC}"]',
        [f"device pc: {PC_MAC} is the MAC address of several devices: pc, second"],
    ),
    ("[group]\nnone = []", ["group none: has no members"]),
    (SETS, ["set none: no rule names it", "set office: no rule names it"]),
    (SETS + GRANT + BOTH, ["set none: has no addresses"]),
    (
        GRANT + 'hours = "holidays 10:00-12:00"',
        ["grant g: hours name holidays, and the policy has none: write holidays = [...]"],
    ),
    (GRANT + FORBID + 'hours = "mon"', []),
    (GRANT + FORBID + 'via = "pcp"', []),
    (GRANT + FORBID + 'zone = { from = "guest" }', []),
    (GRANT + FORBID + 'remote = ["203.0.113.0/24"]', []),
]


@pytest.mark.parametrize(("text", "findings"), FINDINGS)
def test_findings(text: str, findings: list[str]) -> None:
    assert warnings(text) == findings


CLEAN = [
    GRANT,
    GRANT + "review_by = 2026-06-01",
    GRANT + FORBID + "int_ports = [22]",
    GRANT + FORBID + 'zone = "guest"',
    GRANT + FORBID + 'proto = "udp"',
    GRANT + FORBID + 'family = "ip6"',
    GRANT + FORBID + "ext_ports = [5000]",
    GRANT + 'remote = ["203.0.113.0/24"]',
    '[[grant]]\nname = "g"\nwho = "*"\n' + FORBID + 'who = "pc"',
    '[[grant]]\nname = "g"\nzone = "guest"\nint_ports = [443]',
]


@pytest.mark.parametrize("text", CLEAN)
def test_no_finding_where_all_is_well(text: str) -> None:
    assert warnings(text) == []


def test_a_grant_of_a_command_for_a_device_that_is_gone() -> None:
    """``who`` of the operator's own file has to be known; that of approved.toml outlives the device."""
    written = 'version = 1\n[[grant]]\nname = "yes"\nwho = ["tv", "pc"]\n[[grant]]\nname = "no"\nwho = "tv"\n'
    approved = ManagedPolicy(parse_tables(written, "approved.toml"), "approved.toml")
    loaded = load_tables(parse_tables(HEAD, "policy.toml"), "policy.toml", TODAY, approved)
    assert {str(finding) for finding in loaded.warnings} == {
        "grant yes: no device of this file is named tv",
        "grant no: no device of this file is named tv",
        "grant no: no effect: it is for no device",
    }


def notes(text: str) -> list[str]:
    return [str(note) for note in check_text(HEAD + text, "policy.toml", TODAY, LISTS).notes]


def test_grants_that_match_the_same_requests_are_noted_and_are_no_warning() -> None:
    both = GRANT + 'int_ports = ["2000-2999"]\n[[grant]]\nname = "h"\nwho = "*"\nint_ports = ["2500-3999"]\n'
    assert warnings(both) == []
    assert notes(both) == [
        "grants g and h: both match pc, internal 2500-2999, external 1024-65535: g decides, whose name comes first"
    ]
    assert notes(GRANT + 'int_ports = [2000]\n[[grant]]\nname = "h"\nwho = "*"\nint_ports = [2001]') == []


def test_a_grant_without_effect_is_a_warning_alone() -> None:
    assert notes(GRANT + '[[grant]]\nname = "h"\nwho = "pc"\nint_ports = [5000]') == []


def test_many_notes_are_cut() -> None:
    many = "".join(
        f'[[grant]]\nname = "g{n}"\nwho = "*"\nint_ports = ["{2000 + n}-2100"]\nmax_mappings = 1\n'
        for n in range(9)
    )
    found = notes(many)
    assert len(found) == MOST_NOTES + 1
    assert found[-1] == "grants: more of them match the same requests"
