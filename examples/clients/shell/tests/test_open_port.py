"""The script against a router of its own: the fixture ``igd`` of upnp-gw."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "open_port.sh"


def open_port(igd):
    """Exit code and output of the script."""
    argv = [SCRIPT, igd.gateway_address, igd.location, "127.0.0.1", "8080"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.strip()


def test_it_opens_the_port_over_natpmp(igd):
    assert open_port(igd) == (0, f"{igd.external_address} 8080")
    assert igd.mappings.one(via="natpmp", transport="tcp").external_port == 8080
    assert not igd.requests.of("AddPortMapping")


@pytest.fixture
def upnp_only(igd):
    """A router whose NAT-PMP does not work."""
    igd.answer("natpmp.address", error="NETWORK_FAILURE")
    igd.answer("natpmp.map", error="NETWORK_FAILURE")
    return igd


def test_it_opens_the_port_over_upnp_where_natpmp_fails(upnp_only):
    assert open_port(upnp_only) == (0, f"{upnp_only.external_address} 8080")
    assert upnp_only.mappings.one().via.startswith("igd")


def test_it_renews_over_a_day(igd):
    """As with a cron job every half hour."""
    for _ in range(48):
        assert open_port(igd)[0] == 0
        igd.advance(minutes=30)
        assert igd.mappings.one().left_s == 1800
    assert [request.at_s for request in igd.requests.of("natpmp.map")] == list(range(0, 24 * 3600, 1800))


def test_it_takes_the_next_port_after_a_conflict(upnp_only):
    upnp_only.answer("AddPortMapping", error=718, times=2)
    assert open_port(upnp_only) == (0, f"{upnp_only.external_address} 8082")


@pytest.mark.igd(personality="only-permanent-leases", natpmp=False)
def test_it_asks_for_a_permanent_lease_where_there_is_no_other(igd):
    assert open_port(igd)[0] == 0
    [refused, granted] = igd.requests.of("AddPortMapping")
    assert (refused.error, granted.arguments["NewLeaseDuration"]) == (725, "0")
    assert igd.mappings.one().external_port == 8080


def test_it_opens_the_port_again_after_a_reboot(upnp_only):
    open_port(upnp_only)
    upnp_only.reboot()
    assert open_port(upnp_only)[0] == 0
    assert upnp_only.mappings.one().external_port == 8080


@pytest.mark.parametrize("address", ["192.168.1.7", "100.64.0.7", "172.20.1.1"])
def test_it_says_that_a_private_external_address_is_of_no_use(igd, address):
    igd.change_wan(external_address=address)
    assert open_port(igd) == (3, f"{address} 8080")


@pytest.mark.parametrize("error", [606, 725])
def test_a_refusal_is_exit_code_1(upnp_only, error):
    upnp_only.answer("AddPortMapping", error=error)
    assert open_port(upnp_only)[0] == 1
