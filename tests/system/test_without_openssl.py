"""OpenSSL stays out of the daemon's process; each case is a process of its own."""

import subprocess
import sys

import pytest

DAEMON = """
import upnp_gw.cli.run  # as for the command: what it imports comes before the next line
from upnp_gw.config import file, interface_detection, settings
from upnp_gw.system.process import prepare_imports
prepare_imports()
import upnp_gw.daemon.process, upnp_gw.control.server, upnp_gw.doctor
"""
PATCHED = "from upnp_gw.system import without_openssl as tested; {patch}; print(tested.leave_out_openssl())\n"
CHECK = """
import hashlib, sys
print(hashlib.sha256(b"").hexdigest()[:8], hashlib.blake2b(b"").hexdigest()[:8])
import asyncio, uvloop
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(asyncio.sleep(0))
print("libcrypto" in open("/proc/self/maps").read(), bool(sys.modules.get("ssl")), bool(sys.modules["_hashlib"]))
"""
HASHES = "e3b0c442 786a02f7"


def lines(code: str) -> list[str]:
    """The output of a new process."""
    done = subprocess.run([sys.executable, "-c", code + CHECK], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_daemon_and_its_commands_load_no_openssl() -> None:
    assert lines(DAEMON) == [HASHES, "False False False"]


def test_an_uvloop_that_takes_more_names_gets_the_real_ones() -> None:
    code = PATCHED.format(patch="tested.TYPES = tested.TYPES[1:]")
    assert lines(code) == ["False", HASHES, "True True True"]


def test_a_python_without_hashes_of_its_own_keeps_those_of_openssl() -> None:
    code = PATCHED.format(patch="tested.HASHES = ('_no_such_hash',)")
    assert lines(code) == ["True", HASHES, "True False True"]


@pytest.mark.parametrize("loaded", ["ssl", "hashlib", "asyncio", "uvloop"])
def test_a_process_that_has_it_already_keeps_it(loaded: str) -> None:
    code = f"import {loaded}, ssl; {PATCHED.format(patch='import ssl')}"
    assert lines(code) == ["False", HASHES, "True True True"]
