"""The ``[[test]]`` blocks of a policy: they must be able to fail, and they say how."""

import pytest

from tests.fixtures.address_lists import ListsInMemory
from tests.fixtures.policies import PC_MAC, TODAY
from tests.fixtures.policies import policy_of as policy
from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.file_tests import facts_and_request
from upnp_gw.gate.load import load_text
from upnp_gw.gate.schema import Family
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import Via
from upnp_gw.model.request import PortChoice

RULES = f"""
[device.pc]
mac = ["{PC_MAC}"]
dhcp_name = "pc"
assure = "lease"
[device.tv]
ip = ["192.168.1.40"]
[zone]
guest = ["192.168.255.0/24", "2001:db8:20::/64"]
[[forbid]]
name = "no-ssh"
int_ports = [22]
[[grant]]
name = "games"
who = "pc"
max_mappings = 2
max_ttl = "4h"
hours = "06:00-23:00"
"""


def case(sender: str, request: str, expected: str) -> str:
    return f'{RULES}[[test]]\nname = "it"\nfrom = {{ {sender} }}\nrequest = {{ {request} }}\n{expected}'


PASS = [
    ('device = "pc"', 'proto = "udp", int = 3074', 'want = "allow"\nrule = "games"'),
    ('device = "pc", via = "pcp"', 'proto = "udp", int = 3074, ttl = "7d"', 'want = "allow"\nttl = "4h"'),
    ('device = "pc"', 'proto = "udp", int = 3074, ttl = "7d"', 'want = "allow"\nttl = "7d"'),
    ('device = "pc"', 'proto = "udp", int = 3074', 'want = "allow"\nttl = "30d"'),
    ('device = "pc"', 'proto = "udp", int = 3074', 'want = "deny"\nat = "23:30"'),
    ('device = "pc", holds = 1', 'proto = "udp", int = 3074', 'want = "allow"'),
    ('device = "pc", holds = 2', 'proto = "udp", int = 3074', 'want = "deny"\nrule = "games"'),
    ('device = "pc"', 'proto = "tcp", int = 22', 'want = "deny"\nrule = "no-ssh"'),
    ('device = "pc"', 'proto = "udp", int = 3074, family = "ip6"', 'want = "allow"'),
    ('device = "pc"', 'proto = "udp", int = 3074, for = "192.168.1.9"', 'want = "deny"'),
    ('device = "tv"', 'proto = "udp", int = 3074', 'want = "deny"'),
    (f'mac = "{PC_MAC}"', 'proto = "udp", int = 3074', 'want = "deny"'),
    ('zone = "guest"', 'proto = "udp", int = 3074', 'want = "deny"'),
    ('ip = "192.168.1.9", via = "operator"', 'proto = "tcp", int = 22', 'want = "allow"\nrule = "operator"'),
]


@pytest.mark.parametrize(("sender", "request_", "expected"), PASS)
def test_a_case_that_holds_lets_the_policy_load(sender: str, request_: str, expected: str) -> None:
    policy(case(sender, request_, expected))


@pytest.mark.parametrize(("sender", "request_", "expected"), PASS)
def test_the_same_case_turned_round_keeps_it_out(sender: str, request_: str, expected: str) -> None:
    turned = expected.replace("allow", "ask") if "allow" in expected else expected.replace("deny", "allow")
    turned = "\n".join(line for line in turned.splitlines() if not line.startswith("ttl"))
    with pytest.raises(ConfigError, match=r'test "it": failed: wanted'):
        policy(case(sender, request_, turned))


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ('want = "deny"', "wanted deny; got allow (floor ok; "),
        ('want = "allow"\nrule = "other"', "wanted allow, rule other; got allow, rule games"),
        ('want = "allow"\nttl = "5h"', "wanted allow, ttl 5h; got allow, ttl 7d"),
    ],
)
def test_a_failed_test_names_the_expected_and_the_actual_verdict(expected: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        policy(case('device = "pc"', 'proto = "udp", int = 3074, ttl = "7d"', expected))
    assert error.value.key == "test[0]"
    assert message in str(error.value)


def test_the_scene_of_a_named_device() -> None:
    rules = policy(case('device = "pc", via = "natpmp"', 'proto = "udp", int = 3074, ext = 3075', 'want = "allow"'))
    facts, request = facts_and_request(rules, rules.cases[0], "here")
    assert (facts.device, facts.mac, facts.dhcp_name, facts.lease_agrees) == (PC_MAC, PC_MAC, "pc", True)
    assert not rules.zones["guest"].has(facts.address), "nobody said that it is a guest"
    assert facts.address not in rules.by_address
    assert request.via is Via.NATPMP
    assert (request.choice, request.external_port) == (PortChoice.SUGGESTED, 3075)


def test_the_scene_of_a_pinhole() -> None:
    rules = policy(case('device = "pc"', 'proto = "udp", int = 3074, family = "ip6"', 'want = "allow"'))
    _, request = facts_and_request(rules, rules.cases[0], "here")
    assert rules.cases[0].family is Family.IP6
    assert (request.internal.address.version, request.external_port) == (6, 3074)
    assert request.choice is PortChoice.EXACT


def test_the_scene_of_a_remote_host_and_its_port() -> None:
    grant = '[[grant]]\nname = "g"\nwho = "*"\nremote_ports = [443]\n'
    case = (
        '[[test]]\nname = "t"\nfrom = { ip = "2001:db8::2" }\nwant = "allow"\n'
        'request = { proto = "tcp", int = 8080, remote = "2001:db8:9::/64", remote_port = 443 }\n'
    )
    policy(grant + case)
    with pytest.raises(ConfigError, match="wanted allow; got deny"):
        policy(grant + case.replace("443 }", "444 }"))


def test_the_scene_of_a_zone_is_in_it_in_its_family() -> None:
    for family in ("ip4", "ip6"):
        text = case('zone = "guest"', f'proto = "udp", int = 3074, family = "{family}"', 'want = "deny"')
        rules = policy(text)
        facts, _ = facts_and_request(rules, rules.cases[0], "here")
        assert rules.zones["guest"].has(facts.address)


def test_where_no_address_is_left_the_case_wants_one() -> None:
    text = '[zone]\nall = ["0.0.0.0/0"]\n[[test]]\nname = "it"\nfrom = { mac = "02:00:00:00:00:01" }\n'
    with pytest.raises(ConfigError, match=r'test "it": from: no free IPv4 address for this test; add ip'):
        policy(text + 'request = { proto = "udp", int = 3074 }\nwant = "deny"')


def test_the_rules_of_these_tests_deny_by_default() -> None:
    rules = policy(RULES)
    assert rules.default is Outcome.DENY


def test_the_scene_of_a_lan_without_nat() -> None:
    """A public address means no NAT, unless the test says otherwise. A suggested other port is ignored there."""
    for sender, nat in (
        ('ip = "11.0.0.9"', False),
        ('ip = "203.0.113.9"', False),
        ('ip = "192.168.1.9"', True),
        ('ip = "192.168.1.9", nat = false', False),
        ('device = "pc", nat = false', False),
        ('ip = "11.0.0.9", nat = true', True),
    ):
        text = case(f'{sender}, via = "pcp"', 'proto = "tcp", int = 8080, ext = 9090', 'want = "deny"')
        rules = policy(text.replace('who = "pc"', 'who = "tv"'))
        facts, request = facts_and_request(rules, rules.cases[0], "here")
        assert facts.network.translates(facts.address) is nat
        assert request.pinhole is not nat
        assert request.external_port == (9090 if nat else 8080)


def test_a_public_address_needs_a_lan_without_nat() -> None:
    grant = '[[grant]]\nname = "web"\nwho = "*"\nint_ports = [443]\n'
    for nat, want in (("", "allow"), (", nat = false", "allow"), (", nat = true", "deny")):
        policy(
            f'{grant}[[test]]\nname = "t"\nfrom = {{ ip = "11.0.0.9"{nat} }}\nwant = "{want}"\n'
            'request = { proto = "tcp", int = 443 }\n'
        )


LISTS = ListsInMemory({"office.txt": "203.0.113.0/24\n2001:db8:9::/48\n", "bots.txt": "203.0.113.128/25\n"})
SCENE = f"""version = 1
holidays = ["12-25", 2027-01-04]
[device.pc]
mac = ["{PC_MAC}"]
[set.office]
file = "office.txt"
[set.bots]
file = "bots.txt"
max_age = "7d"
[[forbid]]
name = "no-bots"
remote = ["@bots"]
[[forbid]]
name = "xmas"
hours = "holidays 20:00-08:00"
[[grant]]
name = "web"
who = "pc"
int_ports = ["8000-8999"]
ext_ports = ["8000-8999"]
remote = ["@office"]
hours = "mon-fri,holidays 06:00-22:00"
[[grant]]
name = "games"
who = "pc"
int_ports = [3074]
ext_ports = ["40000-40001"]
until = 2027-05-01T12:00:00Z
"""
WEB, GAMES = 'proto = "tcp", int = 8080', 'proto = "udp", int = 3074'
SAID = [
    (WEB, "", 'want = "allow"\next = 8080\nremote = ["203.0.113.0/25"]'),
    (WEB, "", 'want = "allow"\nremote = { only = ["@office"], never = ["@bots"] }'),
    (f'{WEB}, family = "ip6"', "", 'want = "allow"\nremote = ["@office"]'),
    (f'{WEB}, remote = "203.0.113.7"', "", 'want = "allow"\nremote = ["203.0.113.7"]'),
    (f'{WEB}, remote = "203.0.113.200"', "", 'want = "deny"\nrule = "no-bots"'),
    (f"{WEB}, ext = 8443", ', via = "pcp"', 'want = "allow"\next = 8443'),
    (f"{WEB}, ext = 8443", ', via = "pcp"', 'want = "allow"\next = ["8000-8999"]\nbusy = [8443]'),
    (WEB, "", 'want = "busy"\nbusy = [8080]'),
    (f"{WEB}, ext = 8443", "", 'want = "busy"\nbusy = ["8400-8500"]'),
    (WEB, ', via = "natpmp"', 'want = "busy"\nbusy = ["1-65535"]'),
    (f'{WEB}, family = "ip6"', "", 'want = "allow"\nbusy = [8080]\next = 8080'),
    (WEB, "", 'want = "deny"\nat = "sat 12:00"'),
    (WEB, "", 'want = "deny"\nat = "mon 22:00"'),
    (WEB, "", 'want = "allow"\nat = "mon 21:59"'),
    (WEB, "", 'want = "allow"\nat = "holidays 12:00"'),
    (WEB, "", 'want = "deny"\nrule = "xmas"\nat = "holidays 20:00"'),
    (WEB, "", 'want = "deny"\nrule = "xmas"\nat = "2027-12-26 07:59"'),
    (WEB, "", 'want = "deny"\nrule = "xmas"\nat = "2027-01-04 21:00"'),
    (WEB, "", 'want = "allow"\nat = "2028-01-04 21:00"'),
    (f"{GAMES}, ext = 40000", "", 'want = "allow"\nttl = 2592000\nat = "2027-05-01 11:59"'),
    (f"{GAMES}, ext = 40000", "", 'want = "deny"\nat = "2027-05-01 12:00"'),
    (WEB, ", frozen = true", 'want = "deny"'),
    (WEB, "", 'want = "deny"\nrule = "no-bots"\nstale = ["@bots"]'),
    (f'{WEB}, remote = "203.0.113.200"', "", 'want = "deny"\nstale = "@bots"'),
]


def said(request: str, sender: str, expected: str) -> None:
    sender = f'from = {{ device = "pc"{sender} }}'
    test = f'[[test]]\nname = "it"\n{sender}\nrequest = {{ {request} }}\n{expected}\n'
    load_text(SCENE + test, "policy.toml", TODAY, LISTS)


@pytest.mark.parametrize(("request_", "sender", "expected"), SAID)
def test_what_a_test_can_say_holds(request_: str, sender: str, expected: str) -> None:
    said(request_, sender, expected)


@pytest.mark.parametrize(
    ("request_", "sender", "expected", "message"),
    [
        (WEB, "", 'want = "allow"\next = 8081', "wanted allow, ext 8081; got allow, ext 8080"),
        (WEB, "", 'want = "allow"\nremote = ["@office"]', "remote only @office; got allow, remote 203.0.113.0-"),
        (
            GAMES + ", ext = 40000",
            "",
            'want = "allow"\nremote = ["::/0"]',
            "got allow, remote 0.0.0.0-203.0.113.127",
        ),
        (WEB, "", 'want = "busy"', "wanted busy; got allow"),
        (WEB, "", 'want = "allow"\nbusy = [8080]', "wanted allow; got busy"),
        (WEB, ', via = "pcp"', 'want = "allow"\next = 8080', "got allow, ext 8000-8999"),
        (WEB, ', via = "pcp"', 'want = "allow"\next = "8000-8998"', "wanted allow, ext 8000-8998; got allow, ext"),
        (WEB, "", 'want = "deny"\next = 8080', "ext: accepted only beside want"),
        (WEB, ", frozen = true", 'want = "allow"\nremote = ["@office"]', "got deny, remote none"),
        (WEB, "", 'want = "deny"\nat = "holidays 12:00"', "wanted deny; got allow"),
        (WEB, "", 'want = "allow"\nstale = "@bots"', "the address list bots of rule no-bots is out of date"),
        (
            WEB,
            "",
            'want = "deny"\nstale = ["bots"]',
            'stale[0]: got "bots"; accepted: a set of this file: @bots, @off',
        ),
        (
            WEB,
            "",
            'want = "deny"\nstale = "@office"',
            "stale: set office has no max_age, so it is never out of date",
        ),
        (WEB, "", 'want = "deny"\nstale = []', "stale: empty; leave it out where every list is up to date"),
    ],
)
def test_what_a_test_says_can_fail(request_: str, sender: str, expected: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        said(request_, sender, expected)
    assert message in str(error.value)
