"""The loop of an emulator: a thread's, or that of an asynchronous test."""

import asyncio
import threading
import urllib.request

import pytest

from upnp_gw.testing import Emulator, host


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def blocked(location: str) -> int:
    """A client that stops the loop."""
    return int(urllib.request.urlopen(location, timeout=5).status)


async def read(location: str) -> bytes:
    """A client that leaves the loop free."""
    authority, _, path = location.removeprefix("http://").partition("/")
    address, _, port = authority.partition(":")
    reader, writer = await asyncio.open_connection(address, int(port))
    writer.write(f"GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


async def test_async_with_runs_on_the_loop_of_the_test() -> None:
    before = threads()
    async with Emulator() as igd:
        assert "emulated router" not in threads()
        assert (await read(igd.location)).startswith(b"HTTP/1.1 200 OK")
        assert igd.requests.of("GET").one().answers
    assert threads() == before
    with pytest.raises(RuntimeError, match="not started"):
        _ = igd.location


async def test_a_change_that_was_not_awaited_is_an_error_of_the_next_look() -> None:
    async with Emulator() as igd:
        done = igd.change_wan(external_address="9.9.9.9")
        with pytest.raises(RuntimeError, match=r"await igd\.advance"):
            _ = igd.mappings
        await done
        assert igd.external_address == "9.9.9.9"
        await igd.reboot()
        with pytest.raises(ValueError, match=r"1\.2\.3"):
            await igd.change_wan(external_address="1.2.3")
        igd.advance(hours=1)  # the end of the block waits for it


async def test_with_uses_a_thread_so_that_a_client_may_block_the_loop() -> None:
    with Emulator() as igd:
        assert "emulated router" in threads()
        assert blocked(igd.location) == 200
        await igd.advance(hours=1)
        await igd.change_wan(external_address="9.9.9.9")
        assert igd.external_address == "9.9.9.9"
    assert "emulated router" not in threads()


async def test_a_loop_that_cannot_wait_for_sockets_gets_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_waits_for_sockets", lambda loop: False)
    async with Emulator() as igd:
        assert "emulated router" in threads()
        await igd.advance(hours=1)
    assert "emulated router" not in threads()


def test_a_loop_that_is_not_asyncios_gets_a_thread() -> None:
    """As trio's."""

    async def use() -> None:
        async with Emulator() as igd:
            assert "emulated router" in threads()
            await igd.advance(hours=1)

    with pytest.raises(StopIteration):
        use().send(None)
    assert "emulated router" not in threads()


def test_a_function_that_answers_may_look_at_the_emulator() -> None:
    with Emulator() as igd:
        seen = []
        igd.answer("GetExternalIPAddress", lambda request: seen.append(len(igd.requests)))
        url = igd.control_url("WANIPConnection")
        urn = "urn:schemas-upnp-org:service:WANIPConnection:2"
        body = (
            '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
            f'<u:GetExternalIPAddress xmlns:u="{urn}"/></s:Body></s:Envelope>'
        )
        head = {"SOAPACTION": f'"{urn}#GetExternalIPAddress"', "Content-Type": "text/xml"}
        urllib.request.urlopen(urllib.request.Request(url, body.encode(), head)).read()
        assert seen == [1]


async def test_it_starts_once_and_again_after_a_stop() -> None:
    igd = Emulator()
    for _ in range(2):
        with igd:
            with pytest.raises(RuntimeError, match="started already"):
                igd.start()
            with pytest.raises(RuntimeError, match="started already"):
                await igd.__aenter__()
            assert blocked(igd.location) == 200
        async with igd:
            assert await read(igd.location)
    igd.stop()


async def test_a_start_that_failed_leaves_nothing() -> None:
    igd = Emulator(policy="version = 2")
    for _ in range(2):
        with pytest.raises(Exception, match="version"):
            igd.start()
        with pytest.raises(Exception, match="version"):
            async with igd:
                pass
    assert "emulated router" not in threads()
