"""Permission lines of miniupnpd, as its parser reads them."""

from ipaddress import IPv4Network

import pytest

from upnp_gw.migration.original import Line, Permission
from upnp_gw.migration.permission_line import read_permission
from upnp_gw.model.errors import ConfigError


def read(text: str) -> Permission:
    return read_permission(Line(7, text), "miniupnpd.conf")


def nets(*texts: str) -> tuple[IPv4Network, ...]:
    return tuple(map(IPv4Network, texts))


def test_a_line_has_ports_and_a_prefix() -> None:
    line = read("allow 1024-65535 192.168.0.0/23 22")
    assert (line.allow, line.ext, line.clients, line.int_) == (
        True,
        (1024, 65535),
        nets("192.168.0.0/23"),
        (22, 22),
    )


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("192.168.7.113", nets("192.168.7.113/32")),
        ("192.168.7.113/24", nets("192.168.7.0/24")),
        ("192.168.7.0/255.255.255.0", nets("192.168.7.0/24")),
        ("0.0.0.0/0", nets("0.0.0.0/0")),
        ("0/0", nets("0.0.0.0/0")),
        ("8", nets("255.0.0.0/32")),
        ("192.168.010.0/24", nets("192.168.8.0/24")),
        ("10.0.0.5/255.255.253.255", nets("10.0.0.5/32", "10.0.2.5/32")),
    ],
)
def test_the_forms_of_an_address(address: str, wanted: tuple[IPv4Network, ...]) -> None:
    assert read(f"deny 0-65535 {address} 0-65535").clients == wanted


@pytest.mark.parametrize(
    ("rest", "wanted"),
    [
        ("", None),
        ("   # a comment", None),
        ("# a comment", None),
        (' "My app [[:digit:]]*" more', "My app [[:digit:]]*"),
        (r' "a\"b"', r"a\"b"),
        (" 'one word'", "one word"),
        (" plain rest", "plain"),
        (' ""', None),
    ],
)
def test_what_follows_the_internal_ports(rest: str, wanted: str | None) -> None:
    assert read(f"deny 1 10.0.0.0/8 2-3{rest}").pattern == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("allow 1024-65535", r"miniupnpd\.conf:7: .*accepted: a line such as allow"),
        ("allow 1024-70000 10.0.0.0/8 1", r"miniupnpd\.conf:7: external ports: 70000 is no port"),
        ("allow 9-8 10.0.0.0/8 1", r"external ports: 9-8 ends before it begins: write 8-9"),
        ("allow any 10.0.0.0/8 1", r'external ports: "any"'),
        ("allow 1 10.0.0.0/33 1", r'address: "10.0.0.0/33"'),
        ("allow 1 10.0.0/24 1", r'address: "10.0.0/24"'),
        ("allow 1 10.0.0.256 1", r'address: "10.0.0.256"'),
        ("allow 1 10.0.0.08 1", r'address: "10.0.0.08"'),
        ("allow 1 fe80::1/64 1", r'address: "fe80::1/64"'),
        ("allow 1 192.168.1.0/0.0.0.255 1", r"the mask has its bits not at the left end"),
        ("allow 1 10.0.0.0/8 1024-65535tcp", r"internal ports: .*accepted: a space after"),
    ],
)
def test_a_broken_line_says_what_would_be_accepted(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(text)
