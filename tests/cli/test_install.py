"""``upnp-gw install`` at a terminal: it says each step, and refuses before it changes anything."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.cli.conftest import Run
from upnp_gw.cli import install as command
from upnp_gw.cli import main
from upnp_gw.installation.machine import DPKG_LIST, Machine
from upnp_gw.installation.own_environment import Copy


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(command, "Machine", lambda: Machine(tmp_path))
    monkeypatch.setattr(command, "running_copy", lambda: Copy("0.2.0", (), "b"))
    monkeypatch.setattr(command, "_mode", lambda: None)
    return tmp_path


def test_a_dry_run_names_every_step_and_changes_nothing(root: Path, upnp_gw: Run) -> None:
    for arguments in (["install"], ["install", "--remove"], ["install", "--remove", "--purge"]):
        done = upnp_gw(*arguments, "--dry-run")
        assert done.exit_code == 0
        assert done.output.startswith("Nothing is changed. The steps:\n- ")
        assert "/opt/upnp-gw" in done.output
    assert list(root.iterdir()) == []


def test_the_debian_package_is_named_before_anything_else(root: Path, upnp_gw: Run) -> None:
    (root / DPKG_LIST).parent.mkdir(parents=True)
    (root / DPKG_LIST).touch()
    for arguments in (["install"], ["install", "--dry-run"], ["install", "--remove"]):
        done = upnp_gw(*arguments)
        assert done.exit_code == 1
        assert "the Debian package upnp-gw is installed" in done.output


def test_another_user_than_root_is_refused(root: Path, upnp_gw: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = upnp_gw("install")
    assert (done.exit_code, list(root.iterdir())) == (1, [])
    assert "needs root" in done.output


def test_a_removal_asks(root: Path, upnp_gw: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    done = upnp_gw("install", "--remove")
    assert done.exit_code == 2
    assert "upnp-gw install --remove --yes" in done.output
    assert "stay in /etc/upnp-gw" in done.output


def test_purge_alone_is_wrong_usage() -> None:
    assert CliRunner().invoke(main, ["install", "--purge"]).exit_code == 2


def test_an_editable_checkout_says_what_to_do(root: Path, upnp_gw: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    done = CliRunner().invoke(main, ["install", "--dry-run"])
    assert (done.exit_code == 1) == ("pipx install" in done.output)
