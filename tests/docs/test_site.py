"""Sphinx reads all pages of the site as the build does: ``docs/build.sh --check`` also looks at the HTML."""

import os
import subprocess
from pathlib import Path

import pytest

from tests import ROOT

pytestmark = pytest.mark.packages

READ_S = 240.0
"""At most: a machine with nothing else to do takes six seconds, or twenty with the packages still to fetch."""


def test_the_pages_are_read_without_a_warning_and_each_link_has_its_heading(tmp_path: Path) -> None:
    command = [str(ROOT / "docs" / "build.sh"), "--read", str(tmp_path / "site")]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    read = subprocess.run(command, capture_output=True, text=True, timeout=READ_S, env=environment)
    assert read.returncode == 0, read.stdout + read.stderr
    assert list(tmp_path.rglob("*.html")) == []
