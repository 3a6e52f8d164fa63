"""The copy of the program in an environment of its own: whole, for every user, from a copy that allows it."""

import importlib.metadata
import json
import os
import subprocess
import sys
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from upnp_gw.installation import own_environment
from upnp_gw.installation.own_environment import (
    CannotInstall,
    Copy,
    is_complete,
    make_environment,
    running_copy,
)

PROGRAM = "import sys, needed\ndef main():\n    print(needed.NAME, sys.prefix, *sys.argv[1:])\n    return 3\n"


def package(site: Path, name: str, files: dict[str, str], requires: tuple[str, ...] = ()) -> PathDistribution:
    """An installed package with these files."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    for file, text in files.items():
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text(text)
    lines = "".join(f"Requires-Dist: {each}\n" for each in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{lines}")
    listed = [*files, f"{info.name}/METADATA", f"{info.name}/RECORD", f"../../../bin/{name}", "__pycache__/x.pyc"]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in listed))
    return PathDistribution(info)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site-packages with a program and a package that it needs, alone on the path."""
    site = tmp_path / "site-packages"
    own = {"upnp_gw/__init__.py": "", "upnp_gw/cli.py": PROGRAM, "upnp_gw/data.txt": "data"}
    requires = ("Need_ed>=1; python_version > '3'", "not-here; os_name == 'nt'", "pytest; extra == 'testing'")
    package(site, "upnp-gw", own, requires)
    package(site, "need-ed", {"needed.py": "NAME = 'needed'\n"}, ("upnp-gw",))
    package(site, "another", {"another.py": ""})
    monkeypatch.setattr(sys, "path", [str(site)])
    importlib.invalidate_caches()
    return site


def test_the_copy_has_the_program_and_what_it_needs(site: Path) -> None:
    copy = running_copy()
    assert [each.metadata["Name"] for each in copy.packages] == ["upnp-gw", "need-ed"]
    assert copy.version == "1.0"
    assert running_copy().fingerprint == copy.fingerprint
    record = site / "need_ed-1.0.dist-info" / "RECORD"
    record.write_text(record.read_text().replace(",,", ",sha256=x,"))
    assert running_copy().fingerprint != copy.fingerprint, "another content is another environment"


def test_the_environment_runs_without_the_copy_it_was_made_of(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, environment = running_copy(), tmp_path / "opt" / "made"
    (environment / "left").mkdir(parents=True)
    before = os.umask(0o077)
    try:
        monkeypatch.undo()
        make_environment(copy, environment)
    finally:
        os.umask(before)
    assert is_complete(environment)
    assert not (environment / "left").exists(), "what an interrupted run left"
    site.rename(tmp_path / "gone")
    program = environment / "bin" / "upnp-gw"
    done = subprocess.run([program, "list"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, f"needed {environment} list\n"), done.stderr
    files = [path for path in environment.rglob("*") if not path.is_symlink()]
    assert {path.stat().st_mode & 0o777 for path in files if path.is_dir()} == {0o755}
    assert {path.stat().st_mode & 0o777 for path in files if path.is_file()} == {0o644, 0o755}
    names = {path.name for path in environment.rglob("*")}
    assert "data.txt" in names
    assert any(name.startswith("needed.") and name.endswith(".pyc") for name in names), (
        "the service cannot write it"
    )
    assert "another.py" not in names


def test_an_interrupted_copy_is_not_complete(site: Path, tmp_path: Path) -> None:
    (site / "needed.py").unlink()
    with pytest.raises(FileNotFoundError, match=r"needed\.py"):
        make_environment(running_copy(), tmp_path / "made")
    assert not is_complete(tmp_path / "made")


def test_an_editable_checkout_cannot_be_copied(site: Path) -> None:
    origin = {"url": "file:///x", "dir_info": {"editable": True}}
    (site / "upnp_gw-1.0.dist-info" / "direct_url.json").write_text(json.dumps(origin))
    with pytest.raises(CannotInstall, match=r"editable checkout.*pipx install"):
        running_copy()


def test_a_python_that_the_service_cannot_read_is_refused(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_base_executable", "/home/anna/.pyenv/versions/3.13.0/bin/python3.13")
    with pytest.raises(CannotInstall, match=r"/home/anna.*--python /usr/bin/python3"):
        running_copy()


def test_a_program_without_a_list_of_files_is_refused(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / "need_ed-1.0.dist-info" / "RECORD").unlink()
    with pytest.raises(CannotInstall, match="Need_ed has no list of its files"):
        running_copy()
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(CannotInstall, match="not installed as a package"):
        running_copy()


def test_a_copy_has_a_name_of_its_contents() -> None:
    assert Copy("0.2.0", (), "abc").name == "0.2.0-abc"
    assert own_environment.LAUNCHER.startswith("#!{python}\n")
