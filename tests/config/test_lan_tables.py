"""Several ``[[lan]]``: with NAT and without, each with prefixes behind routers of its own."""

import re
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from tests import ROOT
from upnp_gw.config.file import load, read_file
from upnp_gw.config.settings import Config, Settings, check_links
from upnp_gw.engine.environment import served_network
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.network import Link, Network

OFFICE = """
[[lan]]
interfaces = ["lab", "servers"]
nat = false
routed = ["203.0.113.128/26", "2001:db8:40::/64"]

[[lan]]
interfaces = ["guests"]
routed = ["10.9.0.0/24"]

[wan]
interface = "eth0"
"""


def nothing(given: Settings) -> tuple[Settings, tuple[str, ...]]:
    return {}, ()


def loaded(tmp_path: Path, text: str, **options: object) -> Config:
    path = tmp_path / "gw.toml"
    path.write_text(text, "utf-8")
    return load(path, {f"--{name.replace('_', '-')}": value for name, value in options.items()}, nothing)[0]


def test_lans_with_and_without_nat(tmp_path: Path) -> None:
    config = loaded(tmp_path, OFFICE)
    assert config == Config(
        wan="eth0",
        lan=("lab", "servers", "guests"),
        nat_of_lan={"lab": False, "servers": False},
        routed={
            ip_network("203.0.113.128/26"): "lab",
            ip_network("2001:db8:40::/64"): "lab",
            ip_network("10.9.0.0/24"): "guests",
        },
    )
    assert config.without_nat == {"lab", "servers"}


@pytest.mark.parametrize(
    ("lines", "without"),
    [
        ("[firewall]\nnat = false", {"lab", "servers", "guests"}),
        ("[firewall]\nnat = true", {"lab", "servers"}),
    ],
)
def test_a_lan_that_says_nothing_has_what_the_firewall_says(tmp_path: Path, lines: str, without: set[str]) -> None:
    assert loaded(tmp_path, f"{OFFICE}{lines}").without_nat == without


def test_a_lan_with_nat_beside_a_firewall_without(tmp_path: Path) -> None:
    text = OFFICE.replace("nat = false", "nat = true")
    assert loaded(tmp_path, f"{text}[firewall]\nnat = false").without_nat == {"guests"}


def test_each_lan_says_it_for_itself(tmp_path: Path) -> None:
    text = '[[lan]]\ninterfaces = ["a"]\nnat = false\n[[lan]]\ninterfaces = ["b"]\nnat = true\n'
    for more, without in (("", {"a"}), ("[firewall]\nnat = false", {"a"})):
        assert loaded(tmp_path, text + more, wan="eth0").without_nat == without
    assert loaded(tmp_path, text, wan="eth0", no_nat=False).without_nat == {"a", "b"}


def test_one_table_can_say_it_too(tmp_path: Path) -> None:
    config = loaded(tmp_path, '[lan]\ninterfaces = ["lab"]\nnat = false\nrouted = ["10.9.0.0/24"]', wan="eth0")
    assert config.without_nat == {"lab"}
    assert config.routed == {ip_network("10.9.0.0/24"): ""}


def test_options_count_before_the_tables(tmp_path: Path) -> None:
    assert loaded(tmp_path, OFFICE, no_nat=False).without_nat == {"lab", "servers", "guests"}
    assert loaded(tmp_path, OFFICE, lan=("servers",)).without_nat == {"servers"}
    assert loaded(tmp_path, OFFICE, lan=("other",)).without_nat == frozenset()


MISTAKES = [
    ('[[lan]]\ninterfaces = ["a"]\n[[lan]]\nnat = false', "lan[1].interfaces", 3, 'write interfaces = ["br-lan"]'),
    ('[[lan]]\ninterfaces = ["a"]\n[[lan]]\ninterfaces = ["b", "a"]', "lan[1].interfaces[1]", 4, "an earlier"),
    (
        '[[lan]]\ninterfaces = ["a"]\nrouted = ["10.9.0.0/24"]\n'
        '[[lan]]\ninterfaces = ["b"]\nrouted = ["10.9.0.0/24"]',
        "lan[1].routed[0]",
        6,
        "an earlier",
    ),
    ('[[lan]]\ninterfaces = ["a"]\nnat = "no"', "lan[0].nat", 3, 'got the text "no"; accepted: true or false'),
    ('[[lan]]\ninterfaces = ["a"]\nrooted = []', "lan[0].rooted", 3, "did you mean routed?"),
    (
        '[[lan]]\ninterfaces = ["a"]\nhairpin = "all"\n[[lan]]\ninterfaces = ["b"]\nhairpin = "same"',
        "lan[1].hairpin",
        6,
        "one value for all LANs",
    ),
    ("[lan]\nnat = false", "lan.nat", 2, "accepted: nat in [firewall], for all interfaces"),
    ("lan = [3]", "lan[0]", 1, "got the number 3; accepted: a table, such as [lan]"),
    ("lan = []", "lan", 1, "got an empty list; accepted: a table"),
    ('[[wan]]\ninterface = "eth0"', "wan", 1, "got a list; accepted: a table, such as [wan]"),
]


@pytest.mark.parametrize(("text", "key", "line", "message"), MISTAKES)
def test_a_mistake_is_reported_with_its_table(tmp_path: Path, text: str, key: str, line: int, message: str) -> None:
    path = tmp_path / "gw.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as error:
        read_file(path)
    assert (error.value.key, error.value.line) == (key, line)
    assert message in error.value.problem


def test_the_same_hairpin_in_every_table_is_accepted(tmp_path: Path) -> None:
    text = OFFICE.replace("routed", 'hairpin = "same"\nrouted')
    assert loaded(tmp_path, text).hairpin == "same"


@pytest.mark.spec("SR-4")
def test_an_overlap_is_reported_with_its_table(tmp_path: Path) -> None:
    for text, line in (
        (OFFICE.replace('"guests"', '"eth0"'), "gw.toml:8: lan[1].interfaces[0]: eth0 is also the WAN"),
        (f'{OFFICE}addresses = ["10.9.0.1"]', "gw.toml:9: lan[1].routed[0]: 10.9.0.0/24 contains"),
    ):
        with pytest.raises(ConfigError) as error:
            loaded(tmp_path, text)
        assert line in str(error.value)


@pytest.mark.spec("SR-4")
def test_an_overlap_on_the_machine_is_reported_with_its_table(tmp_path: Path) -> None:
    path = tmp_path / "gw.toml"
    path.write_text(OFFICE, "utf-8")
    links = [Link("eth0", 1, True, (ip_interface("10.9.0.7/16"),))]
    with pytest.raises(ConfigError) as error:
        load(path, {}, nothing, lambda config: check_links(config, str(path), links, set()))
    assert str(error.value).startswith(f"{path}:9: lan[1].routed[0]: 10.9.0.0/24, but the WAN eth0 has")


def test_a_routed_prefix_is_on_the_lan_of_its_table_while_the_kernel_has_no_route() -> None:
    lab = Link("lab", 2, True, (ip_interface("203.0.113.1/25"),))
    guests = Link("guests", 3, True, (ip_interface("192.168.20.1/24"),))
    behind, host = ip_network("203.0.113.128/26"), ip_interface("203.0.113.130/26").ip
    config = Config(wan="eth0", lan=("guests", "lab"), nat_of_lan={"lab": False}, routed={behind: "lab"})
    network = Network(Link("eth0", 1, True), (guests, lab), routed=(behind,), routed_on=("",))
    served = served_network(network, config)
    assert served.lan_of(host) == "lab"
    assert not served.translates(host)
    by_kernel = served_network(replace(network, routed_on=("guests",)), config)
    assert by_kernel.lan_of(host) == "guests"
    assert by_kernel.translates(host)


PAGE = (ROOT / "docs" / "without-nat.md").read_text("utf-8")


@pytest.mark.parametrize("text", re.findall(r"^```toml\n(.*?)^```", PAGE, re.S | re.M))
def test_a_configuration_on_the_page_has_a_lan_without_nat(tmp_path: Path, text: str) -> None:
    options = {"wan": "eth0"} | ({} if "[[lan]]" in text else {"lan": ("lab",)})
    assert loaded(tmp_path, text, **options).without_nat == {"lab"}
