"""The texts of configuration and policy: new ones, edited ones, and those that already say it."""

import tomllib
from dataclasses import replace
from datetime import date
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest
import tomlkit

from tests import ROOT
from tests.setup.dumps import interfaces
from upnp_gw.config.file import parse_text
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.gate.builtin import profile_text
from upnp_gw.gate.load import load_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.setup.answers import Answers, LanAnswer
from upnp_gw.setup.documents import Surroundings, configuration, guest_lans, policy

FILE, POLICY = "/etc/upnp-gw/config.toml", Path("/etc/upnp-gw/policy.toml")
AROUND = Surroundings(POLICY, IPv4Address("192.168.1.1"), "upnp-gw-page")
BESIDE, OWN = FirewallMode.ALONGSIDE, FirewallMode.ROUTER
HOME = Answers("eth0", (LanAnswer("br0"),), OWN, "home", "own")
EXAMPLES = sorted((ROOT / "examples" / "config").glob("*.toml"))


def said(text: str) -> dict[str, object]:
    return parse_text(text, FILE)


def made(answers: Answers, before: str | None = None, around: Surroundings = AROUND) -> str:
    text = configuration(before, FILE, answers, around)
    assert configuration(text, FILE, answers, around) == text, "another run changes nothing"
    return text


def test_a_new_configuration_names_each_answer() -> None:
    assert made(HOME) == (
        "# Written by upnp-gw setup; edit it as you like. Another setup keeps your comments and other keys.\n"
        '\n[lan]\ninterfaces = ["br0"]\n'
        '\n[wan]\ninterface = "eth0"\n'
        '\n[firewall]\nmode = "router" # upnp-gw is the whole firewall of this machine\n'
        '\n[gate]\npolicy = "/etc/upnp-gw/policy.toml"\n'
        '\n[page]\nlan = "own"\n'
        '\n[control]\ngroup = "upnp-gw-page"\n'
    )


ANSWERS = {
    "beside": (replace(HOME, mode=BESIDE), {"firewall": BESIDE}),
    "two LANs": (replace(HOME, lans=(LanAnswer("br0"), LanAnswer("br1", guests=True))), {"lan": ("br0", "br1")}),
    "no NAT": (replace(HOME, lans=(LanAnswer("br0", nat=False),)), {"nat": False, "lan": ("br0",)}),
    "one LAN of two without NAT": (
        replace(HOME, lans=(LanAnswer("br0"), LanAnswer("dmz", nat=False))),
        {"lan": ("br0", "dmz"), "nat_of_lan": {"dmz": False}},
    ),
    "no page": (replace(HOME, page="off"), {"page_lan": "off", "control_group": None, "page_listen": None}),
    "sign-in from the LAN": (replace(HOME, sign_in="lan"), {"page_listen": "192.168.1.1:5081"}),
}


@pytest.mark.parametrize(("answers", "wanted"), ANSWERS.values(), ids=ANSWERS)
def test_the_answers_are_in_force(answers: Answers, wanted: dict[str, object]) -> None:
    settings = said(made(answers))
    for field, value in wanted.items():
        found = settings.get(field)
        assert (str(found) if field == "page_listen" and found else found) == value


@pytest.mark.parametrize("page", ["own", "off"])
@pytest.mark.parametrize("group", ["", "upnp-gw-page"])
def test_the_control_socket_is_given_to_the_page_alone(page: str, group: str) -> None:
    text = made(replace(HOME, page=page), around=replace(AROUND, page_group=group))
    assert said(text).get("control_group") == (group if group and page == "own" else None)
    kept = made(replace(HOME, page=page), '[control]\ngroup = "adm"\n', replace(AROUND, page_group=group))
    assert said(kept)["control_group"] == "adm", "the operator's own group"


HAND = """# the router of the cellar
[lan]
interfaces = ["br0"]   # all rooms
routed = ["10.0.40.0/24"]
hairpin = "same"

[wan]
interface = "eth0"
addresses = ["11.22.33.44"]

[log]
level = "debug"        # for now
"""


def test_an_edit_keeps_comments_and_other_keys() -> None:
    answers = replace(HOME, wan="ppp0", mode=BESIDE, lans=(LanAnswer("br0"), LanAnswer("br1")))
    text = made(answers, HAND)
    assert text.startswith(
        '# the router of the cellar\n[lan]\ninterfaces = ["br0", "br1"]   # all rooms\nrouted = ["10.0.40.0/24"]\n'
    )
    assert 'level = "debug"        # for now' in text
    kept = {"routed", "hairpin", "external_addresses", "log_level"}
    assert {key: said(text)[key] for key in kept} == {key: said(HAND)[key] for key in kept}
    assert (said(text)["wan"], said(text)["lan"]) == ("ppp0", ("br0", "br1"))
    assert "mode" not in text, "alongside is in force without a word"


def test_lans_with_and_without_nat_become_tables_and_keep_their_keys() -> None:
    answers = replace(HOME, mode=BESIDE, lans=(LanAnswer("br0"), LanAnswer("dmz", nat=False)))
    text = made(answers, HAND)
    settings = said(text)
    assert settings["lan"] == ("br0", "dmz")
    assert settings["nat_of_lan"] == {"dmz": False}
    assert settings["routed"] == {ip_network("10.0.40.0/24"): "br0"}
    assert settings["hairpin"] == "same"
    both = made(replace(answers, lans=(LanAnswer("br0"), LanAnswer("dmz"))), text)
    assert said(both).get("nat_of_lan", {}) == {}
    assert said(both)["routed"] == settings["routed"]
    one = made(replace(answers, lans=(LanAnswer("dmz", nat=False),)), text)
    assert said(one)["lan"] == ("dmz",)


def test_a_lan_table_of_two_interfaces_can_be_split() -> None:
    before = (
        '[[lan]]\ninterfaces = ["a", "b"]\nnat = false\nrouted = ["10.9.0.0/16"]\n\n[wan]\ninterface = "eth0"\n'
    )
    lans = (LanAnswer("a", nat=False), LanAnswer("b"))
    settings = said(made(replace(HOME, lans=lans), before))
    assert (settings["lan"], settings["nat_of_lan"]) == (("a", "b"), {"a": False})
    assert settings["routed"] == {ip_network("10.9.0.0/16"): "a"}


WAYS_TO_WRITE = {
    "inline tables": 'lan = { interfaces = ["br0"] }\nwan = { interface = "eth0" }\n',
    "dotted keys": 'lan.interfaces = ["br0"]\nwan.interface = "eth0"\nfirewall.mode = "router"\n',
    "no WAN and no LAN": '[log]\nlevel = "info"\n',
    "only comments": "# nothing yet\n",
    "empty": "",
    "Windows line ends": '[lan]\r\ninterfaces = ["br0"]\r\n\r\n[wan]\r\ninterface = "eth0"\r\n',
    "inline list of tables": 'lan = [{ interfaces = ["br0"], nat = false }]\n',
    "a policy elsewhere": '[gate]\npolicy = "rules.toml"\nvisibility = "all"\n',
    "no line end at the end": '[wan]\ninterface = "eth7"',
}


@pytest.mark.parametrize("before", WAYS_TO_WRITE.values(), ids=WAYS_TO_WRITE)
@pytest.mark.parametrize(
    "answers", [HOME, ANSWERS["one LAN of two without NAT"][0], ANSWERS["sign-in from the LAN"][0]]
)
def test_every_way_to_write_it_can_be_edited(before: str, answers: Answers) -> None:
    text = made(answers, before)
    settings = said(text)
    assert settings["wan"] == answers.wan
    assert settings["lan"] == tuple(lan.name for lan in answers.lans)
    assert settings["firewall"] is OWN
    assert not any(settings.get("nat_of_lan", {}).get(lan.name, True) != lan.nat for lan in answers.lans)  # type: ignore[attr-defined]
    for line in before.replace("\r", "").splitlines():
        assert not line.startswith("#") or line in text


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_with_its_own_answers_stays_as_it_is(example: Path) -> None:
    before = example.read_text("utf-8")
    now = said(before)
    without_nat = {name for name in now["lan"] if not now.get("nat_of_lan", {}).get(name, now.get("nat", True))}  # type: ignore[attr-defined]
    answers = Answers(
        str(now["wan"]),
        tuple(LanAnswer(name, nat=name not in without_nat) for name in now["lan"]),  # type: ignore[attr-defined]
        now.get("firewall", BESIDE),  # type: ignore[arg-type]
        "keep",
        str(now.get("page_lan", "own")),
        "ssh" if "page_listen" not in now or now["page_listen"].address.is_loopback else "lan",  # type: ignore[attr-defined]
    )
    around = replace(AROUND, policy=Path(FILE).parent / str(now.get("policy", POLICY)), page_group="")
    text = made(answers, before, around)
    if "policy" in now:
        assert text == before
    else:
        assert said(text) == now | {"policy": POLICY}


def test_a_mistake_in_the_file_is_the_operators() -> None:
    for wrong in ("[lan\n", '[lan]\ninterface = "br0"\n', "[lan]\ninterfaces = 3\n"):
        with pytest.raises(ConfigError, match=r"^/etc/upnp-gw/config\.toml"):
            configuration(wrong, FILE, HOME, AROUND)


# -- the policy

GUESTS = [ip_network("192.168.3.0/24")]


def loads(text: str) -> bool:
    return bool(load_text(text, "policy.toml", date(2026, 5, 1)).policy)


@pytest.mark.parametrize("profile", ["home", "ask", "locked"])
def test_a_profile_is_written_as_it_is(profile: str) -> None:
    assert policy(None, "p", replace(HOME, policy=profile), []) == profile_text(profile)


@pytest.mark.parametrize("profile", ["home", "ask", "locked"])
def test_guests_get_a_zone_and_a_rule_that_is_tested(profile: str) -> None:
    answers = replace(HOME, policy=profile)
    text = policy(None, "p", answers, GUESTS)
    tables = tomllib.loads(text)
    assert tables["zone"] == {"guests": ["192.168.3.0/24"]}
    assert loads(text), "its tests pass"
    assert tables["test"][-1]["rule"] == "guests-open-nothing"
    again = policy(text, "p", replace(answers, policy="keep"), GUESTS)
    assert again == text
    more = policy(text, "p", replace(answers, policy="keep"), [*GUESTS, ip_network("192.168.4.0/24")])
    assert tomllib.loads(more)["zone"] == {"guests": ["192.168.3.0/24", "192.168.4.0/24"]}
    assert loads(more)


def test_a_policy_that_is_kept_changes_for_new_guests_alone() -> None:
    own = 'version = 1\ndefault = "ask"  # mine\n\n[zone]\nlab = ["10.0.0.0/8"]\n'
    keep = replace(HOME, policy="keep")
    assert policy(own, "p", keep, []) == own
    text = policy(own, "p", keep, GUESTS)
    assert text.startswith('version = 1\ndefault = "ask"  # mine\n\n[zone]\nlab = ["10.0.0.0/8"]\n')
    assert tomllib.loads(text)["zone"]["lab"] == ["10.0.0.0/8"]
    assert loads(text)


def test_a_chosen_profile_replaces_the_policy() -> None:
    assert policy("version = 1\n", "p", replace(HOME, policy="locked"), []) == profile_text("locked")


def test_the_lans_of_the_guests_are_read_from_the_policy() -> None:
    links = interfaces("br0 192.168.1.1/24\nguest0 192.168.3.1/24 2a11:3::1/64\nguest1")
    text = policy(None, "p", HOME, GUESTS)
    assert guest_lans(text, "p", links) == {"guest0"}
    assert guest_lans(None, "p", links) == frozenset()
    for other in ("version = 1\n", "zone = 3\n", 'zone = { guests = "x" }\n', "[zone]\nguests = [3]\n"):
        assert guest_lans(other, "p", links) == frozenset()


def test_a_text_that_the_editor_cannot_keep_is_left_to_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if an edit lost a key."""
    monkeypatch.setattr(tomlkit, "dumps", lambda document: '[lan]\ninterfaces = ["br0"]\n')
    with pytest.raises(ConfigError, match="cannot be edited by setup as it is written"):
        configuration(HAND, FILE, HOME, AROUND)
