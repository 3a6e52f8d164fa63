"""The fixture ``igd`` in a pytest of its own, with the examples of docs/testing.md; and what it costs others."""

import os
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


def test_the_wheel_has_all_that_the_first_example_needs(tmp_path: Path) -> None:
    """A newcomer's walk, but for the packages of others: pip finds the plugin by itself."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(wheels), str(ROOT)]
    subprocess.run([*pip, *build], check=True, capture_output=True, timeout=120)
    (wheel,) = wheels.iterdir()
    install = ["install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run([*pip, *install], check=True, capture_output=True, timeout=120)
    (tmp_path / "test_it.py").write_text(
        next(block for block in BLOCKS if "(igd)" in block)
        + "\n\ndef test_place():\n    import upnp_gw\n    assert 'site' in upnp_gw.__file__\n"
    )
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "test_it.py"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert "1 failed, 2 passed" in done.stdout, done.stdout
    assert (site / "upnp_gw" / "py.typed").exists()


MANY = """
import urllib.request
from pathlib import Path
import pytest
from upnp_gw.testing import Emulator

KEPT = []

@pytest.mark.parametrize("number", range(100))
def test_one_of_many(number):
    igd = Emulator()
    igd.start()
    KEPT.append(igd)
    Path("addresses", igd.gateway_address).touch(exist_ok=False)
    assert (igd.pcp_address[1], igd.search_address[1]) == (5351, 1900)
    for each in (KEPT[0], igd):
        each.requests.clear()
        urllib.request.urlopen(each.location).read()
        assert len(each.requests) == 1
"""


def test_a_hundred_beside_each_other_under_xdist(tmp_path: Path) -> None:
    """Two processes, each of which keeps its emulators: at the end all of them serve at the same time."""
    (tmp_path / "addresses").mkdir()
    done = run_pytest(tmp_path, MANY, "-n", "2")
    assert "100 passed" in done.stdout, done.stdout
    assert len(list((tmp_path / "addresses").iterdir())) == 100


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
    # an installation has the number of its version in a module that the build wrote
    assert set(loaded) - {"upnp_gw._version"} == {"upnp_gw", "upnp_gw.pytest_plugin"}


def test_the_distribution_names_the_plugin_as_its_module() -> None:
    """The same name as with ``-p``, so that pytest does not register it twice."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"upnp_gw.pytest_plugin": "upnp_gw.pytest_plugin"}
