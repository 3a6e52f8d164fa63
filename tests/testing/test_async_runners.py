"""The fixture ``igd`` and ``async with`` under the runners of asynchronous tests, in a pytest of their own."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from upnp_gw.testing import Emulator

BODY = """
import asyncio
import pytest
from upnp_gw.testing import Emulator

async def fetch(location):
    authority, _, path = location.removeprefix("http://").partition("/")
    reader, writer = await asyncio.open_connection(*authority.split(":"))
    writer.write(f"GET /{path} HTTP/1.1\\r\\nHost: {authority}\\r\\nConnection: close\\r\\n\\r\\n".encode())
    status = await reader.readline()
    writer.close()
    return status

MARK
async def test_the_fixture(igd):
    assert b"200 OK" in await fetch(igd.location)
    assert (await igd.requests.async_wait_for("GET")).client == "127.0.0.1"
    await igd.advance(hours=1)
    assert igd.requests.one().at_s == 0

FIXTURE
async def router():
    async with Emulator() as igd:
        yield igd

MARK
async def test_on_the_loop_of_the_test(router):
    assert b"200 OK" in await fetch(router.location)
    await router.advance(hours=1)
    await router.reboot()
    assert (await router.requests.async_wait_for("GET")).at_s == 0
"""
RUNNERS = {
    "pytest-asyncio": (
        "pytest.mark.asyncio",
        "__import__('pytest_asyncio').fixture",
        ["-o", "asyncio_default_fixture_loop_scope=function"],
    ),
    "anyio": ("pytest.mark.anyio", "pytest.fixture", ["-p", "no:asyncio"]),
}
BACKEND = "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"


@pytest.mark.parametrize("runner", RUNNERS)
def test_asynchronous_tests_of_each_runner(tmp_path: Path, runner: str) -> None:
    mark, fixture, options = RUNNERS[runner]
    text = BODY.replace("MARK", f"@{mark}").replace("FIXTURE", f"@{fixture}")
    (tmp_path / "test_it.py").write_text(text + BACKEND * (runner == "anyio"), "utf-8")
    plugin = [
        "-p",
        "upnp_gw.pytest_plugin",
        "-p",
        "no:cacheprovider",
        "-W",
        "error::pytest.PytestWarning",
        *options,
    ]
    argv = [sys.executable, "-m", "pytest", "-q", *plugin, "test_it.py"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_plain_asyncio() -> None:
    async def use() -> None:
        async with Emulator() as igd:
            await igd.advance(days=1)
            with pytest.raises(AssertionError, match="no request"):
                await igd.requests.async_wait_for("GET", timeout_s=0.01)

    asyncio.run(use())
