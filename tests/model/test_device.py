"""Device identifiers: a MAC address with or without its LAN, or an IP address."""

import pytest

from upnp_gw.model.device import device_id, is_mac, lan_of, mac_of

MAC = "ac:89:95:00:00:01"


@pytest.mark.parametrize(
    ("text", "mac"),
    [
        (MAC, True),
        (MAC.upper(), False),
        (f"{MAC}:02", False),
        ("192.168.1.23", False),
        ("2001:db8:1::23", False),
        ("2001:db8::1:22:33", False),
        ("2001:db8:0:1::1:2", False),
        ("fe:80::1:22:33", False),
        ("operator", False),
    ],
)
def test_only_six_pairs_of_digits_are_a_mac_address(text: str, mac: bool) -> None:
    assert is_mac(text) is mac
    assert mac_of(text) == (text if mac else None)


@pytest.mark.parametrize("lan", ["", "br-lan"])
def test_a_device_id_holds_the_mac_address_and_the_lan(lan: str) -> None:
    device = device_id(MAC, lan)
    assert (mac_of(device), lan_of(device)) == (MAC, lan)
