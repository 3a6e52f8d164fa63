"""The example clients of examples/clients: their own tests, in a pytest of their own."""

import subprocess
import sys
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
    assert CLIENTS


@pytest.mark.parametrize("client", CLIENTS, ids=lambda path: str(path.name))
def test_the_tests_of_an_example_client_pass(client: Path) -> None:
    plugin = ["-p", "upnp_gw.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    argv = [sys.executable, "-B", "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(client), *plugin, "."]
    done = subprocess.run(argv, cwd=client, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
