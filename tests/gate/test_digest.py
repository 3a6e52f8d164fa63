"""The digest of a policy over an upgrade: version 0.1.0 gave the numbers here."""

from dataclasses import MISSING, fields
from datetime import date

import pytest

from upnp_gw.gate.digest import FIRST, basis
from upnp_gw.gate.load import load_text
from upnp_gw.gate.schema import Policy

SHORT = """
version = 1
[[grant]]
name = "x"
who = "*"
"""
LONG = """
version = 1
default = "ask"

[limits]
per_device = 16
max_ttl = "12h"

[device.nas]
mac = ["00:11:32:00:00:02"]

[device.server]
ip = ["192.168.1.40", "2001:db8::7"]

[group]
all = ["nas", "server"]

[zone]
dmz = ["192.168.9.0/24"]

[[forbid]]
name = "no-ssh"
int_ports = [22]
zone = "dmz"
until = 2027-01-01T12:00:00Z

[[grant]]
name = "web"
who = "nas"
proto = "tcp"
int_ports = [8443, "9000-9100"]
remote = ["203.0.113.0/24", "2001:db8:beef::/48"]
max_hold = "24h"

[[grant]]
name = "night"
who = "@all"
hours = "22:00-06:00"

[[grant]]
name = "day"
who = "*"
hours = "00:00-24:00"
owner = "a"
reason = "b"
review_by = 2099-01-01
"""


def policy(text: str) -> Policy:
    return load_text(text, "policy.toml", date(2026, 12, 1)).policy


@pytest.mark.parametrize(
    ("text", "digest", "bases"),
    [
        (SHORT, "dd837e6c971c", ["3e899fefacc9"]),
        (LONG, "c87dd44f07b0", ["3099545d429d", "33a9f36d922d", "3733a4cdafd5"]),
    ],
)
def test_a_file_that_has_not_changed_keeps_its_digest_over_an_upgrade(
    text: str, digest: str, bases: list[str]
) -> None:
    """Else old decisions could not be explained any more, and a question that waits could not be approved."""
    found = policy(text)
    assert found.digest == digest
    assert [basis(found, grant.name) for grant in found.grants] == bases


@pytest.mark.parametrize(
    "more",
    [
        'holidays = ["12-25"]\n' + LONG,
        LONG.replace('zone = "dmz"', 'zone = { for = "dmz" }'),
        LONG.replace('zone = "dmz"', 'zone = "dmz"\nvia = ["pcp"]'),
        LONG.replace('zone = "dmz"', 'zone = "dmz"\nremote = ["198.51.100.0/24"]'),
        LONG.replace('zone = "dmz"', 'zone = "dmz"\nhours = "10:00-11:00"'),
        LONG.replace('"22:00-06:00"', '"mon 22:00-06:00"'),
        LONG.replace('"22:00-06:00"', '"22:00-06:01"'),
        LONG.replace("2001:db8:beef::/48", "2001:db8:bee0::/48"),
        LONG.replace("remote = [", "remote = { never = [").replace('beef::/48"]', 'beef::/48"] }'),
    ],
)
def test_every_word_of_a_later_version_counts(more: str) -> None:
    assert policy(more).digest != policy(LONG).digest


def test_the_default_of_a_later_field_is_no_condition() -> None:
    """It is left out of the digest: a number as its default could become another one, with the same digest."""
    later = [
        one.default for kind, first in FIRST.items() for one in fields(kind) if one.name not in first and one.init
    ]
    assert len(later) == 5
    assert all(default is None or (default is not MISSING and not default) for default in later)
