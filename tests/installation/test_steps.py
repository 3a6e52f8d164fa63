"""The steps of ``upnp-gw install`` and of its removal, in a directory that stands for the machine."""

import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pytest

from upnp_gw.installation import machine as machine_module
from upnp_gw.installation import steps
from upnp_gw.installation.machine import DPKG_LIST, SYSTEMD, Machine
from upnp_gw.installation.own_environment import COMPLETE, CannotInstall, Copy
from upnp_gw.installation.programs import Result
from upnp_gw.installation.service_files import Layout, service_files
from upnp_gw.installation.steps import Step, install_steps, remove_steps

MANUAL = {PurePosixPath("share/man/man1/upnp-gw.1"): ".TH x\n"}
OLD, NEW = Copy("0.1.0", (), "a"), Copy("0.2.0", (), "b")


class Programs:
    """Answers as systemd does, and remembers the commands."""

    def __init__(self, active: Iterable[str] = ()) -> None:
        self.active = set(active)
        self.commands: list[str] = []

    def run(self, argv: Iterable[str], seconds: float = 0) -> Result:
        command = " ".join(argv)
        if "is-active" in command:
            return Result(0 if command.split()[-1] in self.active else 3, "")
        if command.startswith("systemctl cat"):
            return Result(0, "")
        self.commands.append(command)
        return Result(0, "")


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    programs = Programs()
    monkeypatch.setattr(machine_module, "run", programs.run)
    return programs


@pytest.fixture
def machine(tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / SYSTEMD).mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")

    def made(copy: Copy, environment: Path) -> None:
        (environment / "bin").mkdir(parents=True)
        (environment / "bin" / "upnp-gw").write_text(copy.version)
        (environment / COMPLETE).touch()

    monkeypatch.setattr(steps, "make_environment", made)
    return Machine(tmp_path)


def perform(every: Iterable[Step]) -> list[str]:
    """Does what is needed; returns it."""
    done = []
    for step in every:
        if step.needed:
            step.act()
            done.append(step.text)
    return done


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def program_in_use(root: Path) -> str:
    """The program behind the link; absolute links are below the root."""
    target = (root / steps.LINK).readlink()
    return (root / target.relative_to("/")).read_text()


def test_an_installation_has_program_units_users_and_pages(machine: Machine, programs: Programs) -> None:
    perform(install_steps(machine, OLD, MANUAL))
    assert program_in_use(machine.root) == "0.1.0"
    for place, text in service_files(Layout.ADMINISTRATOR).items():
        assert (machine.root / place).read_text() == text
    assert (machine.root / "usr/local/share/man/man1/upnp-gw.1").exists()
    assert (machine.root / "etc/upnp-gw").is_dir()
    assert programs.commands == ["systemd-sysusers", "systemctl daemon-reload"], (
        "nothing runs that could be restarted"
    )


def test_a_second_run_changes_nothing(machine: Machine, programs: Programs) -> None:
    perform(install_steps(machine, OLD, MANUAL))
    (machine.root / "etc/passwd").write_text("upnp-gw:x:999:\nupnp-gw-page:x:998:\n")
    programs.active = {"upnp-gw.service"}
    before, done = tree(machine.root), perform(install_steps(machine, OLD, MANUAL))
    assert (tree(machine.root), done) == (before, []), "it restarts nothing either"


def test_an_upgrade_restarts_what_runs_and_leaves_one_version(machine: Machine, programs: Programs) -> None:
    perform(install_steps(machine, OLD, MANUAL))
    (machine.root / "etc/upnp-gw/config.toml").write_text("# mine\n")
    programs.active = {"upnp-gw.service"}
    done = perform(install_steps(machine, NEW, MANUAL))
    assert "restart upnp-gw.service; mappings stay open" in done
    assert programs.commands[-1] == "systemctl restart upnp-gw.service"
    assert program_in_use(machine.root) == "0.2.0"
    assert [path.name for path in (machine.root / steps.VERSIONS).iterdir()] == ["0.2.0-b"]
    assert (machine.root / "etc/upnp-gw/config.toml").read_text() == "# mine\n"
    perform(install_steps(machine, OLD, MANUAL))
    assert program_in_use(machine.root) == "0.1.0", "an older copy is installed likewise"


def test_the_environment_of_the_readme_makes_place(machine: Machine) -> None:
    (machine.root / "opt/upnp-gw/bin").mkdir(parents=True)
    (machine.root / "opt/upnp-gw/pyvenv.cfg").write_text("")
    perform(install_steps(machine, NEW, MANUAL))
    assert program_in_use(machine.root) == "0.2.0"
    assert not (machine.root / "opt/upnp-gw/pyvenv.cfg").exists()


def test_without_systemd_there_are_no_units(machine: Machine, programs: Programs) -> None:
    (machine.root / SYSTEMD).rmdir()
    perform(install_steps(machine, NEW, MANUAL))
    assert programs.commands == []
    assert not (machine.root / "etc/systemd").exists()
    assert program_in_use(machine.root) == "0.2.0"


DROP_IN = "etc/systemd/system/upnp-gw.service.d/router.conf"


def write(root: Path, names: set[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")


def test_the_removal_leaves_configuration_and_state(machine: Machine, programs: Programs) -> None:
    before = tree(machine.root)
    perform(install_steps(machine, NEW, MANUAL))
    stay = {"etc/upnp-gw/config.toml", "var/lib/upnp-gw/ledger.db", DROP_IN, "etc/sysctl.d/60-upnp-gw.conf"}
    write(machine.root, stay)
    closed: list[bool] = []
    perform(remove_steps(machine, MANUAL, lambda: closed.append(True), purge=False))
    assert closed == [True]
    left = {name for name in tree(machine.root) - before if (machine.root / name).is_file()}
    assert left == stay
    assert (
        "systemctl disable --now upnp-gw.service upnp-gw-page.service upnp-gw-closed.service" in programs.commands
    )


def test_a_purge_leaves_nothing(machine: Machine, programs: Programs) -> None:
    perform(install_steps(machine, NEW, MANUAL))
    write(machine.root, {"var/lib/upnp-gw/ledger.db", DROP_IN, "etc/sysctl.d/60-upnp-gw.conf"})
    (machine.root / "etc/passwd").write_text("upnp-gw:x:999:\nupnp-gw-page:x:998:\n")
    perform(remove_steps(machine, MANUAL, lambda: None, purge=True))
    assert [name for name in tree(machine.root) if "upnp-gw" in name] == []
    assert programs.commands[-2:] == ["userdel upnp-gw-page", "userdel upnp-gw"]


def test_a_command_of_another_origin_stays(machine: Machine) -> None:
    (machine.root / "usr/local/bin").mkdir(parents=True)
    (machine.root / steps.LINK).symlink_to("/opt/pipx/bin/upnp-gw")
    perform(remove_steps(machine, MANUAL, lambda: None, purge=False))
    assert (machine.root / steps.LINK).is_symlink()


def test_a_step_that_is_shown_only_changes_nothing(machine: Machine, programs: Programs) -> None:
    before = tree(machine.root)
    shown = [step.text for step in install_steps(machine, NEW, MANUAL)]
    shown += [step.text for step in remove_steps(machine, MANUAL, lambda: None, purge=True)]
    assert (tree(machine.root), programs.commands) == (before, [])
    assert len(shown) > 12
    assert all(not text.endswith(".") and "lambda" not in text for text in shown)


def test_the_installed_program_does_not_install_itself(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell finds it before the copy of pipx: an upgrade would do nothing, and say that all is done."""
    steps.check_origin(machine)
    monkeypatch.setattr(sys, "prefix", str(machine.root / steps.VERSIONS / OLD.name))
    with pytest.raises(CannotInstall, match=r"this program is the installed one.*pipx"):
        steps.check_origin(machine)


def test_the_debian_package_keeps_the_machine(machine: Machine) -> None:
    machine.check_package()
    (machine.root / DPKG_LIST).parent.mkdir(parents=True)
    (machine.root / DPKG_LIST).touch()
    with pytest.raises(CannotInstall, match=r"Debian package.*apt remove upnp-gw"):
        machine.check_package()


def test_a_program_that_fails_ends_the_installation(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "run", lambda argv: Result(1, "no bus"))
    with pytest.raises(CannotInstall, match="systemd-sysusers: no bus"):
        perform(install_steps(machine, NEW, MANUAL))
