"""The command line against an operator made of lists, on a real unix socket."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fixtures.fake_operator import ServedOperator, served
from upnp_gw.cli import main

Run = Callable[..., Result]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ServedOperator]:
    with served(tmp_path / "run") as daemon:
        yield daemon


@pytest.fixture
def upnp_gw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in 80 columns; those that talk to the daemon find it in the test's own directory."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("UPNP_GW_RUNTIME_DIR", str(tmp_path / "run"))

    def run(*arguments: str, **more: object) -> Result:
        return CliRunner().invoke(main, arguments, prog_name="upnp-gw", **more)  # type: ignore[arg-type]

    return run
