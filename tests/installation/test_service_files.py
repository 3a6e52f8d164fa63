"""The files of the service: one text for the checkout, packages and ``upnp-gw install``."""

import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from tests import ROOT
from upnp_gw.installation.service_files import (
    OWN_PROGRAM,
    UNITS,
    USERS,
    WAN,
    Layout,
    forwarding_files,
    router_files,
    service_files,
    unit,
)

HERE = ROOT / "examples" / "systemd"


def test_every_file_of_the_directory_has_its_place() -> None:
    used = {*UNITS, *(f"{user}-{kind}.conf" for user in USERS for kind in ("sysusers", "tmpfiles"))}
    used |= {"upnp-gw-router.conf", "closed.nft", "upnp-gw-sysctl.conf"}
    assert {path.name for path in HERE.iterdir()} == used


@pytest.mark.parametrize("layout", list(Layout))
def test_the_texts_are_those_of_the_checkout_with_another_program(layout: Layout) -> None:
    files = service_files(layout, "/usr/bin/upnp-gw")
    assert {place.parts[0] for place in files} == {layout.value.parts[0]}
    for place, text in files.items():
        kind = place.parent.name.removesuffix(".d")
        name = place.name if place.suffix == ".service" else f"{place.stem}-{kind}.conf"
        shown = text.replace("Documentation=man:upnp-gw(1)\n", "")
        assert shown == (HERE / name).read_text().replace(OWN_PROGRAM, "/usr/bin/upnp-gw")
    assert not any(OWN_PROGRAM in text for text in files.values())


def test_the_units_start_the_program_and_name_its_manual() -> None:
    for name in UNITS:
        text = unit(name, "/usr/bin/upnp-gw")
        assert text.count("Documentation=man:upnp-gw(1)\n") == 1
        starts = [line for line in text.splitlines() if line.startswith("ExecStart=")]
        assert len(starts) == 1
        assert starts[0].startswith(("ExecStart=/usr/bin/upnp-gw ", "ExecStart=/usr/sbin/nft "))


def test_router_mode_has_the_name_of_the_wan() -> None:
    files = router_files("ppp0")
    assert WAN in (HERE / "closed.nft").read_text()
    assert 'define WAN = "ppp0"' in files[PurePosixPath("etc/upnp-gw/closed.nft")]
    assert all(place.parts[0] == "etc" for place in (*files, *forwarding_files()))


def test_the_tree_of_a_package_has_all_files(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "packaging" / "tree.py"), str(tmp_path)]
    environ = {**os.environ, "SOURCE_DATE_EPOCH": "1777593600"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environ)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == set(done.stdout.split())
    assert found >= {
        "usr/lib/systemd/system/upnp-gw.service",
        "usr/lib/sysusers.d/upnp-gw.conf",
        "usr/share/man/man1/upnp-gw.1",
        "usr/share/man/man5/upnp-gw.toml.5",
        "usr/share/bash-completion/completions/upnp-gw",
        "usr/share/zsh/vendor-completions/_upnp-gw",
        "usr/share/fish/vendor_completions.d/upnp-gw.fish",
    }
    assert '"2026-05-01"' in (tmp_path / "usr/share/man/man1/upnp-gw.1").read_text()
