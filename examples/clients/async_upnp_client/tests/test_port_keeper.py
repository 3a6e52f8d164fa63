"""The port keeper against a router of its own: the fixture ``igd`` of upnp-gw."""

import asyncio
from ipaddress import IPv4Address

import pytest
from port_keeper import NotReachableError, PortKeeper

HOST = IPv4Address("127.0.0.1")
DAY_S = 24 * 3600


@pytest.fixture
def keeper(igd):
    return PortKeeper(igd.location, HOST, 8080)


async def test_it_opens_the_port_and_closes_it(igd, keeper):
    await keeper.keep()
    assert (keeper.external_address, keeper.external_port) == (igd.external_address, 8080)
    assert igd.mappings.one(external_port=8080, internal_client=HOST, transport="tcp").lease_s == 3600
    await keeper.release()
    assert not igd.mappings


async def test_it_renews_over_a_day(igd, keeper):
    """Its sleep is the router's time: a day passes in the blink of an eye."""

    async def sleep(seconds):
        igd.advance(seconds=seconds)
        assert igd.mappings.one(external_port=8080).left_s == 1800
        if igd.requests[-1].at_s >= DAY_S:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await keeper.run(sleep)
    times = [request.at_s for request in igd.requests.of("AddPortMapping")]
    assert times == list(range(0, DAY_S + 1, 1800))


async def test_it_takes_the_next_port_after_a_conflict(igd, keeper):
    igd.answer("AddPortMapping", error=718, times=2)
    await keeper.keep()
    assert keeper.external_port == 8082
    assert igd.mappings.one().external_port == 8082


@pytest.mark.igd(personality="only-permanent-leases")
async def test_it_asks_for_a_permanent_lease_where_there_is_no_other(igd, keeper):
    await keeper.keep()
    [refused, granted] = igd.requests.of("AddPortMapping")
    assert (refused.error, granted.arguments["NewLeaseDuration"]) == (725, "0")
    assert igd.mappings.one().external_port == 8080


async def test_it_opens_the_port_again_after_a_reboot(igd, keeper):
    await keeper.keep()
    igd.reboot()
    assert not igd.mappings
    await keeper.keep()
    assert igd.mappings.one().external_port == 8080


@pytest.mark.parametrize("address", ["192.168.1.7", "100.64.0.7", ""])
async def test_it_says_that_a_private_external_address_is_of_no_use(igd, keeper, address):
    igd.change_wan(external_address=address)
    with pytest.raises(NotReachableError):
        await keeper.keep()


@pytest.mark.parametrize("broken", ["reset", "truncated-body", "bare-500"])
async def test_it_tries_again_after_a_broken_answer(igd, keeper, broken):
    fault = igd.fault(broken, "AddPortMapping", times=1)
    await keeper.keep()
    assert len(fault.struck) == 1
    assert igd.mappings.one().external_port == 8080
