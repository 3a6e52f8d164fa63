"""Every suggestion loads and passes its tests, for any evidence; and nothing forbidden is learnt."""

import tomllib
from datetime import UTC, date, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.examples import examples
from upnp_gw.gate import file_tests as cases
from upnp_gw.gate.build import ManagedPolicy
from upnp_gw.gate.builtin import home_policy, home_text
from upnp_gw.gate.load import load_tables, load_text
from upnp_gw.gate.schema import Policy
from upnp_gw.ledger.evidence import EvidenceKey, EvidenceTable
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import DAY_S, Transport
from upnp_gw.suggest.document import Suggestion, suggest_policy
from upnp_gw.suggest.needs import learn
from upnp_gw.text.toml import parse_tables

TCP, UDP = Transport.TCP, Transport.UDP
NOW, TODAY = 1_800_000_000.0, date(2027, 1, 15)
PS5, NAS, INFECTED = "ac:89:95:00:00:01", "00:11:32:00:00:02", "02:00:00:00:00:66"
HOME = """# my own words
version = 1
mode = "observe"  # for now
default = "ask"

[device.ps5]
mac = ["ac:89:95:00:00:01"]

[[forbid]]
name = "never-admin-ports"
int_ports = [22, 3389]

[[grant]]
name = "everybody"
who = "*"

[[test]]
name = "the NAS is reached"
from = { device = "ps5" }
request = { proto = "tcp", int = 5001 }
want = "allow"
"""
APPROVED = {"version": 1, "device": {"nas": {"mac": [NAS]}}}


class Seen:
    """A book that is filled row by row."""

    def __init__(self) -> None:
        self.evidence = EvidenceTable()

    def used(self, device: str, transport: Transport, port: int, days: int, family: int = 4, **more: Any) -> None:
        age = more.pop("age_days", 30)
        row = self.evidence.row(EvidenceKey(device, transport, family, port), NOW - age * DAY_S)
        row.requests, row.peak, row.vias = 3, 1, ("igd1",)
        row.days = tuple(TODAY.toordinal() - day for day in reversed(range(days)))
        for name, value in more.items():
            setattr(row, name, value)
        self.evidence.seen(device, NOW - age * DAY_S, 2)


def suggestion_for(
    seen: Seen, text: str | None = HOME, approved: dict[str, Any] = APPROVED, min_days: int = 3
) -> Suggestion:
    raw = parse_tables(home_text() if text is None else text, "file")
    policy = load_tables(raw, "file", TODAY, ManagedPolicy(approved, "approved")).policy
    return suggest_policy(text, approved, learn(policy, seen.evidence, NOW, min_days), TODAY)


def grants(suggestion: Suggestion) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads(suggestion.toml).get("grant", [])
    return found


def policy_of(suggestion: Suggestion) -> Policy:
    return load_text(suggestion.toml, "suggested", TODAY).policy


def test_ports_with_traffic_are_granted_and_no_others() -> None:
    seen = Seen()
    for port in (3074, 3478, 3479, 3480):
        seen.used(PS5, UDP, port, 5)
    (grant,) = grants(suggestion_for(seen))
    assert grant["who"] == "ps5"
    assert (grant["proto"], grant["family"], grant["int_ports"]) == (["udp"], ["ip4"], [3074, "3478-3480"])
    assert grant["max_mappings"] == 3, "two at a time, and one"
    assert grant["review_by"] == date(2027, 7, 15)
    assert "udp 3074: 5 days" in grant["reason"]
    tests = tomllib.loads(suggestion_for(seen).toml)["test"]
    assert [(test["request"]["int"], test["want"]) for test in tests] == [
        (port, "allow") for port in (3074, 3478, 3479, 3480)
    ]


def test_both_transports_and_families_share_a_grant() -> None:
    seen = Seen()
    for transport in Transport:
        for family in (4, 6):
            seen.used(NAS, transport, 51413, 4, family)
    (grant,) = grants(suggestion_for(seen))
    assert (grant["proto"], grant["family"]) == (["tcp", "udp"], ["ip4", "ip6"])


def test_few_remote_hosts_become_the_remote_of_a_grant_and_many_do_not() -> None:
    seen = Seen()
    few = frozenset({ip_address("203.0.113.5"), ip_address("203.0.113.9")})
    seen.used(NAS, TCP, 8443, 4, remotes=few)
    seen.used(NAS, TCP, 8444, 4, remotes=frozenset(IPv4Address(f"203.0.113.{n}") for n in range(9)))
    seen.used(NAS, TCP, 8445, 4, remotes=few, more_remotes=True)
    seen.used(NAS, TCP, 8446, 4, 6, remotes=frozenset({IPv6Address("2001:db8::5"), IPv6Address("2001:db8::6")}))
    remotes = {str(grant["int_ports"]): grant.get("remote") for grant in grants(suggestion_for(seen))}
    assert remotes == {
        "[8443]": ["203.0.113.5/32", "203.0.113.9/32"],
        "['8444-8445']": None,
        "[8446]": ["2001:db8::/64"],
    }


def test_remote_is_open_for_both_families_if_it_is_for_one() -> None:
    seen = Seen()
    seen.used(NAS, TCP, 8443, 4, 4, remotes=frozenset({ip_address("203.0.113.5")}))
    seen.used(NAS, TCP, 8443, 4, 6)
    (grant,) = grants(suggestion_for(seen))
    assert grant["family"] == ["ip4", "ip6"]
    assert "remote" not in grant


def test_an_unused_port_of_an_existing_grant_is_noted_without_a_test() -> None:
    text = HOME.replace('who = "*"', 'who = "ps5"\nint_ports = ["5000-5010"]')
    approved = {**APPROVED, "grant": [{"name": "by-command", "who": "nas", "int_ports": [8443]}]}
    seen = Seen()
    seen.used(PS5, TCP, 5005, 0)
    seen.used(NAS, TCP, 8443, 0)
    seen.used(NAS, TCP, 8444, 0)
    suggestion = suggestion_for(seen, text, approved)
    closed = [test["request"]["int"] for test in tomllib.loads(suggestion.toml)["test"] if test["want"] != "allow"]
    assert closed == [8444]
    assert "ps5: requested and never used: tcp 5005" in suggestion.notes


def test_an_old_incident_is_forgotten_with_its_evidence() -> None:
    seen = Seen()
    seen.used(PS5, TCP, 5000, 4)
    seen.evidence.incident(PS5, NOW - 181 * DAY_S)
    assert len(grants(suggestion_for(seen))) == 1


def test_a_thousand_strangers_make_no_endless_file() -> None:
    seen = Seen()
    for number in range(1000):
        seen.used(f"02:00:00:00:{number // 256:02x}:{number % 256:02x}", TCP, 5000, 4)
    suggestion = suggestion_for(seen)
    assert suggestion.notes[-1].startswith("and ")
    assert len(suggestion.toml) < 100_000


def test_a_low_external_port_is_named() -> None:
    seen = Seen()
    seen.used(NAS, TCP, 8443, 4, externals=(443,))
    seen.used(NAS, TCP, 443, 4, externals=(443,))
    by_port = {str(grant["int_ports"]): grant.get("ext_ports") for grant in grants(suggestion_for(seen))}
    assert by_port == {"[443]": None, "[8443]": [443]}


LEARNS_NOTHING = [
    ("unnamed", lambda seen: seen.used(INFECTED, TCP, 5000, 9), "it has no name"),
    ("seldom used", lambda seen: seen.used(PS5, TCP, 5000, 2), "used on fewer than 3 days: tcp 5000"),
    ("never used", lambda seen: seen.used(PS5, TCP, 5000, 0), "requested and never used: tcp 5000"),
    ("young", lambda seen: seen.used(PS5, TCP, 5000, 6, age_days=6.9), "less than 7 days ago"),
    ("delegated", lambda seen: seen.used(PS5, TCP, 5000, 9, delegated=True), "was requested for another host"),
    ("forbidden", lambda seen: seen.used(PS5, TCP, 3389, 9), "forbidden by rule never-admin-ports"),
]


@pytest.mark.parametrize(("case", "happens", "message"), LEARNS_NOTHING, ids=[case[0] for case in LEARNS_NOTHING])
def test_traffic_that_does_not_count(case: str, happens: Any, message: str) -> None:
    seen = Seen()
    happens(seen)
    suggestion = suggestion_for(seen)
    assert grants(suggestion) == []
    assert any(message in note for note in suggestion.notes), suggestion.notes
    assert message.split(":")[0] in suggestion.toml.replace("\n#  ", ""), "the operator reads it in the file"


@pytest.mark.spec("SR-7")
def test_a_device_with_an_incident_does_not_train_its_own_policy() -> None:
    seen = Seen()
    for port in range(5000, 5027):
        seen.used(PS5, TCP, port, 30)
    seen.evidence.incident(PS5, NOW - 20 * DAY_S)
    suggestion = suggestion_for(seen)
    assert grants(suggestion) == []
    tests = tomllib.loads(suggestion.toml)["test"]
    assert [test["want"] for test in tests] == ["ask"] * 5
    assert "an infected device that was patient" in suggestion.toml.replace("\n# ", " ")


def test_ports_that_vary_are_noted_and_not_guessed() -> None:
    seen = Seen()
    for number in range(4):
        seen.used(PS5, UDP, 50_000 + number, 0)
        seen.evidence.openings[EvidenceKey(PS5, UDP, 4, 50_000 + number)].days = (TODAY.toordinal() - number,)
    suggestion = suggestion_for(seen)
    assert grants(suggestion) == []
    assert any("its ports vary (4 on 4 days, 50000 to 50003)" in note for note in suggestion.notes)


def test_the_operators_file_is_kept_and_enforces() -> None:
    seen = Seen()
    seen.used(PS5, TCP, 5000, 4)
    suggestion = suggestion_for(seen)
    assert "# my own words" in suggestion.toml
    assert 'mode = "enforce"  # for now' in suggestion.toml
    assert [grant["name"] for grant in grants(suggestion)] == ["ps5-tcp-5000"]
    assert "left out: grant everybody, which is for every device" in suggestion.notes
    assert "left out: test 'the NAS is reached', which fails now" in suggestion.notes


def test_a_test_of_the_operators_wins_over_evidence() -> None:
    text = (
        HOME.replace('want = "allow"', 'want = "ask"')
        .replace('"observe"', '"enforce"')
        .replace('who = "*"', 'who = "ps5"\nint_ports = [9]')
    )
    seen = Seen()
    seen.used(PS5, TCP, 5001, 9)
    seen.used(PS5, TCP, 5002, 9)
    suggestion = suggestion_for(seen, text)
    assert [grant.get("int_ports") for grant in grants(suggestion)] == [[9], [5002]]
    assert any("your test 'the NAS is reached' does not allow it" in note for note in suggestion.notes)


HELD = """version = 1
[device.ps5]
mac = ["ac:89:95:00:00:01"]
[[grant]]
name = "everybody"
who = "*"
int_ports = ["1024-7000"]
[[never]]
name = "no web"
request = { int = ["8080-8090"] }
[[always]]
name = "it plays"
from = { device = "ps5" }
request = { proto = "tcp", int = 5000, ext = 5000 }
"""


def test_invariants_of_the_operators_win_over_evidence() -> None:
    seen = Seen()
    for port in (8080, 8081, 9000):
        seen.used(PS5, TCP, port, 9)
    suggestion = suggestion_for(seen, HELD)
    assert [grant["int_ports"] for grant in grants(suggestion)] == [[9000]]
    for port in (8080, 8081):
        assert f'ps5: tcp {port} was used, but your never "no web" does not allow it' in suggestion.notes
    assert [one.name for one in policy_of(suggestion).invariants] == ["no web"]
    assert "left out: always 'it plays', which fails now" in suggestion.notes


def test_an_invariant_that_still_holds_stays() -> None:
    kept = HELD.replace('who = "*"', 'who = "ps5"')
    seen = Seen()
    seen.used(PS5, TCP, 9000, 9)
    assert [one.name for one in policy_of(suggestion_for(seen, kept)).invariants] == ["no web", "it plays"]


def test_a_granted_port_is_not_proposed_again() -> None:
    text = HOME.replace('who = "*"', 'who = "ps5"\nint_ports = ["5000-5010"]')
    seen = Seen()
    seen.used(PS5, TCP, 5001, 9)
    assert [grant["name"] for grant in grants(suggestion_for(seen, text))] == ["everybody"]
    approved = {**APPROVED, "grant": [{"name": "by-command", "who": "nas", "int_ports": [8443]}]}
    seen = Seen()
    seen.used(NAS, TCP, 8443, 9)
    assert grants(suggestion_for(seen, approved=approved)) == []


def test_without_a_policy_file_a_whole_one_is_written() -> None:
    suggestion = suggestion_for(Seen(), None)
    assert grants(suggestion) == []
    assert [forbid.name for forbid in policy_of(suggestion).forbids] == ["never-admin-ports", "never-reflectors"]
    assert suggestion.toml.count("\n\n[[forbid]]\n") == 2, "a blank line before each rule"


def test_the_first_rule_of_a_kind_has_a_blank_line_before_it() -> None:
    seen = Seen()
    seen.used(NAS, TCP, 8443, 9)
    text = f'version = 1\n[device.nas]\nmac = ["{NAS}"]\n'
    assert "\n\n[[grant]]\n" in suggestion_for(seen, text).toml


def test_inline_arrays_of_tables_are_extended() -> None:
    text = """
    version = 1
    device = { ps5 = { mac = "ac:89:95:00:00:01" } }
    grant = [{ name = "g", who = "ps5", int_ports = [9] }]
    """
    seen = Seen()
    seen.used(PS5, TCP, 5001, 9)
    assert [grant["name"] for grant in grants(suggestion_for(seen, text, {"version": 1}))] == ["g", "ps5-tcp-5001"]


def test_devices_in_one_line_are_added_to() -> None:
    """A suggestion for a device that a command named ended with a traceback."""
    text = 'version = 1\ndevice = { tv = { ip = "192.168.1.40" } }\n'
    seen = Seen()
    seen.used(PS5, TCP, 5001, 9)
    made = suggestion_for(seen, text, {"version": 1, "device": {"ps5": {"mac": [PS5]}}})
    assert set(parse_tables(made.toml, "suggested")["device"]) == {"tv", "ps5"}


def test_a_broken_file_is_an_error_of_the_file() -> None:
    with pytest.raises(ConfigError):
        suggest_policy("version = 2", {"version": 1}, learn(home_policy(), EvidenceTable(), NOW, 3), TODAY)


devices = st.sampled_from([PS5, NAS, INFECTED, "192.168.1.40", "2001:db8::7", "192.168.1.99"])
rows = st.fixed_dictionaries(
    {
        "device": devices,
        "transport": st.sampled_from(list(Transport)),
        "port": st.one_of(st.integers(1, 65535), st.sampled_from([22, 443, 1023, 1024, 3389, 8080])),
        "days": st.integers(0, 5),
        "family": st.sampled_from([4, 6]),
        "remotes": st.frozensets(st.ip_addresses(), max_size=6),
        "more_remotes": st.booleans(),
        "externals": st.frozensets(st.integers(1, 65535), max_size=3).map(sorted).map(tuple),
        "peak": st.integers(0, 70_000),
        "delegated": st.booleans(),
        "vias": st.frozensets(st.sampled_from(["igd1", "pcp"])).map(sorted).map(tuple),
        "age_days": st.integers(0, 20),
    }
)
BASES = [
    (None, {"version": 1}),
    (None, {**APPROVED, "grant": [{"name": "nas-tcp-443", "who": "nas", "int_ports": [443]}]}),
    (HOME, APPROVED),
    (
        HOME.replace('who = "*"', 'who = "ps5"\nint_ports = ["1000-9000"]\nremote = ["203.0.113.0/24"]')
        + '\n[device.printer]\nip = ["192.168.1.40", "2001:db8::7"]\n[zone]\nlan = ["192.168.1.0/24"]\n'
        '[[forbid]]\nname = "z"\nzone = "lan"\nint_ports = ["8000-8100"]\next_ports = [443]\n',
        {**APPROVED, "forbid": [{"name": "ps5-tcp-443", "who": "nas", "int_ports": [443]}]},
    ),
    (
        HOME.replace('want = "allow"', 'want = "ask"')
        .replace('"observe"', '"enforce"')
        .replace('who = "*"', 'who = "ps5"\nint_ports = [9]'),
        {
            **APPROVED,
            "grant": [
                {
                    "name": "for-a-time",
                    "who": "nas",
                    "int_ports": ["1000-9000"],
                    "until": datetime(2027, 2, 1, tzinfo=UTC),
                },
                {"name": "for-good", "who": "*", "int_ports": ["9001-9100"]},
            ],
        },
    ),
    ('version = 1\ndefault = "deny"\nmode = "observe"\n[limits]\nper_device = 1\n', APPROVED),
    (HELD, {**APPROVED, "grant": [{"name": "by-command", "who": "nas", "int_ports": ["8100-9000"]}]}),
]


@examples(60)
@given(st.lists(rows, max_size=12), st.sampled_from(BASES), st.integers(1, 4), st.sets(devices, max_size=1))
@pytest.mark.spec("SR-30")
def test_every_suggestion_loads_and_passes_its_tests(
    found: list[dict[str, Any]], base: tuple[str | None, dict[str, Any]], min_days: int, bad: set[str]
) -> None:
    seen = Seen()
    for row in found:
        seen.used(**row)
    for device in bad:
        seen.evidence.incident(device, NOW)
    text, approved = base
    if text is not None and 'want = "allow"' in text:
        text = text.replace("[[test]]", "[[grant]]\nname = 'for-5001'\nwho = 'ps5'\nint_ports = [5001]\n[[test]]")
    suggestion = suggestion_for(seen, text, approved, min_days)
    policy = policy_of(suggestion)
    assert len(policy.cases) >= suggestion.tests
    cases.check_cases(policy, "suggested")
    granted = {name for grant in policy.grants for name in grant.devices or ()}
    taught = {name for name, device in policy.devices.items() if not device.macs & bad}
    assert {
        grant["who"] for grant in grants(suggestion) if "suggested" in grant.get("reason", "")
    } <= taught & granted
