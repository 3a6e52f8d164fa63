"""The policy file: what is refused, where the error points, and that nothing half-read ever comes into force."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import ROOT
from tests.fixtures.examples import examples
from tests.fixtures.policies import PC_MAC, TODAY, TV_MAC, facts_of, map_request
from tests.fixtures.policies import policy_of as policy
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import External, Outcome
from upnp_gw.gate.hours import EVERY_DAY, Hours, Window
from upnp_gw.gate.load import LARGEST, load_file, load_text
from upnp_gw.gate.schema import Assurance, Family, Grant, Limits, Mode, OnIncident
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import Transport, Via

EXAMPLES = ROOT / "examples" / "policies"
DEVICE = f'[device.pc]\nmac = ["{PC_MAC}"]\n'
GRANT = '[[grant]]\nname = "g"\nwho = "*"\n'
TEST = '[[test]]\nname = "t"\nwant = "deny"\n'
FROM = TEST + 'from = { ip = "192.168.1.2" }\n'


def loaded_error(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        load_text(text, "policy.toml", TODAY)
    assert str(error.value).startswith(("policy.toml: ", f"policy.toml:{error.value.line}: "))
    assert str(error.value).isprintable()
    return error.value


# (text after the version line, key path of the error, a part of what it says)
WRONG = [
    ('default = "allow"', "default", 'accepted: "deny" or "ask"'),
    ('mode = "watch"', "mode", 'accepted: "enforce" or "observe"'),
    ("defualt = 1", "defualt", "unknown key; did you mean default? accepted: version, default, mode"),
    ("default = 1", "default", 'got the number 1; accepted: "deny" or "ask"'),
    ('grant = "all"', "grant", "accepted: a table for each rule: [[grant]]"),
    ("[limits]\nper_device = 0", "limits.per_device", "accepted: a number 1 to 65535"),
    ("[limits]\nper_device = true", "limits.per_device", "got true; accepted: a number"),
    ("[limits]\nper_devices = 3", "limits.per_devices", "unknown key"),
    ('[limits]\nmax_ttl = "4 h"', "limits.max_ttl", 'such as max_ttl = "24h"'),
    ('[limits]\nmax_ttl = "0s"', "limits.max_ttl", "1s to 366d"),
    ('[limits]\nmax_hold = "367d"', "limits.max_hold", "1s to 366d"),
    ("[limits]\nmax_ttl = -1", "limits.max_ttl", "or as many seconds"),
    ('[limits]\non_incident = "shout"', "limits.on_incident", 'accepted: "freeze", "quarantine" or "log"'),
    ("[device.pc]", "device.pc", "nothing identifies it"),
    ('[device.pc]\ndhcp_name = "pc"', "device.pc", "nothing identifies it"),
    ('[device.pc]\nmac = ["00:11:22"]', "device.pc.mac[0]", "a MAC address"),
    ('[device.pc]\nip = ["192.168.1.2", "pc.local"]', "device.pc.ip[1]", "without a zone"),
    ('[device.pc]\nip = "fe80::1%eth0"', "device.pc.ip[0]", "without a zone"),
    ('[device.pc]\nip = "192.168.1.2"\nassure = "mac"', "device.pc.assure", "needs mac"),
    ('[device.pc]\nip = "192.168.1.2"\nassure = "vow"', "device.pc.assure", 'accepted: "ip", "mac" or "lease"'),
    ('[device.pc]\nip = "192.168.1.2"\ncolour = "red"', "device.pc.colour", "unknown key"),
    ("device.pc = 3", "device.pc", "accepted: a table"),
    ('[device."a b"]\nip = "192.168.1.2"', "device.a b", "letters, digits"),
    ('[group]\nall = ["pc"]', "group.all[0]", "a device of this file, which has none yet: add [device.ps5]"),
    (DEVICE + '[group]\nall = ["pc", "tv"]', "group.all[1]", "a device of this file: pc"),
    ("[group]\nall = 3", "group.all", 'a list of devices of this file, such as consoles = ["ps5", "xbox"]'),
    ('[zone]\nguest = ["192.168.20.1/24"]', "zone.guest[0]", "without host bits"),
    ("[zone]\nguest = []", "zone.guest", "empty"),
    ("[[forbid]]\nint_ports = [22]", "forbid[0].name", "missing"),
    ('[[forbid]]\nname = "f"\nwho = "tv"', "forbid[0].who", "a device of this file"),
    ('[[forbid]]\nname = "f"\nwho = ["@all"]', "forbid[0].who[0]", "a group of this file"),
    ('[[forbid]]\nname = "f"\nzone = "guest"', "forbid[0].zone", "a zone of this file"),
    ('[[forbid]]\nname = "f"\nint_ports = []', "forbid[0].int_ports", "match nothing"),
    ('[[forbid]]\nname = "f"\nint_prots = [1]', "forbid[0].int_prots", "unknown key"),
    ('[[forbid]]\nname = "f"\nproto = "icmp"', "forbid[0].proto", 'accepted: "tcp" or "udp"'),
    ('[[forbid]]\nname = "f"\n[[forbid]]\nname = "f"', "forbid[1].name", "a forbid of policy.toml has the name"),
    ('[[forbid]]\nname = "g"\n' + GRANT, "grant[0].name", "a forbid of policy.toml has the name"),
    (GRANT + GRANT, "grant[1].name", "a grant of policy.toml has the name"),
    ('[[grant]]\nname = "operator"\nwho = "*"', "grant[0].name", "a rule of the gateway itself"),
    ('[[grant]]\nname = "observe"\nwho = "*"', "grant[0].name", "a rule of the gateway itself"),
    ('[[grant]]\nname = "<b>"\nwho = "*"', "grant[0].name", "letters, digits"),
    ('[[grant]]\nname = ""\nwho = "*"', "grant[0].name", "letters, digits"),
    ('[[grant]]\nname = "' + "n" * 41 + '"\nwho = "*"', "grant[0].name", "1 to 40"),
    ('[[grant]]\nname = "g"', "grant[0].who", "missing"),
    ('[[grant]]\nname = "g"\nwho = []', "grant[0].who", "empty"),
    ('[[grant]]\nname = "g"\nwho = ["@none"]', "grant[0].who[0]", "a group of this file"),
    (GRANT + "int_ports = [0]", "grant[0].int_ports[0]", "1 to 65535"),
    (GRANT + "int_ports = [80, 65536]", "grant[0].int_ports[1]", "1 to 65535"),
    (GRANT + 'int_ports = ["90-80"]', "grant[0].int_ports[0]", "ranges in quotes"),
    (GRANT + 'int_ports = ["٣"]', "grant[0].int_ports[0]", "1 to 65535"),
    (GRANT + 'int_ports = ["1_000"]', "grant[0].int_ports[0]", "1 to 65535"),
    (GRANT + 'int_ports = [" 80"]', "grant[0].int_ports[0]", "1 to 65535"),
    (GRANT + 'int_ports = ["80-"]', "grant[0].int_ports[0]", "1 to 65535"),
    (GRANT + "int_ports = [-5]", "grant[0].int_ports[0]", "1 to 65535"),
    (GRANT + "int_ports = [80.0]", "grant[0].int_ports[0]", "got the number 80.0"),
    (GRANT + "int_ports = [true]", "grant[0].int_ports[0]", "got true; accepted: a list"),
    (GRANT + "int_ports = 80", "grant[0].int_ports", "such as int_ports = [443"),
    (GRANT + 'ext = "some"', "grant[0].ext", '"same", "same-or-any", "any", or a range'),
    (GRANT + 'ext = "5000-5001"\next_ports = [1]', "grant[0].ext", "one of the two"),
    (GRANT + "max_mappings = 0", "grant[0].max_mappings", "a number 1 to"),
    (GRANT + "max_ports_per_day = 1025", "grant[0].max_ports_per_day", "a number 1 to 1024"),
    (GRANT + 'max_ttl = "soon"', "grant[0].max_ttl", 'such as max_ttl = "4h"'),
    (GRANT + 'hours = "6-23"', "grant[0].hours", "HH:MM-HH:MM"),
    (GRANT + 'hours = "06:00-06:00"', "grant[0].hours", "differ"),
    (GRANT + 'hours = "24:00-06:00"', "grant[0].hours", "HH:MM-HH:MM"),
    (GRANT + 'hours = "06:60-07:00"', "grant[0].hours", "HH:MM-HH:MM"),
    (GRANT + 'hours = "23:00-25:00"', "grant[0].hours", "HH:MM-HH:MM"),
    (GRANT + 'remote = ["example.org"]', "grant[0].remote[0]", "a prefix"),
    (GRANT + "for = []", "grant[0].for", "empty"),
    (GRANT + 'for = ["10.0.40.1/28"]', "grant[0].for[0]", "without host bits"),
    (
        '[[grant]]\nname = "g"\nwho = "ps6"',
        "grant[0].who",
        'got "ps6"; accepted: a device of this file, which has none yet: add [device.ps5]',
    ),
    (GRANT + 'approve = "yes"', "grant[0].approve", 'got the text "yes"; accepted: true or false'),
    (GRANT + 'review_by = "2027-05-01x"', "grant[0].review_by", "date"),
    (GRANT + "family = []", "grant[0].family", 'accepted: "ip4" or "ip6"'),
    (GRANT + 'targets = ["10.0.0.0/8"]', "grant[0].targets", "unknown key"),
    (GRANT + 'description = "game*"', "grant[0].description", "unknown key"),
    (TEST, "test[0].from", "missing"),
    (FROM, "test[0].request", "missing"),
    (FROM + 'request = { proto = "tcp" }', "test[0].request.int", "missing"),
    (FROM + 'request = { proto = "tcp", int = 0 }', "test[0].request.int", "1 to 65535"),
    (FROM + 'request = { proto = "tcp", int = 1, ext = 70000 }', "test[0].request.ext", "1 to 65535"),
    (FROM + 'request = { proto = "tcp", int = 1, exct = 7 }', "test[0].request.exct", "unknown key"),
    (FROM + 'request = { proto = "tcp", int = 1, family = "ip6" }', "test[0].request.family", "as the address is"),
    (FROM + 'request = { proto = "tcp", int = 1 }\nttl = "4h"', "test[0].ttl", "beside want"),
    (FROM + 'request = { proto = "tcp", int = 1 }\nat = "24:00"', "test[0].at", "HH:MM"),
    (TEST + 'request = { proto = "tcp", int = 1 }\nfrom = {}', "test[0].from", "nobody"),
    (TEST + 'request = { proto = "tcp", int = 1 }\nfrom = { device = "pc" }', "test[0].from.device", "a device of"),
    (TEST + 'request = { proto = "tcp", int = 1 }\nfrom = { ip = "1.2.3" }', "test[0].from.ip", "without a zone"),
    (TEST + 'request = { proto = "tcp", int = 1 }\nfrom = { mac = "x", via = "igd" }', "test[0].from.mac", "MAC"),
    (
        FROM.replace("deny", "no") + 'request = { proto = "tcp", int = 1 }',
        "test[0].want",
        '"allow", "deny", "ask" or "busy"',
    ),
    (GRANT + "remote_ports = []", "grant[0].remote_ports", "match nothing"),
    (GRANT + "remote_ports = [0]", "grant[0].remote_ports[0]", "ports 1 to 65535"),
    (GRANT + "remote = []", "grant[0].remote", "empty; leave it out for anyone"),
    ('[device.pc]\nmac = []\nip = "192.168.1.2"', "device.pc.mac", "empty"),
    (DEVICE + "ip = []", "device.pc.ip", "empty"),
    ('[[forbid]]\nname = "f"\next_ports = []', "forbid[0].ext_ports", "match nothing"),
    ('[[forbid]]\nname = "f"\nwho = []', "forbid[0].who", "empty"),
    ('[[forbid]]\nname = "f"\nproto = []', "forbid[0].proto", "match nothing"),
    (
        GRANT + "until = 0001-01-01T00:00:00+14:00",
        "grant[0].until",
        "of the years 1 to 9999 in UTC, such as until = 2027-05-01T12:00:00Z",
    ),
    (GRANT + "until = 9999-12-31T23:59:59-00:01", "grant[0].until", "of the years 1 to 9999 in UTC"),
    (GRANT + "until = 2027-05-01T12:00:00", "grant[0].until", "a time with its offset"),
    (GRANT + "until = 2027-05-01", "grant[0].until", "got the date 2027-05-01; accepted: a time with its offset"),
    (GRANT + "until = 07:32:00", "grant[0].until", "got the time of day 07:32:00"),
    (
        GRANT + "review_by = 2027-05-01T12:00:00Z",
        "grant[0].review_by",
        "accepted: a date, such as review_by = 2027-05-01",
    ),
    (GRANT + f"max_mappings = 0x{'f' * 6000}", "grant[0].max_mappings", "hundreds of digits"),
    (GRANT + "max_mappings = 9223372036854775808", "grant[0].max_mappings", "a number 1 to 65535"),
    (GRANT + f"owner{'.a' * 40} = 1", f"grant[0].owner{'.a' * 14}", "inside each other"),
    ("\ufeffversion = 1", "", "byte order mark"),
    ("x = ", "", "not TOML"),
    ("x = " + "[" * 5000, "", "not TOML"),
    ("x = " + "9" * 5000, "", "not TOML"),
]


@pytest.mark.spec("SR-30")
@pytest.mark.parametrize(("text", "key", "message"), WRONG)
def test_every_error_names_file_key_and_accepted_values(text: str, key: str, message: str) -> None:
    error = loaded_error(text if text.startswith("\ufeff") else f"version = 1\n{text}")
    assert error.key == key
    assert message in str(error)
    assert (error.line is not None) == (bool(key) or ("[" not in text and "999" not in text))


@pytest.mark.parametrize(
    ("text", "key"), [("", "version"), ("version = 2", "version"), ('version = "1"', "version")]
)
def test_the_version_is_needed_and_known(text: str, key: str) -> None:
    assert loaded_error(text).key == key


def test_an_error_shows_nothing_unprintable() -> None:
    error = loaded_error('version = 1\n"a\\u001b[2J\\u202e" = 1')
    assert "\\x1b[2J\\u202e" in str(error)


def test_the_builders_view_of_everything() -> None:
    everything = policy(
        """
        default = "ask"
        mode = "observe"
        [limits]
        total_mappings = 100
        per_device = 5
        elements_per_device = 9
        requests_per_minute = 6
        max_ttl = "90m"
        max_hold = "2w"
        incident_after = 7
        on_incident = "quarantine"
        [device.pc]
        mac = "02-00-00-00-00-23"
        ip = ["192.168.1.23"]
        dhcp_name = "PC"
        assure = "lease"
        [device.tv]
        ip = "192.168.1.40"
        [group]
        all = ["pc", "tv"]
        [zone]
        guest = ["192.168.20.0/24", "2001:db8:20::/64"]
        [[forbid]]
        name = "no"
        int_ports = [139, "137-138", "140"]
        [[grant]]
        name = "b"
        who = ["@all", "tv"]
        for = ["10.0.40.0/28"]
        proto = "udp"
        int_ports = [443]
        ext = "4000-4100"
        max_mappings = 3
        max_ttl = "1h"
        max_hold = "1d"
        hours = "22:00-02:00"
        approve = true
        approve_for = "30d"
        owner = "me"
        reason = "why not"
        review_by = 2027-05-01
        [[grant]]
        name = "c"
        who = "*"
        """
    )
    assert everything.default is Outcome.ASK
    assert everything.mode is Mode.OBSERVE
    assert everything.limits == Limits(100, 5, 6, 5400, 14 * 86400, 7, OnIncident.QUARANTINE, 9)
    pc, tv = everything.devices["pc"], everything.devices["tv"]
    assert (pc.macs, pc.dhcp_name, pc.assure) == (frozenset({PC_MAC}), "PC", Assurance.LEASE)
    assert tv.assure is Assurance.IP
    assert everything.forbids[0].int_ports == ((137, 140),)
    assert [grant.name for grant in everything.grants] == ["c", "b"], "one that needs approval is charged last"
    first, second = everything.grants
    assert first == Grant("c", None)
    assert second.devices == frozenset({"pc", "tv"})
    assert second.families == {Family.IP4}, "for speaks of IPv4 alone"
    assert second.transports == {Transport.UDP}
    assert (second.external, second.ext_ports) == (External.ANY, ((4000, 4100),))
    assert (second.max_ttl_s, second.max_hold_s, second.approve_for_s) == (3600, 86400, 30 * 86400)
    assert second.hours == Hours((Window(EVERY_DAY, 1320, 120),))
    assert second.review_by == date(2027, 5, 1)


# -- files


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_loads_without_a_warning_and_passes_its_tests(path: Path) -> None:
    loaded = load_file(path, TODAY)
    assert not loaded.warnings
    assert len(loaded.policy.cases) >= 5


def test_there_are_examples() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.toml")} >= {"home", "ask", "locked", "full"}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_file(path, TODAY)
    path.write_bytes(b"version = 1 # \xff")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 14"):
        load_file(path, TODAY)
    path.write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(ConfigError, match="larger than"):
        load_file(path, TODAY)
    with pytest.raises(ConfigError, match="not a regular file but a directory"):
        load_file(tmp_path, TODAY)


def test_the_digest_is_over_the_meaning(tmp_path: Path) -> None:
    one = policy(f"{DEVICE}{GRANT}# a comment\n[[forbid]]\nname = 'f'\nint_ports = [2, 3]")
    same = policy(
        f"[[forbid]]\nname = 'f'\nint_ports = ['2-3']\n{GRANT}{DEVICE}{FROM}request = {{ proto = 'tcp', int = 1 }}"
    )
    other = policy(f"{DEVICE}{GRANT}[[forbid]]\nname = 'f'\nint_ports = [2, 4]")
    assert one.digest == same.digest != other.digest
    assert len(one.digest) == 12
    assert int(one.digest, 16) >= 0


# -- mutations: a broken file is no policy, and a policy from a mangled one still denies a stranger

LOCKED = (EXAMPLES / "locked.toml").read_text("utf-8")
STRANGER = facts_of(mac=TV_MAC)
REQUESTS = [map_request(), map_request(port=443, external=443), map_request(via=Via.PCP, port=9308)]


def assert_no_allow(text: str) -> None:
    try:
        policy = load_text(text, "mutated", TODAY).policy
    except ConfigError:
        return
    for request in REQUESTS:
        assert decide(policy, STRANGER, request).outcome is not Outcome.ALLOW


@pytest.mark.spec("SR-18", "SR-30")
@examples(200)
@given(st.integers(0, len(LOCKED)))
def test_a_truncated_file_allows_a_stranger_nothing(length: int) -> None:
    assert_no_allow(LOCKED[:length])


@pytest.mark.spec("SR-18", "SR-30")
@examples(200)
@given(st.integers(0, len(LOCKED) - 1), st.characters(codec="utf-8"))
def test_a_file_with_one_character_changed_allows_a_stranger_nothing(position: int, character: str) -> None:
    assert_no_allow(LOCKED[:position] + character + LOCKED[position + 1 :])


@pytest.mark.spec("SR-18", "SR-30")
@given(st.text(max_size=200))
def test_any_text_is_an_error_or_a_policy_that_allows_nothing(text: str) -> None:
    assert_no_allow(text)
    assert_no_allow("version = 1\n" + text)


LINES = LOCKED.splitlines()
VALUES = ["1", "-1", "0", "true", '""', '"x"', "[]", "[[]]", "{}", "1979-05-27", "1.5", "nan", '["*"]', '"*"']
KEYED = [number for number, line in enumerate(LINES) if " = " in line and "who" not in line and "mac" not in line]


@pytest.mark.spec("SR-30")
@examples(200)
@given(st.sampled_from(KEYED), st.sampled_from(VALUES))
def test_a_value_of_another_type_never_opens_anything(number: int, value: str) -> None:
    key = LINES[number].split(" = ")[0]
    assert_no_allow("\n".join([*LINES[:number], f"{key} = {value}", *LINES[number + 1 :]]))


def test_a_message_names_the_rule_and_the_line() -> None:
    error = loaded_error("version = 1\n" + GRANT + "hours = 5")
    assert str(error) == (
        'policy.toml:5: grant "g": hours: got the number 5; accepted: HH:MM-HH:MM, where the two times differ, '
        "with days before it or alone, such as mon-fri,holidays; or a list of these, such as hours = "
        '"mon-fri 06:00-23:00"'
    )


def test_seconds_are_durations_too() -> None:
    case = """
want = "allow"
ttl = 86400
from = { ip = "192.168.1.20" }
request = { proto = "udp", int = 3074, ttl = 0 }
"""
    text = f"version = 1\n{GRANT}max_ttl = 3600\n[limits]\nmax_hold = 86400\n{TEST}".replace('want = "deny"', case)
    (grant,) = load_text(text, "test.toml", TODAY).policy.grants
    assert grant.max_ttl_s == 3600
