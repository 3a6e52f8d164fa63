"""The listener of ``[metrics]``, which is for Prometheus and not for browsers."""

import logging
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.page_home import free_port, page_home
from tests.fixtures.waiting import async_until
from upnp_gw import api
from upnp_gw.model.mapping import Endpoint
from upnp_gw.page.process import Page

LOOPBACK = ip_address("127.0.0.1")


async def test_a_name_that_leads_to_the_listener_from_elsewhere_reads_nothing(tmp_path: Path) -> None:
    """DNS rebinding: a web page of the internet would read the devices of the house through a browser here."""
    listen = Endpoint(LOOPBACK, free_port())
    settings: dict[str, Any] = {"metrics_listen": listen, "names": ("router.lan",)}
    async with page_home(tmp_path, **settings) as home, home.browser() as browser:
        for host, status in (
            ("evil.example", 421),
            (f"evil.example:{listen.port}", 421),
            ("router.lan:9909", 200),
            ("192.168.77.1:9909", 200),
            ("[fd00::1]:9909", 200),
            ("localhost", 200),
        ):
            async with browser.session.get(f"http://{listen}/metrics", headers={"Host": host}) as answer:
                assert answer.status == status, host
                assert ("upnp_gw_up" in await answer.text()) == (status == 200)


async def test_the_page_runs_although_the_port_for_metrics_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken, caplog.at_level(logging.ERROR):
        taken.bind((str(LOOPBACK), 0))
        taken.listen()
        listen = Endpoint(LOOPBACK, taken.getsockname()[1])
        async with page_home(tmp_path, metrics_listen=listen) as home, home.operator() as operator:
            assert (await operator.get("/metrics"))[0] == 200
    assert f"metrics.listen: {listen}: cannot listen there" in caplog.text


@pytest.mark.spec("SR-45")
@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("192.168.77.1", "cannot listen there: No such device"),
        ("192.0.2.1", "not an address of a LAN of the gateway"),
    ],
)
async def test_the_listener_is_bound_to_the_interface_of_its_lan(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, address: str, problem: str
) -> None:
    """This LAN is on lan0, which the machine of the tests does not have."""
    listen = Endpoint(ip_address(address), free_port())
    async with page_home(tmp_path, metrics_listen=listen) as home, home.operator() as operator:
        assert (await operator.get("/metrics"))[0] == 200
    assert f"metrics.listen: {listen}: {problem}" in caplog.text


async def test_the_listener_on_a_lan_waits_for_the_daemon(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page can start before the daemon, which knows the interface."""
    asked: list[object] = []
    lans = Page._lans

    async def late(page: Page) -> list[api.LanState] | None:
        asked.append(page)
        return None if len(asked) == 1 else await lans(page)

    monkeypatch.setattr(Page, "_lans", late)
    listen = Endpoint(ip_address("192.168.77.1"), free_port())
    async with page_home(tmp_path, metrics_listen=listen):
        await async_until(lambda: f"metrics.listen: {listen}: cannot listen there: No such device" in caplog.text)
