"""The fixture ``igd`` in a pytest of its own, with the examples of docs/testing.md; and what it costs others."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import ROOT

PAGE = (ROOT / "docs" / "testing.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)


def run_pytest(directory: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (directory / "test_it.py").write_text(text, "utf-8")
    plugin = ["-p", "upnp_gw.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:asyncio", "--strict-markers"]
    argv = [sys.executable, "-m", "pytest", "-q", *plugin, *options, "test_it.py"]
    return subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=120)


def test_the_first_example_of_the_page_ends_as_the_page_says(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, next(block for block in BLOCKS if "(igd)" in block))
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    failure = next(line for line in PAGE.splitlines() if line.startswith("E "))
    assert failure.strip() in done.stdout


@pytest.mark.parametrize("block", [block for block in BLOCKS if "(igd)" not in block])
def test_each_other_example_of_the_page_runs(tmp_path: Path, block: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", block], check=True, timeout=60)


def test_the_marker_has_the_options_of_the_emulator(tmp_path: Path) -> None:
    text = (
        "import pytest\n"
        "@pytest.mark.igd(external_address='9.9.9.9', nat=False)\n"
        "def test_it(igd):\n"
        "    assert igd.external_address == '9.9.9.9'\n"
    )
    done = run_pytest(tmp_path, text)
    assert "1 passed" in done.stdout, done.stdout


def test_a_run_that_does_not_use_it_loads_one_small_module(tmp_path: Path) -> None:
    code = (
        "import sys, pytest; before = set(sys.modules)\n"
        "import upnp_gw.pytest_plugin; print(*set(sys.modules) - before)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) == {"upnp_gw", "upnp_gw.pytest_plugin"}


def test_the_distribution_names_the_plugin_as_its_module() -> None:
    """The same name as with ``-p``, so that pytest does not register it twice."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"upnp_gw.pytest_plugin": "upnp_gw.pytest_plugin"}
