"""``listening_ip`` of miniupnpd -> an interface."""

import pytest

from tests.setup.dumps import interfaces
from upnp_gw.migration.lan_names import LOOPBACK, NOT_HERE, lan_name

LINKS = interfaces("lo 127.0.0.1/8\neth0 11.0.0.2/24\nbr0 192.168.1.1/24\neth2 10.5.0.3/16")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("br-lan", ("br-lan", "")),
        ("eth0.2", ("eth0.2", "")),
        ("192.168.1.1", ("br0", "")),
        ("192.168.1.1/24", ("br0", "")),
        ("192.168.1.1/255.255.255.0", ("br0", "")),
        ("10.5.0.0/16", ("eth2", "")),
        ("10.9.9.9/24", ("", NOT_HERE)),
        ("127.0.0.1/8", ("", LOOPBACK)),
        ("lo", ("", LOOPBACK)),
        ("10.9.9.999", ("", "neither an interface nor an address")),
        ("10.9.9.9/99", ("", "neither an interface nor an address")),
        ("1.2", ("", "neither an interface nor an address")),
    ],
)
def test_a_name_or_an_address(text: str, wanted: tuple[str, str]) -> None:
    assert lan_name(text, LINKS) == wanted


def test_a_name_that_is_none_is_not_taken() -> None:
    name, why = lan_name("a name/that:is none", LINKS)
    assert name == ""
    assert why.startswith("accepted here: ")
