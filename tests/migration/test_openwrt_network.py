"""The devices of OpenWrt's interfaces."""

from pathlib import Path

import pytest

from upnp_gw.migration.openwrt_network import NO_NETWORKS, networks_of
from upnp_gw.migration.uci import read_uci

FILE = Path(__file__).parent / "openwrt/network.uci"


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("lan", "br-lan"),
        ("media", "br-media"),
        ("wan", "eth1"),
        ("wan6", "eth1"),
        ("dsl", "pppoe-dsl"),
        ("lte", ""),
        ("vpn", "vpn"),
        ("loop_a", ""),
        ("old", ""),
        ("other", ""),
    ],
)
def test_the_device_of_an_interface(name: str, device: str) -> None:
    assert networks_of(read_uci(FILE.read_bytes(), "network")).device(name) == device


def test_without_a_file_none_is_known() -> None:
    assert NO_NETWORKS.device("lan") == ""
