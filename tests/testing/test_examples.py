"""The example clients of examples/clients: their own tests, in a pytest of their own."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import ROOT

DEBIAN = [ROOT / "examples" / "clients" / "shell"]
"""They need upnpc and natpmpc."""
CLIENTS = [
    pytest.param(path, marks=pytest.mark.lab if path in DEBIAN else ())
    for path in sorted((ROOT / "examples" / "clients").iterdir())
]


def test_there_are_examples() -> None:
    assert len(CLIENTS) == 3


@pytest.mark.parametrize("client", CLIENTS, ids=lambda path: str(path.name))
def test_an_example_is_a_project_of_its_own(client: Path) -> None:
    project = tomllib.loads((client / "pyproject.toml").read_text("utf-8"))["project"]
    assert "upnp-gw" in project["optional-dependencies"]["test"]
    assert "python -m pytest" in (client / "README.md").read_text("utf-8")


@pytest.mark.parametrize("client", CLIENTS, ids=lambda path: str(path.name))
def test_the_tests_of_an_example_client_pass(client: Path) -> None:
    plugin = ["-p", "upnp_gw.pytest_plugin", "-p", "no:cacheprovider"]
    if "pytest-asyncio" not in (client / "pyproject.toml").read_text("utf-8"):
        plugin += ["-p", "no:asyncio"]
    argv = [sys.executable, "-B", "-m", "pytest", "-q", "-W", "error", *plugin]
    done = subprocess.run(argv, cwd=client, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
