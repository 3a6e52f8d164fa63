"""The emulator uses nothing that macOS or Windows lacks. The test takes it away from Linux."""

import os
import subprocess
import sys
from pathlib import Path

from tests import ROOT

PLUGINS = ("upnp_gw.pytest_plugin", "tests.testing.another_system")
CLIENT = ROOT / "tests" / "testing" / "portable_client.py"


def test_a_whole_test_of_a_client_runs_without_what_other_systems_lack(tmp_path: Path) -> None:
    copied = tmp_path / "test_client.py"
    copied.write_text(CLIENT.read_text("utf-8"), "utf-8")
    plugins = [option for plugin in PLUGINS for option in ("-p", plugin)]
    argv = [sys.executable, "-B", "-W", "error", "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [*argv, *plugins, "-p", "no:cacheprovider", "-p", "no:asyncio", str(copied)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
