"""Eventing between namespaces: what loopback cannot show, the zone of a link-local subscriber."""

import asyncio
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv6Address
from time import CLOCK_BOOTTIME, clock_gettime

import pytest

from tests.fixtures.waiting import EVENT_S
from upnp_gw.lab import CONSOLE, GUEST, HOME, Lab, LanHost, Topology
from upnp_gw.model.mapping import Instant
from upnp_gw.model.request import Source
from upnp_gw.protocols.igd_services import SERVICES, IgdVersion, Service
from upnp_gw.servers.http.gena_delivery import GenaDelivery

pytestmark = pytest.mark.lab

TWINS = Topology(lans=(HOME, replace(GUEST, hosts=(LanHost("twin", 10, CONSOLE.mac),))))
"""Two LANs, each with a host of the same MAC address, and so of the same link-local address."""


LINK_LOCAL = IPv6Address("fe80::ae89:95ff:fe00:1")
"""Made of that MAC address (RFC 4291 appendix A)."""


def answer_one(listener: socket.socket) -> bytes:
    """Takes one NOTIFY; the answer is its head."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(EVENT_S)
        head = connection.recv(2048)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return head


async def subscribe_and_wait(address: IPv6Address, port: int, interface: str) -> int:
    """Runs in the gateway; how many messages were taken."""

    def properties(igd_version: IgdVersion, service: Service, source: Source) -> Mapping[str, str]:
        return {"PhysicalLinkStatus": "Up"}

    eventing = GenaDelivery(properties, lambda: Instant(clock_gettime(CLOCK_BOOTTIME), 0.0), deadline_s=EVENT_S / 2)
    await eventing.start()
    headers = {"NT": "upnp:event", "CALLBACK": f"<http://[{address}%25eth0]:{port}/a>"}
    answer = eventing.serve(
        "SUBSCRIBE", IgdVersion.IGD1, SERVICES[IgdVersion.IGD1][1], headers, Source(address, interface)
    )
    assert answer.sid is not None
    eventing.delivered(answer.sid)
    async with asyncio.timeout(EVENT_S):
        while not eventing.counts:  # noqa: ASYNC110 - a counter has no event to wait for
            await asyncio.sleep(0.005)
    await eventing.stop()
    return eventing.counts["notified"]


@pytest.mark.parametrize("name", ["console", "twin"])
def test_of_two_hosts_with_one_link_local_address_the_subscriber_gets_the_event(
    namespaces: None, name: str
) -> None:
    with Lab(TWINS) as lab, ThreadPoolExecutor(1) as threads:
        console, twin = lab.hosts["console"], lab.hosts["twin"]
        listeners = {}
        for host in (console, twin):
            with host.inside():
                listeners[host.name] = socket.create_server(("::", 49200), family=socket.AF_INET6)
                listeners[host.name].settimeout(EVENT_S)
        result = listeners.pop(name)
        (other,) = listeners.values()
        with result, other:
            head = threads.submit(answer_one, result)
            interface = "lan0" if name == "console" else "lan1"
            assert lab.gateway.call(asyncio.run, subscribe_and_wait(LINK_LOCAL, 49200, interface)) == 1
            assert head.result().startswith(f"NOTIFY /a HTTP/1.1\r\nHOST: [{LINK_LOCAL}]:49200\r\n".encode())
            other.settimeout(0)
            with pytest.raises(BlockingIOError):
                other.accept()
