"""Time that a test moves: a frozen clock stands still, and what falls due on the way happens in its order."""

import asyncio
import http.client
import socket
import time
from urllib.parse import urlsplit

import pytest

from tests.fixtures.waiting import async_until
from upnp_gw.testing import Emulator
from upnp_gw.testing.clock import MovableClock


def test_a_frozen_clock_changes_by_a_move_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen, moving = MovableClock(frozen=True), MovableClock()
    before, began = frozen(), moving()
    real = time.monotonic, time.time
    monkeypatch.setattr(time, "monotonic", lambda: real[0]() + 100)
    monkeypatch.setattr(time, "time", lambda: real[1]() + 100)
    assert frozen() == before
    assert moving().boot >= began.boot + 100
    assert moving().wall >= began.wall + 100
    assert frozen.running().boot >= before.boot + 100
    frozen.move_to(before.boot + 3600)
    assert frozen() == (before.boot + 3600, before.wall + 3600)
    assert frozen.running().boot >= before.boot + 3700
    frozen.move_to(before.boot)
    assert frozen.monotonic() == before.boot + 3600, "it does not go back"


@pytest.mark.parametrize("frozen", [True, False])
async def test_a_sleep_ends_by_a_move(frozen: bool) -> None:
    clock = MovableClock(frozen)
    sleeping = asyncio.create_task(clock.sleep(3600))
    await asyncio.sleep(0)
    clock.move_to(clock.monotonic() + 1800)
    await asyncio.sleep(0.01)
    assert not sleeping.done()
    clock.move_to(clock.monotonic() + 1801)
    await async_until(sleeping.done)


async def test_a_sleep_ends_by_itself() -> None:
    began = time.monotonic()
    await MovableClock(frozen=True).sleep(0.02)
    assert time.monotonic() - began >= 0.02


def test_a_kept_connection_ends_with_the_time_and_a_request_on_its_way_does_not() -> None:
    with Emulator() as igd:
        url = urlsplit(igd.location)
        assert url.hostname
        idle = http.client.HTTPConnection(url.netloc, timeout=5)
        idle.request("GET", url.path)
        idle.getresponse().read()
        with socket.create_connection((url.hostname, url.port or 80), timeout=5) as new:
            half = f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n"
            new.sendall(half.encode())
            igd.advance(hours=1)
            assert idle.sock.recv(1) == b"", "the gateway has closed it"
            new.sendall(b"\r\n")
            assert new.recv(15) == b"HTTP/1.1 200 OK"
        idle.close()
