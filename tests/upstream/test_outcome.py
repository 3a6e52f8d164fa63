"""The leases of the gateway above that can be used. Its answer is foreign."""

from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.gateway_above import LAN, REQUEST
from upnp_gw.model.above import AboveRequest
from upnp_gw.model.mapping import Endpoint, IPAddress
from upnp_gw.model.network import Link, Network
from upnp_gw.model.request import Refusal
from upnp_gw.upstream.outcome import Denial, Lease, NotServed, checked

OWN = ip_address("192.168.1.7")
NETWORK = Network(
    Link("wan0", 3, True, (IPv4Interface("192.168.1.7/24"), IPv6Interface("2001:db8:1::7/64"))),
    (Link("lan0", 4, True, (LAN, IPv6Interface("2001:db8:77::1/64"))),),
    external=(ip_address("192.168.1.7"),),  # type: ignore[arg-type]
)
ASKED = replace(REQUEST, internal=Endpoint(OWN, 8080))
HOST6 = ip_address("2001:db8:77::10")
PINHOLE6 = replace(REQUEST, internal=Endpoint(HOST6, 8080))


def lease(address: str, port: int = 8080, lifetime_s: int = 3600) -> Lease:
    return Lease(Endpoint(ip_address(address), port), lifetime_s)


@pytest.mark.parametrize(
    "address",
    ["203.0.113.7", "11.22.33.44", "100.64.0.9", "10.0.0.5", "192.168.0.3", "192.168.1.200"],
    ids=["documentation", "public", "shared", "private", "another private", "in the WAN's own prefix"],
)
def test_an_address_outside_is_believed(address: str) -> None:
    """A private one too: there is one more NAT above, and its reader is told."""
    assert checked(lease(address), ASKED, NETWORK) == lease(address)


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.1.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255"],
)
def test_an_address_that_nobody_can_send_to_is_refused_and_undone(address: str) -> None:
    found = checked(lease(address), ASKED, NETWORK)
    assert isinstance(found, Denial)
    assert (found.refusal, found.undo, found.loop) == (Refusal.NO_EXTERNAL_ADDRESS, True, False)


@pytest.mark.parametrize("address", ["192.168.77.1", "192.168.77.44"], ids=["our own on the LAN", "of the LAN"])
def test_an_address_of_ours_or_of_a_lan_is_a_loop(address: str) -> None:
    found = checked(lease(address), ASKED, NETWORK)
    assert isinstance(found, Denial)
    assert (found.loop, found.undo) == (True, True)


def test_our_own_wan_address_is_a_firewall_without_nat_or_a_loop() -> None:
    assert checked(lease(str(OWN)), ASKED, NETWORK) == lease(str(OWN)), "the gateway above translates nothing"
    found = checked(lease(str(OWN), 8081), ASKED, NETWORK)
    assert isinstance(found, Denial)
    assert found.loop, "another port of our own address comes from ourselves"


@pytest.mark.parametrize(
    "address",
    ["2001:db8:77::10", "2001:db8:5::10"],
    ids=["its own", "translated by a prefix above"],
)
def test_a_pinhole_has_the_hosts_address_or_another_global_one(address: str) -> None:
    assert checked(lease(address), PINHOLE6, NETWORK) == lease(address)


@pytest.mark.parametrize("address", ["fe80::1", "::", "::1", "ff02::1", "11.22.33.44"])
def test_a_pinhole_at_an_address_that_is_not_outside_is_refused(address: str) -> None:
    assert isinstance(checked(lease(address), PINHOLE6, NETWORK), Denial)


def test_a_port_mapping_has_no_ipv6_address() -> None:
    assert isinstance(checked(lease("2001:db8:5::1"), ASKED, NETWORK), Denial)


@pytest.mark.parametrize(("granted", "believed"), [(600, 600), (3600, 3600), (3601, 3600), (2**32 - 1, 3600)])
def test_a_lifetime_is_at_most_the_one_that_was_asked_for(granted: int, believed: int) -> None:
    assert checked(lease("11.22.33.44", lifetime_s=granted), ASKED, NETWORK) == lease(
        "11.22.33.44", lifetime_s=believed
    )


@pytest.mark.parametrize(("port", "lifetime_s"), [(0, 3600), (8080, 0), (8080, 4)])
def test_a_lease_without_a_port_or_time_is_undone(port: int, lifetime_s: int) -> None:
    found = checked(lease("11.22.33.44", port, lifetime_s), ASKED, NETWORK)
    assert isinstance(found, Denial)
    assert found.undo


@pytest.mark.parametrize("external", [None, Endpoint(ip_address("11.22.33.44"), 9000)])
def test_another_port_than_an_exact_one_is_a_conflict(external: Endpoint | None) -> None:
    wanted = external.port if external else 8080
    request = replace(ASKED, exact=True, external=external)
    found = checked(lease("11.22.33.44", 12345), request, NETWORK)
    assert isinstance(found, Denial)
    assert (found.refusal, found.undo) == (Refusal.CONFLICT, True)
    assert isinstance(checked(lease("11.22.33.44", wanted), request, NETWORK), Lease)
    assert isinstance(checked(lease("11.22.33.44", 12345), replace(request, exact=False), NETWORK), Lease)


@pytest.mark.parametrize(("told", "believed"), [(0, 1), (30, 30), (1800, 1800), (2**32 - 1, 1800)])
def test_a_refusal_is_believed_for_half_an_hour_at_most(told: int, believed: int) -> None:
    found = checked(Denial(Refusal.QUOTA, "no", told), ASKED, NETWORK)
    assert isinstance(found, Denial)
    assert found.retry_s == believed


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6), st.sampled_from(NETWORK.wan.ips))


@given(
    ADDRESSES,
    st.integers(0, 65535),
    st.integers(0, 2**32 - 1),
    st.sampled_from([ASKED, replace(ASKED, exact=True), PINHOLE6]),
)
def test_what_is_believed_can_be_used(
    address: IPAddress, port: int, lifetime_s: int, request: AboveRequest
) -> None:
    found = checked(Lease(Endpoint(address, port), lifetime_s), request, NETWORK)
    if isinstance(found, Lease):
        assert found.external.port > 0
        assert 0 < found.lifetime_s <= request.lifetime_s
        assert found.external.address.version == request.internal.address.version
        assert not found.external.address.is_multicast
        assert found.external == request.internal or not NETWORK.is_gateway(found.external.address)
    else:
        assert not isinstance(found, NotServed)


def test_ipv6_addresses_of_the_lan_are_a_loop_only_for_others() -> None:
    """A pinhole for a host of the LAN has the host's own address; that of another host leads back."""
    other = IPv6Address("2001:db8:77::99")
    found = checked(Lease(Endpoint(other, 8080), 3600), PINHOLE6, NETWORK)
    assert isinstance(found, Denial)
    assert found.loop
