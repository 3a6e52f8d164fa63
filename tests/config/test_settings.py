"""The LAN and WAN that a configuration may name (SR-4)."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_interface, ip_network

import pytest

from upnp_gw.config.settings import Config, check, check_links
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.network import Link

HOME = Config(wan="eth0", lan=("br-lan", "br-guest"))


def link(name: str, *addresses: str) -> Link:
    return Link(name=name, index=1, up=True, addresses=tuple(ip_interface(a) for a in addresses))


VALID = [link("eth0", "198.51.100.7/24"), link("br-lan", "192.168.1.1/24"), link("br-guest", "192.168.20.1/24")]


@pytest.mark.spec("SR-4")
@pytest.mark.parametrize(
    ("config", "key", "message"),
    [
        (replace(HOME, wan="br-guest"), "lan.interfaces[1]", "br-guest is also the WAN"),
        (
            replace(
                HOME, routed={ip_network("203.0.113.0/24"): ""}, external_addresses=(IPv4Address("203.0.113.9"),)
            ),
            "lan.routed[0]",
            "203.0.113.9",
        ),
    ],
)
def test_overlap_in_the_configuration_is_refused(config: Config, key: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        check(config, "gw.toml")
    assert error.value.key == key
    assert message in error.value.problem
    assert str(error.value).startswith("gw.toml: lan.")


def test_a_sound_configuration_passes() -> None:
    check(HOME, "gw.toml")
    check_links(HOME, "gw.toml", VALID, {"eth0"})


@pytest.mark.spec("SR-4")
@pytest.mark.parametrize(
    ("links", "defaults", "key", "message"),
    [
        (
            [link("eth0", "192.168.1.50/24"), link("br-lan", "192.168.1.1/24")],
            {"eth0"},
            "lan.interfaces[0]",
            "overlap",
        ),
        (
            [link("eth0", "10.9.9.9/8"), link("br-guest", "10.1.0.1/24")],
            {"eth0"},
            "lan.interfaces[1]",
            "10.9.9.9/8",
        ),
        ([link("br-lan", "9.9.9.80/24")], {"br-lan"}, "lan.interfaces[0]", "leads to the internet"),
        (
            [link("br-lan", "192.168.1.1/24", "9.9.9.80/24")],
            {"eth0", "br-lan"},
            "lan.interfaces[0]",
            "9.9.9.80",
        ),
    ],
)
def test_overlap_on_the_machine_is_refused(links: list[Link], defaults: set[str], key: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_links(HOME, "gw.toml", links, defaults)
    assert error.value.key == key
    assert message in error.value.problem


@pytest.mark.spec("SR-4")
def test_a_routed_prefix_on_the_wan_is_refused() -> None:
    config = replace(HOME, routed={ip_network("10.0.40.0/24"): "", ip_network("198.51.0.0/16"): ""})
    with pytest.raises(ConfigError) as error:
        check_links(config, "gw.toml", VALID, {"eth0"})
    assert error.value.key == "lan.routed[1]"


@pytest.mark.parametrize(
    ("links", "defaults"),
    [
        ([], set()),  # started before its interfaces: they come later
        ([link("br-lan", "192.168.1.1/24")], {"br-lan"}),  # a router on a stick, its own way out
        ([link("br-lan", "9.9.9.80/24")], {"eth0"}),  # public addresses in the own network
        ([link("eth0", "2001:db8::1/64"), link("br-lan", "2001:db8::2/64")], {"eth0"}),  # one /64 relayed by NDP
    ],
)
def test_odd_but_sound_machines_pass(links: list[Link], defaults: set[str]) -> None:
    check_links(HOME, "gw.toml", links, defaults)
