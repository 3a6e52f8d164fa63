"""The control socket before its first connection, and if its code cannot be loaded."""

import asyncio
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.waiting import async_until
from upnp_gw.control import on_demand
from upnp_gw.control.on_demand import ControlOnDemand
from upnp_gw.control.socket_path import Claim

LATER = ("upnp_gw.api", "upnp_gw.control.server", "upnp_gw.doctor", "upnp_gw.suggest", "upnp_gw.client", "aiohttp")
"""Modules that a start does not load: only a command of the operator does."""


def test_a_router_that_starts_loads_no_commands() -> None:
    code = f"import sys, upnp_gw.daemon.process; print([name for name in {LATER!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]", found.stdout


async def connected(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(path)


async def test_the_first_connection_loads_the_server_which_answers_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Any] = []

    class Server:
        async def start(self) -> None:
            served.append("started")

        async def close(self) -> None:
            served.append("closed")

    monkeypatch.setattr("upnp_gw.control.build.control_server", lambda claim, parts: Server())
    claim = Claim(tmp_path)
    control = ControlOnDemand(claim, None)  # type: ignore[arg-type]
    control.start()
    await asyncio.sleep(0)
    assert served == []
    _, writer = await connected(claim.path)
    await async_until(lambda: served == ["started"])
    writer.close()
    await control.close()
    assert served == ["started", "closed"]
    claim.release()


async def test_a_program_that_was_replaced_on_the_disk_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    claim = Claim(tmp_path)
    control = ControlOnDemand(claim, None)  # type: ignore[arg-type]
    other = tmp_path / "other.py"
    other.write_text("")
    monkeypatch.setattr(on_demand, "PROGRAM", other)
    control.start()
    reader, writer = await connected(claim.path)
    with suppress(ConnectionResetError):
        assert await reader.read() == b"", "it is not left waiting"
    writer.close()
    assert "restart the daemon" in caplog.text
    assert not claim.path.exists()
    await control.close()


async def test_a_stop_before_the_first_connection(tmp_path: Path) -> None:
    claim = Claim(tmp_path)
    control = ControlOnDemand(claim, None)  # type: ignore[arg-type]
    control.start()
    await control.close()
    claim.release()
