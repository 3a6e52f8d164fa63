"""``packaging/sbom.py``: every package that the program needs, as pinned, and none that only builds it."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.test_dependencies import DECLARED

SCRIPT = ROOT / "packaging" / "sbom.py"


def made(script: Path = SCRIPT) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "SOURCE_DATE_EPOCH": "1777593600"}
    command = [sys.executable, str(script)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environ)


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads(made().stdout)


def test_it_has_every_package_that_the_program_needs(document: Any) -> None:
    found = {component["name"]: component for component in document["components"]}
    assert found.keys() >= {name.replace("_", "-") for name in DECLARED}
    assert not found.keys() & {"hatchling", "hatch-vcs", "setuptools", "editables", "pytest"}
    assert {"markupsafe", "yarl", "typing-extensions"} <= found.keys(), "those of packages, and of other Pythons"
    for name, component in found.items():
        assert component["purl"] == f"pkg:pypi/{name}@{component['version']}"
    assert found["lxml"]["version"] == version("lxml")
    assert all(found[name].get("licenses") for name in ("aiohttp", "lxml", "msgspec", "uvloop"))


def test_it_names_the_libraries_in_wheels(document: Any) -> None:
    """Most flaws are in those, and the package's own version does not tell them."""
    inside = {part["name"]: part["version"] for one in document["components"] for part in one.get("components", [])}
    assert inside.keys() == {"libxml2", "libxslt", "openssl", "libuv"}
    assert all(number[0].isdigit() for number in inside.values())


def test_every_dependency_leads_to_a_component(document: Any) -> None:
    known = {component["bom-ref"] for component in document["components"]}
    own = document["metadata"]["component"]["bom-ref"]
    graph = {entry["ref"]: set(entry["dependsOn"]) for entry in document["dependencies"]}
    assert graph.keys() == known | {own}
    assert set().union(*graph.values()) == known
    assert len(known) == len(document["components"])


def test_the_same_pins_make_the_same_document(document: Any) -> None:
    again = made()
    assert json.loads(again.stdout) == document
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["timestamp"] == "2026-05-01T00:00:00Z"


def test_another_version_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "packaging").mkdir()
    (tmp_path / ".ci").mkdir()
    (tmp_path / "packaging" / "sbom.py").write_text(SCRIPT.read_text())
    pins = (ROOT / ".ci" / "requirements.txt").read_text()
    (tmp_path / ".ci" / "requirements.txt").write_text(pins.replace(f"lxml=={version('lxml')}", "lxml==1.0"))
    done = made(tmp_path / "packaging" / "sbom.py")
    assert done.returncode == 1
    assert "lxml" in done.stderr
    assert "1.0 is pinned" in done.stderr
    assert done.stdout == ""
