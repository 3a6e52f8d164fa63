"""The configuration file: what it may say, and what is said of mistakes."""

from dataclasses import fields
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from tests import ROOT
from upnp_gw.config.file import KEYS, NOTIFY, load, read_file, read_options
from upnp_gw.config.notify_tables import NotifyTarget
from upnp_gw.config.settings import Config, Settings
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.model.errors import ConfigError

EXAMPLES = sorted((ROOT / "examples" / "config").glob("*.toml"))

COMPLETE = """
[lan]
interfaces = ["br-lan", "br-guest"]
routed = ["10.0.40.0/24", "2001:db8:40::/64"]
hairpin = "same"

[wan]
interface = "ppp0"
addresses = ["198.51.100.7", "198.51.100.8"]
advertise = "198.51.100.9"
refuse_private = true

[upnp]
http_port = 0
faces = ["igd1"]
friendly_name = "Büro-Gateway"
presentation_url = "https://router.lan/"
max_age = 3600

[firewall]
mode = "router"
backend = "memory"
writer = "libnftables"
allow_other_forward = true
flush_on_stop = true

[gate]
policy = "policy.toml"
visibility = "all"

[store]
state_dir = "/srv/state"
durability = "full"

[control]
runtime_dir = "/srv/run"
group = "netdev"
"""


def nothing(given: Settings) -> tuple[Settings, tuple[str, ...]]:
    return {}, ()


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gw.toml"
    path.write_text(text, "utf-8")
    return path


def test_every_key_reaches_its_field(tmp_path: Path) -> None:
    config, why, _ = load(written(tmp_path, COMPLETE), {}, nothing)
    assert config == Config(
        wan="ppp0",
        lan=("br-lan", "br-guest"),
        routed={ip_network("10.0.40.0/24"): "", ip_network("2001:db8:40::/64"): ""},
        external_addresses=(IPv4Address("198.51.100.7"), IPv4Address("198.51.100.8")),
        advertise=IPv4Address("198.51.100.9"),
        refuse_private_external=True,
        http_port=0,
        faces=("igd1",),
        friendly_name="Büro-Gateway",
        presentation_url="https://router.lan/",
        max_age_s=3600,
        firewall=FirewallMode.ROUTER,
        allow_other_forward=True,
        flush_on_stop=True,
        backend="memory",
        writer="libnftables",
        hairpin="same",
        visibility="all",
        policy=tmp_path / "policy.toml",
        state_dir=Path("/srv/state"),
        runtime_dir=Path("/srv/run"),
        control_group="netdev",
        durability="full",
    )
    assert why == ()


def test_the_file_can_say_everything_that_config_holds() -> None:
    keys = [key for table in KEYS.values() for key in table.values()]
    assert sorted([*(key.field for key in keys), "page_notify"]) == sorted(
        field.name for field in fields(Config) if field.name not in ("text", "file")
    )
    assert [key.field for key in NOTIFY.values()] == [field.name for field in fields(NotifyTarget)]


MISTAKES = [
    ('[lan]\ninterface = "br0"', "lan.interface", "did you mean interfaces?"),
    ('[lna]\ninterfaces = ["br0"]', "lna", "did you mean lan?"),
    ('[lan]\npolicy = "x"', "lan.policy", "did you mean gate.policy?"),
    ("[lan]\nzzzz = 1", "lan.zzzz", "the keys of [lan] are interfaces, nat, routed, hairpin"),
    ("lan = 5", "lan", "got the number 5; accepted: a table, such as [lan]"),
    (
        '[lan]\ninterfaces = "br0"',
        "lan.interfaces",
        'got "br0"; accepted: a list of interfaces, such as interfaces = ["br-lan"]',
    ),
    ("[lan]\ninterfaces = []", "lan.interfaces", "a list of interfaces"),
    ('[lan]\ninterfaces = ["br0", 7]', "lan.interfaces[1]", "the name of an interface"),
    ('[lan]\ninterfaces = ["br0", "br0"]', "lan.interfaces[1]", "only once"),
    ('[lan]\ninterfaces = ["eth 0"]', "lan.interfaces[0]", "the name of an interface"),
    ('[lan]\ninterfaces = ["eth0+"]', "lan.interfaces[0]", "letters, digits, _ . - @"),
    ('[lan]\ninterfaces = ["../etc"]', "lan.interfaces[0]", "the name of an interface"),
    ('[lan]\ninterfaces = [".."]', "lan.interfaces[0]", "the name of an interface"),
    ('[lan]\ninterfaces = ["br0\\n"]', "lan.interfaces[0]", "the name of an interface"),
    ('[lan]\ninterfaces = ["abcdefghijklmnop"]', "lan.interfaces[0]", "up to 15 characters"),
    ('[lan]\ninterfaces = ["üüüüüüüü"]', "lan.interfaces[0]", "up to 15 characters"),
    ('[lan]\nrouted = ["10.0.40.1/24"]', "lan.routed[0]", "no host bits set"),
    ('[lan]\nrouted = ["0.0.0.0/0"]', "lan.routed[0]", "not the whole internet"),
    ('[lan]\nrouted = ["here"]', "lan.routed[0]", '"10.0.40.0/24"'),
    ('[lan]\nhairpin = "no"', "lan.hairpin", '"all", "same"'),
    ('[wan]\ninterface = ""', "wan.interface", "the name of an interface"),
    ('[wan]\naddresses = ["198.51.100.7", "2001:db8::1"]', "wan.addresses[1]", "an IPv4 address"),
    ('[wan]\naddresses = ["224.0.0.1"]', "wan.addresses[0]", "not multicast"),
    ('[gate]\npolicy = "~nobody-of-this-name/policy.toml"', "gate.policy", "user after ~ does not exist"),
    ('[gate]\nlease_files = ["~nobody-of-this-name/leases"]', "gate.lease_files[0]", "user after ~ does not exist"),
    ("[wan]\naddresses = []", "wan.addresses", "leave it out for the addresses of the WAN"),
    ("[gate]\nlease_files = []", "gate.lease_files", "leave it out for the usual places"),
    ('[control]\ngroup = "a\\u0000b"', "control.group", "the name of a Unix group"),
    ('[daemon]\nuser = "a:b"', "daemon.user", "the name of a user"),
    (f"[upnp]\nhttp_port = 0x{'f' * 6000}", "upnp.http_port", "hundreds of digits"),
    ("[upnp]\nhttp_port = 99999999999999999999", "upnp.http_port", "0 to 65535"),
    ("[upnp]\nhttp_port = inf", "upnp.http_port", "0 to 65535"),
    (f"[upnp]\nhttp_port{'.a' * 40} = 1", f"upnp.http_port{'.a' * 15}", "inside each other"),
    ("[wan]\naddresses = [3]", "wan.addresses[0]", "an IPv4 address"),
    ("[wan]\nrefuse_private = 1", "wan.refuse_private", "true or false"),
    ("[upnp]\nhttp_port = 65536", "upnp.http_port", "0 to 65535"),
    ("[upnp]\nhttp_port = true", "upnp.http_port", "a TCP port"),
    ('[upnp]\nhttp_port = "5000"', "upnp.http_port", "a TCP port"),
    ('[upnp]\nfaces = ["igd1", "igd3"]', "upnp.faces[1]", '"igd1", "igd2"'),
    ("[upnp]\nfaces = []", "upnp.faces", '"igd1", "igd2" or both'),
    ('[upnp]\nfriendly_name = "a\\u001bb"', "upnp.friendly_name", "printable"),
    ('[upnp]\nfriendly_name = ""', "upnp.friendly_name", "1 to 63"),
    ('[upnp]\npresentation_url = "javascript:alert(1)"', "upnp.presentation_url", "http or https"),
    ('[upnp]\npresentation_url = "http://[::"', "upnp.presentation_url", "http or https"),
    ("[upnp]\nmax_age = 60", "upnp.max_age", "1800 to 86400"),
    ('[firewall]\nmode = "brigde"', "firewall.mode", '"alongside", "router"'),
    ('[firewall]\nmode = ["router"]', "firewall.mode", '"alongside", "router"'),
    ('[firewall]\nbackend = "iptables"', "firewall.backend", '"nftables", "memory"'),
    ('[firewall]\nwriter = "nft"', "firewall.writer", '"netlink", "libnftables"'),
    ('[gate]\npolicy = ""', "gate.policy", "a path"),
    ("[gate]\npolicy = 4", "gate.policy", "a path"),
    ('[store]\nstate_dir = "a\\u0000b"', "store.state_dir", "a path"),
    ('[store]\ndurability = "some"', "store.durability", '"normal", "full"'),
    ("[control]\ngroup = 12", "control.group", "the name of a Unix group"),
]


@pytest.mark.parametrize(("text", "key", "message"), MISTAKES)
def test_an_error_names_file_key_and_accepted_values(tmp_path: Path, text: str, key: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        read_file(path)
    assert error.value.where == str(path)
    assert error.value.key == key
    assert error.value.line in (1, 2)
    assert str(error.value).startswith(f"{path}:{error.value.line}: {key}: ")
    assert message in error.value.problem
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[lan\n", "not TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a = 1\na = 2", "not TOML"),
        (b"a = " + b"[" * 5000, "not TOML"),
        (b"a = " + b"1" * 5000, "not TOML"),
    ],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "gw.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_file(path)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        read_file(tmp_path / "nowhere.toml")


def test_options_override_the_file_and_the_file_overrides_detection(tmp_path: Path) -> None:
    def detect(given: Settings) -> tuple[Settings, tuple[str, ...]]:
        assert given["lan"] == ("br9",)
        return {"wan": "wlan7", "lan": ("docker0",)}, ("WAN wlan7: it holds the default route",)

    path = written(tmp_path, '[lan]\ninterfaces = ["br0"]\n[upnp]\nhttp_port = 6000\nfriendly_name = "x"')
    config, why, given = load(path, {"--lan": ("br9",), "--http-port": 7000, "--state-dir": None}, detect)
    assert (config.lan, config.wan, config.http_port, config.friendly_name) == (("br9",), "wlan7", 7000, "x")
    assert why == ("WAN wlan7: it holds the default route",)
    assert given == {"lan": ("br9",), "http_port": 7000, "friendly_name": "x"}


def test_named_interfaces_are_kept_and_checked() -> None:
    def detect(given: Settings) -> tuple[Settings, tuple[str, ...]]:
        return {"wan": "other", "lan": ("other",)}, (f"checked {given['wan']}",)

    config, why, _ = load(None, {"--lan": ("br9",), "--wan": "eth0"}, detect)
    assert config == Config(wan="eth0", lan=("br9",))
    assert why == ("checked eth0",)


def test_a_wrong_option_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"^--http-port: got 99999; accepted: a TCP port, .*, such as --http-port 5000$"
    ):
        read_options({"--http-port": 99999})
    with pytest.raises(ConfigError, match=r'^--lan: got "a/b"; accepted: .*, such as --lan br-lan$'):
        read_options({"--lan": ("br0", "a/b")})
    with pytest.raises(ConfigError, match=r'^--lan: got ".*"; accepted: .*, such as --lan br-lan$'):
        read_options({"--lan": ("br0", "\udcff" * 8)})


@pytest.mark.spec("SR-4")
def test_no_lan_left_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"lan.interfaces: no LAN interface; name it here or with --lan"):
        load(None, {"--wan": "eth0"}, nothing)


@pytest.mark.spec("SR-4")
def test_lan_and_wan_alike_is_refused() -> None:
    with pytest.raises(ConfigError, match="eth0 is also the WAN"):
        load(None, {"--wan": "eth0", "--lan": ("br0", "eth0")}, nothing)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_loads(path: Path) -> None:
    config, _, given = load(path, {}, lambda given: ({"wan": "eth9", "lan": ("br9",), **given}, ()))
    assert given, "an example that says nothing"
    assert config.lan


def test_there_are_examples() -> None:
    assert {path.name for path in EXAMPLES} >= {"home.toml", "every-key.toml"}


def test_the_example_of_every_key_has_every_key() -> None:
    given = read_file(ROOT / "examples" / "config" / "every-key.toml")
    assert sorted(given) == sorted(field.name for field in fields(Config) if field.name not in ("text", "file"))
