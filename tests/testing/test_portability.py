"""The emulator uses nothing that macOS or Windows lacks. The test takes it away from Linux."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests import ROOT
from tests.testing.portable_client import add_port_mapping

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
    assert "2 passed" in done.stdout


def test_the_command_runs_without_what_other_systems_lack() -> None:
    """Also on an interface by its name: the list of interfaces is read without netlink."""
    for options in ((), ("--interface", "lo")):
        argv = [sys.executable, "-m", "tests.testing.another_system", "emulate", "--json", "--until-eof", *options]
        with subprocess.Popen(argv, cwd=ROOT, stdin=-1, stdout=-1, stderr=-1, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            state = json.loads(line or process.communicate()[1])
            assert state["gateway_address"] == "127.0.0.1"
            add_port_mapping(state["control_url"], 8080)
            with urllib.request.urlopen(state["control"] + "/v1/time/advance", b'{"minutes": 30}', timeout=5):
                pass
            with urllib.request.urlopen(state["control"] + "/v1/mappings", timeout=5) as answer:
                assert [held["left_s"] for held in json.load(answer)] == [1800]
            _, errors = process.communicate(timeout=10)
            assert (process.returncode, errors) == (0, "")
