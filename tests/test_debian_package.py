"""The Debian package: what can be seen without building it. ``tests/package.sh`` builds, judges and installs it."""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests import ROOT

DEBIAN = ROOT / "packaging" / "debian"
SCRIPTS = sorted(path for path in DEBIAN.iterdir() if path.suffix in (".postinst", ".prerm", ".postrm"))
SHELL = ("build.sh", "build_in_tree.sh")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_of_the_package_can_be_read_by_debians_shell(script: Path) -> None:
    shell = shutil.which("dash") or "/bin/sh"
    subprocess.run([shell, "-n", str(script)], check=True, timeout=10)
    text = script.read_text("utf-8")
    assert text.startswith("#!/bin/sh\nset -e\n")
    assert "#DEBHELPER#" in text


def test_the_scripts_are_those_that_dpkg_calls() -> None:
    assert [path.name for path in SCRIPTS] == ["upnp-gw.postinst", "upnp-gw.postrm", "upnp-gw.prerm"]


@pytest.mark.parametrize("name", SHELL)
def test_a_script_of_the_build_can_be_read_by_bash(name: str) -> None:
    subprocess.run(["bash", "-n", str(DEBIAN / name)], check=True, timeout=10)


def test_no_unit_is_started_or_enabled_by_the_installation_and_the_closed_table_by_no_upgrade() -> None:
    lines = re.findall(r"dh_installsystemd --name=(\S+) (.*)", (DEBIAN / "rules").read_text("utf-8"))
    assert sorted(name for name, _ in lines) == ["upnp-gw", "upnp-gw-closed", "upnp-gw-page"]
    for name, options in lines:
        assert options.split()[:2] == ["--no-enable", "--no-start"]
        after = "--no-stop-on-upgrade" if name == "upnp-gw-closed" else "--restart-after-upgrade"
        assert options.split()[2:] == [after]


def test_every_block_of_the_page_is_pasted_in_a_test() -> None:
    page = (ROOT / "docs" / "install-debian.md").read_text("utf-8")
    walk = (ROOT / "tests" / "package_walk.sh").read_text("utf-8")
    pasted = set(re.findall(r"paste_at \S+ (?:\"([^\"]+)\"|(\S+)) (\d)", walk))
    pasted |= set(re.findall(r"page_block \"\$PAGE\" (?:\"([^\"]+)\"|(\S+)) (\d)", walk))
    blocks = []
    for part in page.split("\n## ")[1:]:
        heading = part.partition("\n")[0]
        blocks += [(heading, str(number)) for number in range(1, part.count("\n```sh\n") + 1)]
    elsewhere = {("Build", "1"), ("The packages inside", "1")}  # the build itself, which takes minutes
    assert {(first or second, number) for first, second, number in pasted} == set(blocks) - elsewhere
    assert elsewhere < set(blocks)


def test_the_licences_of_all_packed_packages_are_named() -> None:
    """Here of the packages of this environment, which has those of the package."""
    done = subprocess.run(
        [sys.executable, str(DEBIAN / "copyright.py"), sysconfig.get_path("purelib"), str(ROOT / "LICENSE")],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    for name in ("aiohttp", "cryptography", "lxml", "msgspec", "uvloop", "yarl"):
        assert re.search(rf"^{name} \d", done.stdout, re.M), name
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" not in done.stdout, "Debian has that text"
    assert "/usr/share/common-licenses/Apache-2.0" in done.stdout
