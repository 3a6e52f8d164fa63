"""``/metrics`` at a listener of its own, and in the operator's application."""

import asyncio
from pathlib import Path

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from tests.fixtures.fake_operator import FakeOperator
from tests.fixtures.page_home import free_port
from upnp_gw import metrics
from upnp_gw.config.page_settings import PageSettings
from upnp_gw.control.server import ControlServer
from upnp_gw.control_client import ControlClient
from upnp_gw.model.mapping import Endpoint


async def test_both_listeners_show_the_same_devices(tmp_path: Path) -> None:
    operator = FakeOperator()
    server, client = ControlServer(operator, tmp_path), ControlClient(tmp_path)
    await server.start()
    listen = Endpoint(PageSettings().listen.address, free_port())
    settings = PageSettings(metrics_listen=listen, metrics_devices=1)
    running = asyncio.create_task(metrics.run(client, settings))
    application = web.Application()
    metrics.add_routes(application, client, settings)
    try:
        async with TestClient(TestServer(application)) as page, aiohttp.ClientSession() as session:
            answer = await page.get("/metrics")
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            at_the_page = await answer.text()
            first, *others = operator.measured.devices
            operator.measured = replace(operator.measured, devices=[replace(first, bytes=999_999), *others])
            text = ""
            async with asyncio.timeout(5):
                while not text:
                    try:
                        async with session.get(f"http://{listen}/metrics") as own:
                            text = await own.text()
                            assert own.status == 200
                        async with session.get(f"http://{listen}/") as other:
                            assert other.status == 404, "the operator's page is not here"
                    except aiohttp.ClientConnectionError:
                        await asyncio.sleep(0.01)
        for line in ('upnp_gw_device_bytes_total{device="02:00:00:00:00:04"} 4000.0', "upnp_gw_up 1.0"):
            assert line in text.splitlines()
            assert line in at_the_page.splitlines()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.close()
        await server.close()


async def test_without_listen_it_serves_nothing_of_its_own(tmp_path: Path) -> None:
    client = ControlClient(tmp_path)
    async with asyncio.timeout(5):
        await metrics.run(client, PageSettings())
    await client.close()
