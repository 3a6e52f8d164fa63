"""Files like those found in public, written anew; what the init script of OpenWrt makes of them."""

from pathlib import Path

import pytest

from tests.migration.small_lines import TODAY
from upnp_gw.gate.load import load_text
from upnp_gw.migration.conversion import convert
from upnp_gw.migration.openwrt import read_upnpd
from upnp_gw.migration.original import Format, Original
from upnp_gw.migration.reading import read_original
from upnp_gw.migration.settings import Chosen
from upnp_gw.migration.uci import is_uci
from upnp_gw.model.errors import ConfigError

HERE = Path(__file__).parent / "openwrt"
NETWORK = HERE / "network.uci"
CASES = sorted(path for path in HERE.glob("*.uci") if path != NETWORK)
MAIN = "config upnpd 'config'\n"


def read(name: str, network: bool = True) -> Original:
    data = NETWORK.read_bytes() if network else None
    return read_upnpd((HERE / f"{name}.uci").read_bytes(), "upnpd", data, "network")


def text(text: str, network: bool = False) -> Original:
    return read_upnpd(text.encode(), "upnpd", NETWORK.read_bytes() if network else None, "network")


def settings(original: Original) -> dict[str, str]:
    """Key -> value; those that come again with spaces between them."""
    found: dict[str, str] = {}
    for setting in original.settings:
        found[setting.key] = f"{found[setting.key]} {setting.value}" if setting.key in found else setting.value
    return found


def rules(original: Original) -> list[str]:
    """The permissions as lines of miniupnpd.conf."""
    return [permission.line.text.partition(": ")[2] for permission in original.permissions]


def left(original: Original) -> dict[str, str]:
    """Line -> why nothing comes of it."""
    return {line.text: why for line, why in original.other_lines}


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 8


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_each_line_is_a_setting_a_permission_or_said_to_be_neither(path: Path) -> None:
    assert is_uci(path.read_bytes())
    for network in (True, False):
        found = read(path.stem, network)
        assert found.format is Format.UCI
        rows = path.read_text("utf-8").splitlines()
        commands = {n for n, row in enumerate(rows, 1) if row.split() and row.split()[0] in ("option", "list")}
        of_rules = _lines_of_rules(rows)
        named = {setting.line.number for setting in found.settings} | {line.number for line, _ in found.other_lines}
        assert commands - of_rules <= named
        assert {permission.line.number for permission in found.permissions} == {
            n for n, row in enumerate(rows, 1) if row.split()[:2] == ["config", "perm_rule"]
        }


def _lines_of_rules(rows: list[str]) -> set[int]:
    inside, found = False, set[int]()
    for number, row in enumerate(rows, 1):
        inside = row.split()[:2] == ["config", "perm_rule"] if row.startswith("config") else inside
        if inside:
            found.add(number)
    return found


DIFFERENT = {"open-to-all", "only-natpmp-over-pppoe"}
"""Those whose devices may ask for other hosts."""


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_policy_answers_as_the_rules_do(path: Path) -> None:
    """Proved; or the requests that it answers differently are those for other hosts."""
    original = read(path.stem)
    found = convert(original, Chosen(wan="eth1"), Path("/etc/upnp-gw/policy.toml"), TODAY)
    assert found.carried.missing == []
    assert (found.differences != ()) == (path.stem in DIFFERENT)
    assert load_text(found.policy, "policy.toml", TODAY).policy


def test_a_file_of_either_kind_is_known() -> None:
    assert read_original(f"{MAIN}option port 80".encode(), "upnpd").format is Format.UCI
    assert read_original(b"http_port=80", "miniupnpd.conf").format is Format.MINIUPNPD
    with pytest.raises(ConfigError, match="network: it goes with /etc/config/upnpd"):
        read_original(b"http_port=80", "miniupnpd.conf", b"", "network")


INSTALLED = {
    "enable_natpmp": "yes",
    "enable_upnp": "yes",
    "secure_mode": "yes",
    "bitrate_down": "8388608",
    "bitrate_up": "4194304",
    "listening_ip": "br-lan",
    "http_port": "5000",
    "lease_file": "/var/run/miniupnpd.leases",
}
"""The settings of the file as the package installs it."""


def test_as_it_is_installed() -> None:
    found = read("as-installed-19")
    assert settings(found) == INSTALLED
    assert rules(found) == ["allow 1024-65535 0.0.0.0/0 1024-65535", "deny 0-65535 0.0.0.0/0 0-65535"]
    assert left(found)["option enabled\t\t0"].endswith("the service was off, and is imported as if it ran")


def test_the_defaults_of_the_script_are_not_those_of_miniupnpd() -> None:
    found = read("as-luci-saves-it")
    assert settings(found) == {
        **INSTALLED,
        "force_igd_desc_v1": "yes",
        "uuid": "0c7b9a52-33a1-4c55-9a5e-6f6d5c1e7b10",
    }
    [of_natpmp] = [setting for setting in found.settings if setting.key == "enable_natpmp"]
    assert (of_natpmp.line.number, of_natpmp.line.text) == (2, "config upnpd 'config' (no enable_natpmp)")


def test_rules_before_the_settings() -> None:
    assert rules(read("game-console-ports-first")) == [
        "allow 53 0.0.0.0/0 53",
        "allow 80 0.0.0.0/0 80",
        "allow 88 0.0.0.0/0 88",
        "allow 1024-65535 0.0.0.0/0 1024-65535",
        "deny 0-65535 0.0.0.0/0 0-65535",
    ]


def test_two_networks() -> None:
    found = read("two-networks")
    assert (settings(found)["listening_ip"], settings(found)["ext_ifname"]) == ("br-lan br-media", "eth1")
    assert "allow 3074 192.168.4.20/32 3074" in rules(found)


def test_names_of_openwrt_are_no_devices_without_its_network_file() -> None:
    found = read("two-networks", network=False)
    assert not {"listening_ip", "ext_ifname"} & settings(found).keys()
    assert left(found)["option external_iface 'wan'"] == (
        "wan is a name of OpenWrt: --wan IF names the interface here, or --network FILE its /etc/config/network"
    )
    assert left(found)["option internal_iface 'lan media'"].startswith("media is a name of OpenWrt: --lan IF")


def test_behind_another_router() -> None:
    found = read("behind-another-router")
    assert {
        key: settings(found)[key] for key in ("ext_ip", "ext_perform_stun", "ext_stun_host", "ext_stun_port")
    } == {
        "ext_ip": "203.0.113.99",
        "ext_perform_stun": "yes",
        "ext_stun_host": "stun.example.net",
        "ext_stun_port": "3478",
    }
    assert rules(found) == ["allow 1024-65535 0.0.0.0/0 1024-65535", "deny 0-65535 0.0.0.0/0 0-65535"]
    assert {"option ext_ip_reserved_ignore '1'", "option uuid 'nocli'", "option log_output '1'"} <= left(
        found
    ).keys()


def test_switches_have_many_words() -> None:
    assert settings(read("open-to-all"))["secure_mode"] == "no"
    assert settings(read("hand-edited"))["secure_mode"] == "yes"
    assert settings(text(f"{MAIN}option secure_mode maybe\n"))["secure_mode"] == "yes", "the default counts"


def test_options_that_the_script_does_not_read() -> None:
    found = left(read("written-by-a-script"))
    assert found["option serial '12345678'"] == "the init script of OpenWrt does not read it"
    assert found["option comments 'Allow high ports'"] == "the init script of OpenWrt does not read it"
    assert rules(read("written-by-a-script"))[1] == "deny 0-65535 192.168.1.9/32 0-65535"


def test_only_natpmp_over_pppoe() -> None:
    found = read("only-natpmp-over-pppoe")
    assert settings(found) == {
        "enable_natpmp": "yes",
        "enable_upnp": "no",
        "secure_mode": "yes",
        "ext_ifname": "pppoe-dsl",
        "ipv6_disable": "yes",
        "pcp_allow_thirdparty": "yes",
        "notify_interval": "900",
        "listening_ip": "br-lan",
    }
    assert "download and upload together" in left(found)["option download '12800'"]
    assert rules(found)[1] == "allow 1024-65535 192.168.1.0/255.255.255.0 1024-65535"


def test_sections_that_the_script_does_not_read() -> None:
    found = left(read("hand-edited"))
    why = "the init script of OpenWrt reads config upnpd 'config' and perm_rule alone"
    assert {row for row, reason in found.items() if reason == why} == {
        "config upnpd",
        "option enabled 0",
        "config redirect",
        "option target DNAT",
    }


@pytest.mark.parametrize(
    ("text_", "problem"),
    [
        ("config perm_rule\noption action allow", "upnpd: accepted: a file with a section config upnpd 'config'"),
        (
            f"{MAIN}option config_file /etc/my.conf",
            "upnpd:2: config_file: miniupnpd reads /etc/my.conf and nothing",
        ),
        (f"{MAIN}config perm_rule\noption action Allow", 'upnpd:3: action: "Allow": accepted: allow or deny'),
        (f"{MAIN}config perm_rule\noption ext_ports '80 443'", 'upnpd:3: ext_ports: "80 443": accepted: one word'),
        (f"{MAIN}config perm_rule\noption ext_ports any", 'upnpd:2: external ports: "any": accepted: a port'),
        (f"{MAIN}config perm_rule\noption ext_ports 9-1", "upnpd:2: external ports: 9-1 ends before it begins"),
        (f"{MAIN}config perm_rule\noption int_addr lan", 'upnpd:2: address: "lan/32": accepted: an IPv4 address'),
        ("config upnpd 'settings'\noption enabled 1", "upnpd:1: this is the form of 2026; accepted: /var/etc/mini"),
        (f"{MAIN}config internal_network\noption interface lan", "upnpd:2: this is the form of 2026"),
        (MAIN + "config perm_rule\n" * 1001, "upnpd:1002: more than 1000 perm_rule sections"),
    ],
)
def test_what_cannot_be_read_names_its_line(text_: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        text(text_)
    assert str(error.value).startswith(problem)


def test_a_mistake_in_the_network_file_names_that_file() -> None:
    with pytest.raises(ConfigError, match="network:1: "):
        read_upnpd(MAIN.encode(), "upnpd", b"interface lan", "network")
