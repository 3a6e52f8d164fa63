"""A user's test file under mypy --strict: what is right passes, and mistakes are found before the test runs."""

import subprocess
import sys
from pathlib import Path

from tests import ROOT

RIGHT = """
from collections.abc import Iterator

import pytest
from upnp_gw.testing import Emulator, HeldMapping, Records, Request


def only_permanent(request: Request) -> int | None:
    return 725 if request.arguments["NewLeaseDuration"] != "0" else None


@pytest.fixture
def small() -> Iterator[Emulator]:
    with Emulator(versions=(1,), external_address="") as igd:
        yield igd


@pytest.mark.igd(nat=False)
def test_it(igd: Emulator) -> None:
    igd.answer("AddPortMapping", only_permanent)
    with igd.fault("reset", "GET", times=1) as fault:
        assert not fault.struck
    held: HeldMapping = igd.mappings.wait_for(external_port=80)
    lease: int = held.lease_s
    rows: Records[Request] = igd.requests.of("GET", path="/igd2.xml")[1:]
    igd.advance(hours=1)
    assert lease
    assert rows


async def test_here() -> None:
    async with Emulator() as igd:
        await igd.advance(seconds=1)
        reveal_type(await igd.requests.async_wait_for("GET"))
        reveal_type(igd.subscribers[0])
        reveal_type(igd.events.find(seq=0))
        reveal_type(igd.answer("GET", error=404))
"""
WRONG = """
from upnp_gw.testing import Emulator

def test_mistakes(igd: Emulator) -> None:
    Emulator(nats=True)
    print(igd.mapings)
    igd.advance(weeks=1)
    print(igd.mappings.one().port)
"""


def strict(directory: Path, text: str) -> tuple[int, str]:
    """The exit code and the output of mypy."""
    (directory / "test_it.py").write_text(text, "utf-8")
    argv = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(directory / "cache"), "test_it.py"]
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout


def test_a_users_test_file_under_mypy_strict(tmp_path: Path) -> None:
    code, output = strict(tmp_path, RIGHT)
    assert code == 0, output
    for name in ("Request", "Subscriber", "SentEvent", "FaultInForce"):
        assert f".{name}" in output, output
    code, output = strict(tmp_path, WRONG)
    assert code == 1
    for mistake in ("nats", "mapings", "weeks", "port"):
        assert f'"{mistake}"' in output, output


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "upnp_gw" / "py.typed").read_bytes() == b""
