"""The program imports only packages that pyproject.toml declares, and the daemon loads no client."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

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
    code = "import sys, upnp_gw.cli.run, upnp_gw.daemon; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "uvloop" in loaded or "lxml" in loaded, "the list is one of modules"
    assert not {name for name in loaded if name.partition(".")[0] in CLIENT_ONLY}
    assert not {name for name in loaded if name.startswith(("upnp_gw.lab", "upnp_gw.client", "upnp_gw.testing"))}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_dependency_is_pinned_with_hashes(name: str) -> None:
    text = (ROOT / ".ci" / name).read_text("utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==\S+ .*\\\n((?:    --hash=sha256:\S+(?: \\)?\n)+)", text, re.MULTILINE))
    expected = DECLARED if name == "requirements.txt" else names(PROJECT["optional-dependencies"]["dev"])
    assert expected <= {package.replace("-", "_") for package in pinned}
