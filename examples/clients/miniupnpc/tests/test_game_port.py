"""The game port against a router of its own: the fixture ``igd`` of upnp-gw."""

import threading
from contextlib import suppress

import pytest
from game_port import GamePort, NoPortError

DAY_S = 24 * 3600


@pytest.fixture
def port(igd):
    return GamePort(27015, igd.location)


class Enough(Exception):
    """The day is over."""


def test_it_opens_the_port_and_closes_it(igd, port):
    port.open()
    assert (port.address, port.external_port) == (igd.external_address, 27015)
    assert igd.mappings.one(external_port=27015, internal_client="127.0.0.1", transport="udp").lease_s == 3600
    port.close()
    assert not igd.mappings


def test_it_renews_over_a_day(igd, port):
    def sleep(seconds):
        igd.advance(seconds=seconds)
        assert igd.mappings.one(external_port=27015).left_s == 1800
        if igd.requests[-1].at_s >= DAY_S:
            raise Enough

    with pytest.raises(Enough):
        port.run(sleep)
    assert [request.at_s for request in igd.requests.of("AddPortMapping")] == list(range(0, DAY_S + 1, 1800))


def test_it_works_in_a_thread_of_the_server(igd, port):
    """The test waits for what arrives; it does not poll."""
    woken = threading.Event()

    def sleep(seconds):
        if woken.is_set():
            raise Enough
        woken.wait(60)

    def serve():
        with suppress(Enough):
            port.run(sleep)

    thread = threading.Thread(target=serve)
    thread.start()
    assert igd.mappings.wait_for(external_port=27015).description == "game server"
    igd.advance(hours=1)
    assert not igd.mappings, "it slept too long"
    woken.set()
    igd.requests.wait_for("AddPortMapping", count=2)
    assert igd.mappings.one().left_s == 3600
    thread.join()


def test_it_takes_the_next_port_after_a_conflict(igd, port):
    igd.answer("AddPortMapping", error="ConflictInMappingEntry", times=2)
    port.open()
    assert port.external_port == 27017
    assert igd.mappings.one().external_port == 27017


@pytest.mark.igd(personality="only-permanent-leases")
def test_it_asks_for_a_permanent_lease_where_there_is_no_other(igd, port):
    port.open()
    [refused, granted] = igd.requests.of("AddPortMapping")
    assert (refused.error, granted.arguments["NewLeaseDuration"]) == (725, "0")


def test_it_opens_the_port_again_after_a_reboot(igd, port):
    port.open()
    igd.reboot()
    port.open()
    assert igd.mappings.one().external_port == 27015


@pytest.mark.parametrize("address", ["192.168.1.7", "100.64.0.7"])
def test_it_says_that_a_private_external_address_is_of_no_use(igd, port, address):
    igd.change_wan(external_address=address)
    with pytest.raises(NoPortError, match=address):
        port.open()


def test_a_refusal_is_an_error(igd, port):
    igd.answer("AddPortMapping", error=606)
    with pytest.raises(Exception, match="Action not authorized"):
        port.open()
