"""HTTP in a lab: every LAN address answers, nothing answers on the WAN side, and upnpc gets its way."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.fixtures.fake_gateway import FakeGateway
from tests.fixtures.http_client import FakeEventing, answer, served_descriptions, status_of
from tests.fixtures.waiting import EVENT_S
from tests.lab.ssdp_listener import network_of
from upnp_gw.lab import Host, Lab
from upnp_gw.servers.context import LanContext
from upnp_gw.servers.http.control import ControlBackend
from upnp_gw.servers.http.server import HttpServer

pytestmark = pytest.mark.lab

PORT = 5000


@pytest.fixture
async def gateway(lab: Lab) -> AsyncIterator[FakeGateway]:
    """The server in the gateway's namespace, a fake gateway behind it."""
    fake, network = FakeGateway(), network_of(lab)
    fake.status = replace(fake.status, external_address=lab.external[0])
    server = HttpServer(
        served_descriptions(),
        LanContext(lambda: network, lambda: fake.now),
        ControlBackend(fake, fake.handle),
        FakeEventing(),
    )
    with lab.gateway.inside():
        assert await server.start(network, PORT) == PORT
    yield fake
    await server.stop()


async def get(host: Host, address: str, scope: int = 0, wait_s: float = EVENT_S) -> bytes | None:
    """GET of the description from a host; None where not even a connection comes about within ``wait_s``."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with host.inside():
        sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    where = (address, PORT, 0, scope) if family == socket.AF_INET6 else (address, PORT)
    try:
        async with asyncio.timeout(wait_s):
            await asyncio.get_running_loop().sock_connect(sock, where)
    except OSError:
        sock.close()
        return None
    reader, writer = await asyncio.open_connection(sock=sock)
    literal = f"[{address}]" if ":" in address else address
    writer.write(f"GET /igd1.xml HTTP/1.1\r\nHost: {literal}:{PORT}\r\n\r\n".encode())
    data = await answer(reader)
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    return data


@pytest.mark.spec("SR-1", "IGD-092", "IGD-200")
async def test_every_lan_address_answers_and_no_packet_of_the_wan_does(lab: Lab, gateway: FakeGateway) -> None:
    console, peer = lab.hosts["console"], lab.hosts["peer1"]
    [lan] = network_of(lab).lans
    inside = [str(address) for address in (*lan.ipv4, *lan.ipv6)]
    assert len(inside) >= 3
    with console.inside():
        scope = socket.if_nametoindex(console.interface)
    for address in inside:
        data = await get(console, address, scope if address.startswith("fe80") else 0)
        assert data is not None, address
        assert status_of(data) == 200, address
    # From outside: the WAN's own addresses, and the LAN's, to which the internet knows a way.
    lab.internet.ip(f"route replace {lan.ipv4[0]}/32 via {lab.external[0]}")
    for outside in (str(lab.external[0]), str(lab.external6), *(a for a in inside if not a.startswith("fe80"))):
        assert await get(peer, outside, wait_s=1) is None, outside
    # From the LAN to the WAN address: nothing listens there.
    assert await get(console, str(lab.external[0]), wait_s=1) is None


def upnpc(console: Host, *arguments: str, igd_version: str = "igd2") -> str:
    gateway = f"http://192.168.77.1:{PORT}/{igd_version}.xml"
    return console.run(["upnpc", "-u", gateway, *arguments], check=False).stdout


@pytest.mark.parametrize("igd_version", ["igd1", "igd2"])
async def test_upnpc(lab: Lab, gateway: FakeGateway, igd_version: str) -> None:
    console = lab.hosts["console"]

    async def run(*arguments: str) -> str:
        return await asyncio.to_thread(upnpc, console, *arguments, igd_version=igd_version)

    status = await run("-s")
    assert "Status : Connected" in status
    assert f"ExternalIPAddress = {lab.external[0]}" in status
    assert re.search(r"Bytes: +Sent: +11\s+Recv: +22", status)
    own = str(console.address)
    assert "is redirected to internal 192.168.77.10:3074" in await run("-a", own, "3074", "3075", "UDP", "60")
    assert re.search(r"UDP +3075->192\.168\.77\.10:3074", await run("-l"))
    assert "UPNP_DeletePortMapping() returned : 0" in await run("-d", "3075", "UDP")
    assert gateway.table == []
    added = await run("-n", own, "3074", "3075", "TCP", "60")
    removed = await run("-N", "3000", "3100", "TCP")
    assert "is redirected to internal 192.168.77.10:3074" in added
    assert "returned : 0" in removed
    assert gateway.table == []
