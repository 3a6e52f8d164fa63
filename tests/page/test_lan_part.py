"""The page for a device of the LAN: its own ports, whatever it sends, and what it costs the daemon."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from tests.fixtures.gateway import PC_IP
from tests.fixtures.page_home import LAPTOP_IP, PageHome, page_home
from upnp_gw.control_client import ControlClient
from upnp_gw.page import lan_part
from upnp_gw.page.feed import Feed
from upnp_gw.page.lan_part import LanPart
from upnp_gw.page.readings import FRESH_S, Readings


class Counted(ControlClient):
    """Counts the requests to the daemon."""

    count = 0

    async def request(self, *args: Any, **more: Any) -> tuple[int, bytes]:
        self.count += 1
        return await super().request(*args, **more)


class Lan:
    """The page of the LAN, without its sockets."""

    def __init__(self, home: PageHome) -> None:
        self.client = Counted(home.settings.control_dir)
        feed = Feed(self.client, 0)
        self.part = LanPart(
            home.settings, self.client, Readings(self.client), feed, home.page.part.sign_in._renderer
        )

    async def look(self, address: str, **headers: str) -> Mapping[str, Any]:
        """The values of the page for a device at this address."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        view = await self.part.own(make_mocked_request("GET", "/", named).clone(remote=address))
        return view.values


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[PageHome]:
    async with page_home(tmp_path, lan="off") as home:
        yield home


@pytest.fixture
async def lan(home: PageHome) -> AsyncIterator[Lan]:
    lan = Lan(home)
    yield lan
    await lan.client.close()


async def test_a_device_sees_its_own_and_no_header_names_another_one(home: PageHome, lan: Lan) -> None:
    await home.home.granted(3074)
    await home.home.refused(8080, PC_IP)
    for headers in (
        {},
        {"X_Forwarded_For": LAPTOP_IP},
        {"Forwarded": f"for={LAPTOP_IP}"},
        {"X_Real_IP": LAPTOP_IP},
    ):
        seen = await lan.look(PC_IP, **headers)
        assert (seen["known"].name, seen["held"], seen["others"]) == ("pc", [], [])
        assert [decision.external_port for decision in seen["refused"]] == [8080]
        seen = await lan.look(LAPTOP_IP, **headers)
        assert (seen["known"].name, seen["held"], seen["refused"]) == (None, [], [])


async def test_a_device_that_looks_again_and_again_costs_the_daemon_no_more(
    home: PageHome, lan: Lan, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(lan.part, "_clock", lambda: now[-1])
    lan.part._readings = Readings(lan.client, lambda: now[-1])
    await lan.look(PC_IP)
    asked = lan.client.count
    for _ in range(20):
        await lan.look(PC_IP)
    assert lan.client.count == asked
    now.append(now[-1] + FRESH_S)
    await home.home.refused(8080, PC_IP)
    assert [decision.external_port for decision in (await lan.look(PC_IP))["refused"]] == [8080]


async def test_what_is_kept_is_bounded(home: PageHome, lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lan_part, "MOST_KEPT", 1)
    for address in (PC_IP, LAPTOP_IP, PC_IP):
        assert (await lan.look(address))["address"] == address
    assert len(lan.part._by_address) == 1
