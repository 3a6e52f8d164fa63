"""The address of ours that each host is given (IGD section 2.6)."""

from ipaddress import IPv4Interface, IPv6Interface, ip_address

import pytest

from upnp_gw.model.network import Link
from upnp_gw.protocols.ssdp.groups import GROUPS, IPV4, IPV6_LINK, IPV6_SITE, own_address

LAN = Link(
    "lan0",
    5,
    True,
    (
        IPv4Interface("169.254.3.4/16"),
        IPv4Interface("192.168.77.1/24"),
        IPv4Interface("10.0.0.1/8"),
        IPv6Interface("fe80::1/64"),
        IPv6Interface("2a11::1/64"),
        IPv6Interface("fd00::1/64"),
    ),
)


@pytest.mark.spec("IGD-039", "IGD-064")
@pytest.mark.parametrize(
    ("destination", "peer", "own"),
    [
        (IPV4.address, None, "192.168.77.1"),
        (IPV4.address, "192.168.77.10", "192.168.77.1"),
        (IPV4.address, "10.9.8.7", "10.0.0.1"),
        (IPV4.address, "169.254.9.9", "169.254.3.4"),
        (IPV4.address, "172.16.0.9", "192.168.77.1"),
        (IPV6_LINK.address, None, "fe80::1"),
        (IPV6_LINK.address, "fe80::9", "fe80::1"),
        (IPV6_LINK.address, "2a11::9", "fe80::1"),
        (IPV6_SITE.address, None, "fd00::1"),
        (IPV6_SITE.address, "2a11::9", "fd00::1"),
        ("10.0.0.1", "192.168.77.10", "10.0.0.1"),
        ("2a11::1", "fe80::9", "2a11::1"),
        ("fe80::1", "fe80::9", "fe80::1"),
        ("192.168.77.255", "192.168.77.10", None),
        ("255.255.255.255", "192.168.77.10", None),
        ("192.168.88.1", "192.168.77.10", None),
        ("ff0e::c", "2a11::9", None),
        ("ff02::1", "fe80::9", None),
        ("0.0.0.0", "192.168.77.10", None),
    ],
)
def test_own_address(destination: str, peer: str | None, own: str | None) -> None:
    found = own_address(LAN, ip_address(destination), None if peer is None else ip_address(peer))
    assert found == (None if own is None else ip_address(own))


def test_a_global_address_where_there_is_no_unique_local_one() -> None:
    link = Link("lan0", 5, True, (IPv6Interface("fe80::1/64"), IPv6Interface("2a11::1/64")))
    assert own_address(link, IPV6_SITE.address) == ip_address("2a11::1")
    assert own_address(link, IPV4.address) is None


def test_a_link_without_addresses_has_nothing_to_say() -> None:
    assert [own_address(Link("lan0", 5, True), group.address) for group in GROUPS] == [None] * 3


def test_host_headers() -> None:
    assert [group.host for group in GROUPS] == ["239.255.255.250:1900", "[FF02::C]:1900", "[FF05::C]:1900"]
