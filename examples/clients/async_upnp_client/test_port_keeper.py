"""Tests of the port keeper against the emulator: pytest finds the fixture ``igd`` where upnp-gw is installed."""

import asyncio
from ipaddress import IPv4Address

import pytest
from port_keeper import NotReachableError, PortKeeper

HOST = IPv4Address("127.0.0.1")


@pytest.fixture
def keeper(igd):
    return PortKeeper(igd.location, HOST, 8080)


def test_it_opens_the_port_and_closes_it(igd, keeper):
    asyncio.run(keeper.keep())
    assert (keeper.external_address, keeper.external_port) == (igd.external_address, 8080)
    assert igd.mappings.one(external_port=8080, internal_client=HOST, transport="tcp").lease_s == 3600
    asyncio.run(keeper.release())
    assert not igd.mappings


def test_it_renews_over_a_day(igd, keeper):
    for _ in range(24 * 3600 // keeper.renew_s):
        asyncio.run(keeper.keep())
        igd.advance(seconds=keeper.renew_s)
        assert igd.mappings.one(external_port=8080).left_s > 1700
    assert len(igd.requests.of("AddPortMapping")) == 48


def test_it_takes_the_next_port_after_a_conflict(igd, keeper):
    igd.answer("AddPortMapping", error=718, times=2)
    asyncio.run(keeper.keep())
    assert keeper.external_port == 8082
    assert igd.mappings.one().external_port == 8082


def test_it_asks_for_a_permanent_lease_where_there_is_no_other(igd, keeper):
    igd.answer("AddPortMapping", lambda request: 725 if request.arguments["NewLeaseDuration"] != "0" else None)
    asyncio.run(keeper.keep())
    [refused, granted] = igd.requests.of("AddPortMapping")
    assert (refused.error, granted.arguments["NewLeaseDuration"]) == (725, "0")
    assert igd.mappings.one().external_port == 8080


def test_it_opens_the_port_again_after_a_reboot(igd, keeper):
    asyncio.run(keeper.keep())
    igd.reboot()
    assert not igd.mappings
    asyncio.run(keeper.keep())
    assert igd.mappings.one().external_port == 8080


@pytest.mark.parametrize("address", ["192.168.1.7", "100.64.0.7", ""])
def test_it_says_that_a_private_external_address_is_of_no_use(igd, keeper, address):
    igd.change_wan(external_address=address)
    with pytest.raises(NotReachableError):
        asyncio.run(keeper.keep())


@pytest.mark.parametrize("wire", ["reset", "truncated-body", "bare-500"])
def test_it_tries_again_after_a_broken_answer(igd, keeper, wire):
    igd.answer("AddPortMapping", wire=wire, times=1)
    asyncio.run(keeper.keep())
    assert igd.mappings.one().external_port == 8080
