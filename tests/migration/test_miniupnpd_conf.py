"""miniupnpd.conf as miniupnpd reads it, and what is no such file."""

import pytest

from upnp_gw.migration.miniupnpd_conf import MOST_PERMISSIONS, read_miniupnpd
from upnp_gw.migration.original import Original
from upnp_gw.model.errors import ConfigError


def read(text: str | bytes) -> Original:
    return read_miniupnpd(text.encode() if isinstance(text, str) else text, "m.conf")


def test_settings_keep_their_lines_and_the_last_one_counts() -> None:
    got = read("# a comment\r\n\r\next_ifname = eth0 \r\n  listening_ip=br0\nlistening_ip=br1\next_ifname=ppp0")
    assert [(each.key, each.value, each.line.number) for each in got.settings] == [
        ("ext_ifname", "eth0", 3),
        ("listening_ip", "br0", 4),
        ("listening_ip", "br1", 5),
        ("ext_ifname", "ppp0", 6),
    ]
    last = got.last("ext_ifname")
    assert last is not None
    assert last.value == "ppp0"
    assert [each.value for each in got.all("listening_ip")] == ["br0", "br1"]
    assert got.lease_file is None


def test_what_looks_like_a_comment_after_a_value_belongs_to_it() -> None:
    assert read("secure_mode=yes # safer").settings[0].value == "yes # safer"


def test_permissions_keep_their_order() -> None:
    got = read('deny 1 10.0.0.0/8 1\nport=0\nallow 2 10.0.0.0/8 2\nset_learn_dscp "x" 1 2\n')
    assert [(each.allow, each.line.number) for each in got.permissions] == [(False, 1), (True, 3)]
    assert [line.number for line, _ in got.other_lines] == [4]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"port=1\nkey\x00=2", "m.conf:2: a control character"),
        (b"allow 1 10.0.0.0/8 1\n" * (MOST_PERMISSIONS + 1), "m.conf:1001: more than 1000 permission lines"),
        (b"port 5000", 'm.conf:1: "port 5000": accepted: key=value'),
        (b"=5000", "accepted: key=value"),
        (b"denyall", "m.conf:1: .*accepted: a line such as"),
    ],
)
def test_what_is_no_configuration_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(data)
