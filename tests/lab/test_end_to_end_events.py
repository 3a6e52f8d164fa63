"""Events from the real daemon to a real subscriber: each change of mappings, WAN address and link is one NOTIFY."""

import json
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from tests.fixtures.waiting import EVENT_S, until
from tests.lab.end_to_end import Home
from tests.lab.igd_control_point import Subscriber
from upnp_gw.lab.control_socket import EventStream
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

VERSIONS = pytest.mark.parametrize("igd_version", list(IgdVersion))
OTHER = IPv4Address("11.22.33.99")
SHARED = IPv4Address("100.64.33.9")
COUNT, UPDATE = "PortMappingNumberOfEntries", "SystemUpdateID"


@pytest.fixture
def home(module_home: Home) -> Iterator[Home]:
    yield module_home
    module_home.clear()


class Listening:
    """A subscriber that has its initial event, and what the next ones must say."""

    def __init__(self, subscriber: Subscriber, igd_version: IgdVersion) -> None:
        self.subscriber = subscriber
        self.igd_version = igd_version
        self.first = subscriber.next()
        self.update = int(self.first.get(UPDATE, 0))

    def expect_message(self, raised: int, **values: str) -> None:
        """One message with exactly this; v2 also with the update id, raised by so many changes."""
        expected = dict(values)
        if self.igd_version is IgdVersion.IGD2:
            self.update = (self.update + raised) % 2**32
            expected[UPDATE] = str(self.update)
        assert self.subscriber.next() == expected


@VERSIONS
@pytest.mark.spec("IGD-180", "IGD-201")
def test_the_initial_event_has_every_variable(home: Home, igd_version: IgdVersion) -> None:
    home.point(igd_version=igd_version).add(8080)
    with Subscriber(home.point(igd_version=igd_version)) as subscriber:
        assert subscriber.answer.status == 200
        assert subscriber.sid.startswith("uuid:")
        scheme, _, seconds = subscriber.answer.headers["timeout"].partition("-")
        assert scheme == "Second"
        assert int(seconds) >= 1800
        first = subscriber.next()
    v2 = {UPDATE: first.get(UPDATE, "")} if igd_version is IgdVersion.IGD2 else {}
    assert first == {
        "PossibleConnectionTypes": "IP_Routed",
        "ConnectionStatus": "Connected",
        "ExternalIPAddress": str(home.external),
        COUNT: "1",
        **v2,
    }


@VERSIONS
@pytest.mark.spec("IGD-193", "IGD-194", "IGD-195", "IGD-201")
def test_add_overwrite_and_delete_are_one_event_each(home: Home, igd_version: IgdVersion) -> None:
    point = home.point(igd_version=igd_version)
    with Subscriber(point) as subscriber:
        listener = Listening(subscriber, igd_version)
        point.add(8080)
        listener.expect_message(1, **{COUNT: "1"})
        point.add(8080, NewInternalPort=8081)
        if igd_version is IgdVersion.IGD2:
            listener.expect_message(1)
        point.delete(8080)
        listener.expect_message(1, **{COUNT: "0"})


@VERSIONS
@pytest.mark.spec("IGD-131", "IGD-193")
def test_the_end_of_a_lease_is_one_event(home: Home, igd_version: IgdVersion) -> None:
    point = home.point(igd_version=igd_version)
    with Subscriber(point) as subscriber:
        listener = Listening(subscriber, igd_version)
        point.add(8080, NewLeaseDuration=1)
        listener.expect_message(1, **{COUNT: "1"})
        listener.expect_message(1, **{COUNT: "0"})


@pytest.mark.spec("IGD-164")
def test_a_range_delete_is_one_event(home: Home) -> None:
    point = home.point(igd_version=IgdVersion.IGD2)
    for port in (8001, 8002, 8003, 9000):
        point.add(port)
    with Subscriber(point) as subscriber:
        listener = Listening(subscriber, IgdVersion.IGD2)
        assert listener.first[COUNT] == "4"
        point.call("DeletePortMappingRange", NewStartPort=8000, NewEndPort=8999, NewProtocol="TCP", NewManage=0)
        listener.expect_message(1, **{COUNT: "1"})


@pytest.mark.spec("IGD-193", "SR-25")
def test_a_change_of_another_devices_mapping_raises_no_count(home: Home) -> None:
    """v1: silence, shown by what comes first after it."""
    point = home.point()
    with Subscriber(point) as subscriber:
        subscriber.next()
        home.point("pc").add(9000)
        point.add(8080)
        assert subscriber.next() == {COUNT: "1"}


@pytest.mark.spec("IGD-185", "IGD-186", "IGD-188")
def test_no_event_follows_an_unsubscribe(home: Home) -> None:
    point = home.point()
    with Subscriber(point) as leaves, Subscriber(point) as stays:
        leaves.next()
        stays.next()
        renewed = leaves.send("SUBSCRIBE", f"SID: {leaves.sid}", "TIMEOUT: Second-1800")
        assert (renewed.status, renewed.headers["sid"]) == (200, leaves.sid)
        assert leaves.send("UNSUBSCRIBE", f"SID: {leaves.sid}").status == 200
        assert leaves.send("UNSUBSCRIBE", f"SID: {leaves.sid}").status == 412
        point.add(8080)
        assert stays.next() == {COUNT: "1"}
        point.delete(8080)
        assert stays.next() == {COUNT: "0"}
        assert len(leaves.messages) == 1


@VERSIONS
@pytest.mark.spec("IGD-196")
def test_a_new_external_address_is_an_event(home: Home, igd_version: IgdVersion) -> None:
    with Subscriber(home.point(igd_version=igd_version)) as subscriber:
        subscriber.next()
        for address in (OTHER, home.external):
            home.renumber_wan(address)
            change = subscriber.next()
            assert change["ExternalIPAddress"] == str(address)
            assert home.point(igd_version=igd_version).external_address() == str(address)


def test_an_address_that_the_internet_does_not_reach_is_told_once(home: Home) -> None:
    events, wan = EventStream(home.daemon.runtime_dir), home.lab.topology.wan
    ended = threading.Timer(2 * EVENT_S, events.end)  # an event that never comes fails the test
    ended.start()
    try:
        found = (json.loads(line) for line in events)
        home.gateway.ip(f"addr add {SHARED}/24 dev {wan}", f"addr del {home.external}/24 dev {wan}")
        told = next(event for event in found if event["event"] == "double-nat")
        assert (told["address"], "does not reach it" in told["why"]) == (str(SHARED), True)
    finally:
        home.renumber_wan(home.external)
    try:
        assert until(lambda: home.point().external_address() == str(home.external))
        home.point().add(8080)
        assert next(event["event"] for event in found if event["event"] != "wan") == "added", "and not again"
    finally:
        ended.cancel()
        events.close()


@VERSIONS
@pytest.mark.spec("IGD-196")
def test_a_lost_link_is_an_event_of_both_services(home: Home, igd_version: IgdVersion) -> None:
    point, wan = home.point(igd_version=igd_version), "gateway"
    with Subscriber(point) as connection, Subscriber(point, "WANCommonInterfaceConfig") as link:
        connection.next()
        assert link.next()["PhysicalLinkStatus"] == "Up"
        home.lab.internet.ip(f"link set {wan} down")
        try:
            assert link.next() == {"PhysicalLinkStatus": "Down"}
            assert connection.next()["ConnectionStatus"] == "Disconnected"
        finally:
            home.lab.internet.ip(f"link set {wan} up")
        assert link.next() == {"PhysicalLinkStatus": "Up"}
        assert connection.next()["ConnectionStatus"] == "Connected"
