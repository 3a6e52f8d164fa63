"""Invariants when a policy is loaded: the place to change, observe mode, and older rules of commands."""

from typing import Any

import pytest

from tests.fixtures.policies import TODAY
from upnp_gw.gate.build import ManagedPolicy
from upnp_gw.gate.invariant_checks import CrossedInvariant
from upnp_gw.gate.load import check_text, load_over_approved, load_tables, load_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.toml import parse_tables

HEAD = 'version = 1\n[device.nas]\nmac = ["00:11:32:00:00:02"]\n[zone]\nguest = ["192.168.20.0/24"]\n'
GRANT = '[[grant]]\nname = "all"\nwho = "*"\n'
NEVER = '[[never]]\nname = "guests open nothing"\nfrom = { zone = "guest" }\n'
FORBID = '[[forbid]]\nname = "guests"\nzone = "guest"\n'


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_text(HEAD + text, "policy.toml", TODAY)
    return str(error.value)


def test_a_policy_that_violates_a_never_is_not_loaded() -> None:
    said = problem(GRANT + NEVER)
    assert said.startswith(
        'policy.toml:6: grant "all": crosses never "guests open nothing": failed: wanted no such'
    )
    assert "asks over igd1 for tcp external port 1024 to 192.168.20." in said
    assert said.endswith("allowed by grant all")
    assert load_text(HEAD + GRANT + FORBID + NEVER, "policy.toml", TODAY).policy.invariants


def test_the_default_can_be_in_the_way() -> None:
    text = HEAD.replace("version = 1\n", 'version = 1\ndefault = "ask"\n') + NEVER
    with pytest.raises(
        ConfigError, match=r'policy.toml:2: default: crosses never .* asked about by default = "ask"'
    ):
        load_text(text, "policy.toml", TODAY)


def test_an_always_names_the_forbid_in_the_way() -> None:
    always = '[[always]]\nname = "nas"\nfrom = { device = "nas" }\nrequest = { int = 8000, ext = 8000 }\n'
    said = problem(GRANT + FORBID + always)
    assert said.startswith(
        'policy.toml:9: forbid "guests": crosses always "nas": failed: wanted every such request'
    )
    assert problem(always).startswith('policy.toml:6: always "nas": failed: wanted every such request allowed; got')


def test_observe_mode_is_a_warning() -> None:
    text = HEAD.replace("version = 1\n", 'version = 1\nmode = "observe"\n') + NEVER
    (warning,) = map(str, load_text(text, "policy.toml", TODAY).warnings)
    assert warning.startswith('never "guests open nothing": does not hold while mode = "observe"')


def test_the_check_lists_every_result() -> None:
    checked = check_text(HEAD + GRANT + NEVER + NEVER.replace("guests", "they"), "policy.toml", TODAY)
    assert [result.proof.standing for result in checked.violated] == ["violated", "violated"]


def approved(text: str) -> ManagedPolicy:
    return ManagedPolicy(parse_tables("version = 1\n" + text, "approved.toml"), "approved.toml")


def tables(text: str) -> dict[str, Any]:
    return parse_tables(HEAD + text, "policy.toml")


def test_a_command_cannot_write_a_rule_that_crosses_an_invariant() -> None:
    with pytest.raises(CrossedInvariant) as error:
        load_tables(tables(NEVER), "policy.toml", TODAY, approved(GRANT))
    assert (error.value.where, error.value.key, error.value.grant) == ("approved.toml", "grant[0]", "all")
    assert 'crosses never "guests open nothing"' in str(error.value)


def test_a_new_never_ends_the_older_rules_of_commands() -> None:
    older = approved(GRANT + '[[grant]]\nname = "nas-yes"\nwho = "nas"\nint_ports = [8000]\n')
    loaded = load_over_approved(tables(FORBID + NEVER), "policy.toml", TODAY, older)
    assert loaded.crossing == frozenset()
    strict = '[[never]]\nname = "no 8001"\nrequest = { int = 8001 }\n'
    loaded = load_over_approved(tables(strict), "policy.toml", TODAY, older)
    assert loaded.crossing == loaded.ended == {"all"}
    assert [grant.name for grant in loaded.policy.grants] == ["nas-yes"]
    assert str(loaded.warnings[0]).startswith('grant all: has ended: it crosses never "no 8001"')


def test_a_block_that_an_always_needs_away_is_not_ended() -> None:
    """Reload refuses then: to end a block would open something."""
    always = GRANT + '[[always]]\nname = "a"\nfrom = { device = "nas" }\nrequest = { int = 8000, ext = 8000 }\n'
    with pytest.raises(CrossedInvariant) as error:
        load_over_approved(
            tables(always), "policy.toml", TODAY, approved('[[forbid]]\nname = "block-nas"\nwho = "nas"\n')
        )
    assert error.value.grant is None


def test_all_older_rules_that_cross_end_at_once_and_before_the_tests_of_the_file() -> None:
    """A test that says the same as the never is no reason to refuse the reload."""
    older = approved(
        "".join(
            f'[[grant]]\nname = "nas-{port}"\nwho = "nas"\nint_ports = [{port}]\n' for port in range(8000, 8010)
        )
    )
    strict = (
        '[[never]]\nname = "few"\nrequest = { int = "8001-8099" }\n[[test]]\nname = "8001 stays closed"\n'
        'from = { device = "nas" }\nrequest = { proto = "tcp", int = 8001, ext = 8001 }\nwant = "deny"\n'
    )
    loaded = load_over_approved(tables(strict), "policy.toml", TODAY, older)
    assert loaded.crossing == {f"nas-{port}" for port in range(8001, 8010)}
    assert [grant.name for grant in loaded.policy.grants] == ["nas-8000"]
    assert all('crosses never "few"' in str(warning) for warning in loaded.warnings[:9])
    checked = check_text(HEAD + strict, "policy.toml", TODAY, approved=older)
    assert checked.conflict is None
    assert checked.ending.keys() == loaded.crossing


def test_a_never_does_not_rest_on_a_block_that_may_end() -> None:
    """Else the end of the block would leave a file that no start can load."""
    block = approved('[[forbid]]\nname = "block-guests"\nzone = "guest"\nuntil = 2027-01-01T00:00:00Z\n')
    with pytest.raises(CrossedInvariant) as error:
        load_over_approved(tables(GRANT + NEVER), "policy.toml", TODAY, block)
    assert (error.value.where, error.value.grant) == ("policy.toml", None)


def test_the_check_says_what_does_not_go_together() -> None:
    other = approved('[[grant]]\nname = "all"\nwho = "nas"\n')
    conflict = check_text(HEAD + GRANT, "policy.toml", TODAY, approved=other).conflict
    assert "all" in str(conflict)


MISTAKES = [
    ('form = { zone = "guest" }', "form: unknown key; did you mean from? accepted: name, from, request, unless, "),
    ("int = 22", "int: unknown key; it belongs in request = { int = ... }; accepted: name, from"),
    ('zone = "guest"', "zone: unknown key; it belongs in from = { zone = ... }; accepted"),
    (
        'from = { who = "nas" }',
        "from.who: unknown key; did you mean device? accepted: device, not, zone, ip, mac, lan",
    ),
    (
        "request = { int_ports = [22] }",
        "request.int_ports: unknown key; did you mean int? accepted: proto, int, ext",
    ),
    ('request = { hours = "06:00-07:00" }', "request.hours: unknown key; did you mean at? accepted"),
    ('unless = { ttl = "1h" }', "unless.ttl: unknown key; did you mean lease? accepted: ext, remote, lease"),
    ('from = { zone = "guests" }', 'from.zone: got "guests"; accepted: a zone of this file: guest'),
    ('from = { device = "two" }', 'from.device: got "two"; accepted: "@two" for the group of this name'),
    ('from = { not = ["@tow"] }', 'from.not[0]: got "@tow"; accepted: a group of this file: @two'),
    ('from = { via = "upnp" }', 'from.via: got "upnp"; accepted: "igd1", "igd2", "natpmp" or "pcp"'),
    ('request = { proto = "tpc" }', 'request.proto: got "tpc"; accepted: "tcp" or "udp"'),
    (
        'request = { remote = "@office" }',
        'request.remote: got "@office"; accepted: a set of this file, which has none',
    ),
    ("unless = {}", "unless: empty: no mapping is within it; accepted: ext, remote or lease"),
]


@pytest.mark.parametrize(("keys", "said"), MISTAKES)
def test_a_mistake_has_file_line_key_and_what_is_accepted(keys: str, said: str) -> None:
    message = problem(f'[group]\ntwo = ["nas"]\n[[never]]\nname = "guests open nothing"\n{keys}\n')
    assert message.startswith(f'policy.toml:10: never "guests open nothing": {said}')


def test_an_invariant_has_a_name_of_its_own() -> None:
    assert problem('[[never]]\nname = " "\n').startswith('policy.toml:7: never " ": name: empty; accepted: a text')
    twice = GRANT + FORBID + NEVER + '[[always]]\nname = "guests open nothing"\n'
    assert problem(twice).startswith(
        'policy.toml:16: always "guests open nothing": name: another never has the name'
    )


def test_a_comma_too_many_is_named() -> None:
    said = problem('[[never]]\nname = "x"\nfrom = { zone = "guest", }\n')
    assert said == (
        "policy.toml:8: not TOML: a name is missing here; write version = 1, and no comma before"
        ' "}" or at the end of a line (at column 26)'
    )
