"""``packaging/audit.py``: a flaw is reported, and a package that was not asked about is never taken for sound.

A script stands for pip-audit. The answers are its own, of version 2.10.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

FLAW = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["3.2"], "description": "x"}
SOUND = {"name": "click", "version": "8.5.1", "vulns": []}
FLAWED = {"name": "jinja2", "version": "3.1", "vulns": [FLAW]}
SKIPPED = {"name": "lxml", "skip_reason": "Dependency not found on PyPI and could not be audited: lxml (6.1.3)"}


def audit(tmp_path: Path, script: str, *files: str) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "pip-audit"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    command = [sys.executable, str(ROOT / "packaging" / "audit.py"), "--program", str(program), *files]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def answer(*packages: object, code: int = 0) -> str:
    return f"cat <<'END'\n{json.dumps({'dependencies': packages, 'fixes': []})}\nEND\nexit {code}"


def test_every_package_is_sound(tmp_path: Path) -> None:
    done = audit(tmp_path, answer(SOUND))
    assert (done.returncode, done.stdout) == (0, "requirements.txt: 1 of 1 packages asked about, 0 known flaws\n")


def test_a_flaw_has_its_names_and_the_version_that_mends_it(tmp_path: Path) -> None:
    done = audit(tmp_path, answer(SOUND, FLAWED, code=1))
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "jinja2 3.1: PYSEC-2026-1, CVE-2026-1; fixed in: 3.2"


def test_a_package_that_the_database_does_not_know_is_not_sound(tmp_path: Path) -> None:
    """pip-audit exits with 0, for example where the registry is a mirror without the database."""
    done = audit(tmp_path, answer(SOUND, SKIPPED))
    assert done.returncode == 3
    assert "lxml: not asked about: Dependency not found" in done.stderr
    assert "1 of 2 packages asked about" in done.stdout
    assert audit(tmp_path, answer(SKIPPED, FLAWED, code=1)).returncode == 1, "a flaw comes first"
    assert audit(tmp_path, answer()).returncode == 3, "nothing was asked about"


@pytest.mark.parametrize(
    "script",
    [
        "echo 'ERROR: ConnectionError: no route to host' >&2; exit 1",
        "echo '{'; exit 0",
        "echo '[]'; exit 0",
        "exit 0",
    ],
)
def test_no_answer_is_an_error_of_its_own(tmp_path: Path, script: str) -> None:
    done = audit(tmp_path, script)
    assert done.returncode == 3
    assert "requirements.txt: not audited: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "packaging" / "audit.py"), "--program", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "none cannot be started: No such file" in done.stderr


def test_each_list_is_asked_about_with_its_hashes(tmp_path: Path) -> None:
    lists = [str(ROOT / ".ci" / name) for name in ("requirements.txt", "requirements-release.txt")]
    done = audit(tmp_path, f'echo "$@" >>{tmp_path}/asked\n{answer(SOUND)}', *lists)
    assert done.returncode == 0
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[-1] for line in asked] == lists
    assert all("--require-hashes --disable-pip" in line for line in asked)
