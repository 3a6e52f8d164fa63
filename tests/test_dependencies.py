"""The program imports only packages that pyproject.toml declares, and the daemon loads no client."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import ROOT

PACKAGE = ROOT / "upnp_gw"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
FROM_DEBIAN = {"nftables"}
"""libnftables' own Python bindings. No package index has them."""
CLIENT_ONLY = {"async_upnp_client", "didl_lite", "defusedxml", "voluptuous"}


def names(requirements: list[str]) -> set[str]:
    """The packages of a list of requirements, as they are imported."""
    return {re.split(r"[^\w-]", requirement)[0].replace("-", "_") for requirement in requirements}


def imports(paths: list[Path]) -> set[str]:
    """The packages that these modules import from elsewhere."""
    found: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"upnp_gw"} - FROM_DEBIAN


DECLARED = names(PROJECT["dependencies"])
LAB = sorted((PACKAGE / "lab").rglob("*.py"))
CLIENT = sorted((PACKAGE / "client").rglob("*.py"))
PLUGIN = [PACKAGE / "pytest_plugin.py"]
ROUTER = sorted(set(PACKAGE.rglob("*.py")) - set(LAB) - set(CLIENT) - set(PLUGIN))


def test_every_dependency_is_imported_and_every_import_is_declared() -> None:
    assert imports([*ROUTER, *CLIENT]) == DECLARED


def test_the_extra_declares_the_packages_of_the_lab() -> None:
    assert imports(LAB) <= DECLARED | names(PROJECT["optional-dependencies"]["lab"])
    assert imports(LAB) - imports(ROUTER) == names(PROJECT["optional-dependencies"]["lab"])


def test_the_extra_declares_the_packages_of_the_plugin() -> None:
    assert imports(PLUGIN) == names(PROJECT["optional-dependencies"]["testing"])


def test_a_router_imports_no_client() -> None:
    assert not imports(ROUTER) & CLIENT_ONLY
    code = "import sys, upnp_gw.cli.run, upnp_gw.daemon.process; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "uvloop" in loaded or "lxml" in loaded, "the list is one of modules"
    assert not {name for name in loaded if name.partition(".")[0] in CLIENT_ONLY}
    assert not {name for name in loaded if name.startswith(("upnp_gw.lab", "upnp_gw.client", "upnp_gw.testing"))}


EXPECTED = {
    "requirements.txt": DECLARED,
    "requirements-dev.txt": names(PROJECT["optional-dependencies"]["dev"]),
    "requirements-docs.txt": {"furo", "myst_parser", "sphinx"},
}
"""List of pinned packages -> those that it is made for."""


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items())
def test_every_dependency_is_pinned_with_hashes(name: str, expected: set[str]) -> None:
    text = (ROOT / ".ci" / name).read_text("utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==\S+ .*\\\n((?:    --hash=sha256:\S+(?: \\)?\n)+)", text, re.MULTILINE))
    assert len(pinned) == len(re.findall(r"^[\w-]+==", text, re.MULTILINE))
    assert expected <= {package.replace("-", "_") for package in pinned}


def pinned_for(python: str) -> set[str]:
    """The packages that the lists of the tests install with this Python, such as 3.13."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    found: set[str] = set()
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / ".ci" / name).read_text("utf-8")
        for line in re.findall(r"^[A-Za-z].*==.*(?= \\$)", text, re.MULTILINE):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(environment):
                found.add(canonicalize_name(requirement.name))
    return found


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_what_a_pinned_package_needs_is_pinned_for_each_python(python: str) -> None:
    """pip refuses a list with hashes that leaves out what one of its packages needs on another Python."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    pinned = pinned_for(python)
    missing = {
        f"{needed.name} for {package.name}"
        for package in distributions()
        if canonicalize_name(package.name) in pinned
        for needed in map(Requirement, package.requires or [])
        if needed.marker is None or needed.marker.evaluate(environment)
        if canonicalize_name(needed.name) not in pinned
    }
    assert "pytest" in pinned
    assert not missing
