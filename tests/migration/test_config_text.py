"""The configuration file: new, or the one that is there with other values."""

from pathlib import Path

import pytest

from upnp_gw.config.file import parse_text
from upnp_gw.migration.config_text import BY_HAND, configuration
from upnp_gw.migration.miniupnpd_conf import read_miniupnpd
from upnp_gw.migration.settings import Carried, Chosen, carry_settings
from upnp_gw.model.errors import ConfigError

POLICY = Path("/etc/upnp-gw/policy.toml")


def carried(more: str = "") -> Carried:
    text = f"ext_ifname=eth0\nlistening_ip=br0\nenable_natpmp=yes\n{more}"
    return carry_settings(read_miniupnpd(text.encode(), "m.conf"), Chosen())


def test_a_new_file_names_the_lines() -> None:
    text = configuration(None, "config.toml", carried("notify_interval=1000\n"), POLICY)
    assert text.splitlines() == [
        "# Written by upnp-gw import; edit it as you like.",
        "",
        "[lan]",
        'interfaces = ["br0"] # listening_ip',
        "",
        "[wan]",
        'interface = "eth0" # line 1: ext_ifname=eth0',
        "refuse_private = true # no line: as miniupnpd does without one",
        "",
        "[upnp]",
        "max_age = 2000 # line 4: notify_interval=1000",
        "",
        "[portcontrol]",
        'natpmp = "on" # line 3: enable_natpmp=yes',
        'pcp = "on" # line 3: enable_natpmp=yes',
        "",
        "[gate]",
        'policy = "/etc/upnp-gw/policy.toml"',
    ]


def test_other_keys_and_comments_of_a_file_stay() -> None:
    before = '# mine\n[wan]\ninterface = "eth9" # the modem\n[log]\nlevel = "debug"\n'
    text = configuration(before, "config.toml", carried(), POLICY)
    assert "# mine" in text
    settings = parse_text(text, "config.toml")
    assert (settings["wan"], settings["lan"], settings["log_level"]) == ("eth0", ("br0",), "debug")


@pytest.mark.parametrize(
    "line", ["friendly_name=a\x1b]0;b\x7f", 'friendly_name="]\n\\', 'presentation_url=http://"/']
)
def test_hostile_values_do_not_leave_their_place(line: str) -> None:
    text = configuration(None, "config.toml", carried_lines(line), POLICY)
    assert parse_text(text, "config.toml")["wan"] == "eth0"


def carried_lines(line: str) -> Carried:
    rows = "\n".join(row for row in line.split("\n") if "=" in row)
    try:
        return carried(f"{rows}\n")
    except ConfigError:
        return carried()


def test_a_file_with_several_lan_tables_is_left_alone() -> None:
    before = '[[lan]]\ninterfaces = ["a"]\n[[lan]]\ninterfaces = ["b"]\n'
    with pytest.raises(ConfigError, match=BY_HAND.split(";", 1)[0]):
        configuration(before, "config.toml", carried(), POLICY)


def test_wan_and_lan_must_not_be_the_same() -> None:
    same = carry_settings(read_miniupnpd(b"ext_ifname=br0\nlistening_ip=br0", "m.conf"), Chosen())
    with pytest.raises(ConfigError, match="br0 is also the WAN"):
        configuration(None, "config.toml", same, POLICY)
