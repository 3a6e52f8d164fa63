"""Live pages: parts that change come by themselves, and a stream ends with its session."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.fixtures.gateway import CONSOLE_IP
from tests.fixtures.page_home import Browser, PageHome, lan_page, page_home
from tests.fixtures.waiting import EVENT_S, async_until
from upnp_gw.page import serving
from upnp_gw.page.serving import Produce
from upnp_gw.page.views import View


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PageHome]:
    monkeypatch.setattr(serving, "BETWEEN_S", 0.01)
    monkeypatch.setattr("upnp_gw.page.readings.FRESH_S", 0.0)
    async with page_home(tmp_path) as home:
        yield home


NEXT_S = 10.0
"""Seconds for the next parts: less than ``serving.TICK_S``, with which they come although nothing has happened."""


class Stream:
    """The live parts of a page, as they come."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self) -> dict[str, str]:
        while line := await asyncio.wait_for(self.answer.content.readline(), NEXT_S):
            if line.startswith(b"event: end"):
                return {"end": ""}
            if line.startswith(b"data: "):
                parts: dict[str, str] = json.loads(line[6:])
                return parts
        return {}


@asynccontextmanager
async def opened(operator: Browser, path: str) -> AsyncIterator[Stream]:
    async with operator.session.get(f"{operator.home.url}/live{path}") as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        yield Stream(answer)


async def local_request(home: PageHome, method: str, path: str) -> int:
    """Asks the page's own socket, as ``upnp-gw open`` and ``upnp-gw token`` do."""
    connector = aiohttp.UnixConnector(str(home.settings.runtime_dir / "page.sock"))
    async with (
        asyncio.timeout(EVENT_S),
        aiohttp.ClientSession(connector=connector) as session,
        session.request(method, f"http://localhost{path}") as answer,
    ):
        return answer.status


async def test_a_change_comes_as_the_parts_that_changed(home: PageHome) -> None:
    async with home.operator() as operator:
        _, text = await operator.get("/mappings")
        assert 'data-live="/live/mappings"' in text
        async with opened(operator, "/mappings") as stream:
            first = await stream.next()
            assert set(first) == {"live_nav", "live_mappings"}
            assert "No port is open." in first["live_mappings"]
            await home.home.granted(3074)
            second = await stream.next()
            assert set(second) == {"live_mappings"}
            assert "3074" in second["live_mappings"]
            await home.home.refused(8080, "192.168.77.20")
            assert "1 question waits" in (await stream.next())["live_nav"]


async def test_every_live_part_is_an_element_of_its_page(home: PageHome) -> None:
    await home.home.granted(3074)
    await home.home.refused(8080, "192.168.77.20")
    async with home.operator() as operator:
        for path in ("/", "/devices", "/devices/pc", "/mappings", "/mappings/m1", "/questions", "/log", "/policy"):
            _, text = await operator.get(path)
            async with opened(operator, path) as stream:
                parts = await stream.next()
            assert len(parts) >= 2, path
            for name, html in parts.items():
                inside = text.partition(f'id="{name}"')[2].partition(">")[2]
                assert inside.split()[:3] == html.split()[:3], (path, name)


async def test_a_stream_ends_with_its_session(home: PageHome) -> None:
    async with home.operator() as operator, opened(operator, "/mappings") as stream:
        await stream.next()
        assert await local_request(home, "DELETE", "/sessions") == 200
        assert await stream.next() == {"end": ""}, "at once, and not when something changes"
        await async_until(lambda: home.page.part.serving.streams == 0)


async def test_streams_are_bounded_and_go_with_their_browser(
    home: PageHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MOST_STREAMS", 2)
    async with home.operator() as operator:
        async with opened(operator, "/mappings") as one, opened(operator, "/mappings") as two:
            await one.next()
            await two.next()
            status, _ = await operator.get("/live/mappings")
            assert status == 503
        await async_until(lambda: home.page.part.serving.streams == 0)


async def test_the_page_says_to_the_daemon_that_it_runs(tmp_path: Path) -> None:
    async with page_home(tmp_path) as home:
        await async_until(lambda: home.status_page.port == home.settings.port)
    (tmp_path / "off").mkdir()
    async with page_home(tmp_path / "off", lan="off") as home, home.operator() as operator:
        async with opened(operator, "/mappings") as stream:
            await stream.next()
        assert home.status_page.port == 0


async def test_a_stream_ends_with_its_token(home: PageHome) -> None:
    secret = home.page.tokens.create("script", acts=False, for_s=None)
    await async_until(lambda: home.page.feed.connected)
    async with home.browser(Authorization=f"Bearer {secret}") as script, opened(script, "/mappings") as stream:
        await stream.next()
        assert await local_request(home, "DELETE", "/tokens/script") == 200
        assert await stream.next() == {"end": ""}


async def test_a_stream_ends_when_its_browser_signs_out_or_in_again(home: PageHome) -> None:
    async with home.operator() as operator:
        async with opened(operator, "/mappings") as stream:
            await stream.next()
            await operator.sign_in()
            assert await stream.next() == {"end": ""}
        async with opened(operator, "/mappings") as stream:
            await stream.next()
            await operator.post("/sign-out")
            assert await stream.next() == {"end": ""}


async def test_a_stream_shows_nothing_that_was_read_while_its_session_ended(
    home: PageHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = home.page.part
    reading, go_on = asyncio.Event(), asyncio.Event()
    made = part.serving._made

    async def slow(request: web.Request, produce: Produce) -> View:
        view = await made(request, produce)
        reading.set()
        await go_on.wait()
        return view

    async with home.operator() as operator:
        monkeypatch.setattr(part.serving, "_made", slow)
        async with opened(operator, "/mappings") as stream:
            await reading.wait()
            part.sessions.end_all()
            go_on.set()
            assert await stream.next() == {"end": ""}


async def test_the_page_of_a_device_gets_only_parts_that_it_has(home: PageHome) -> None:
    """The script loads a page again that lacks a part, so that this one would be loaded without end."""
    await home.home.granted(3074)
    async with home.browser() as device, lan_page(home, CONSOLE_IP) as url:
        async with device.session.get(url) as answer:
            text = await answer.text()
        async with device.session.get(f"{url}live/") as answer:
            parts = await Stream(answer).next()
        assert "3074" in parts["live_own"]
        assert all(f'id="{name}"' in text for name in parts)
