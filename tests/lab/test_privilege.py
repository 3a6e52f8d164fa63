"""The right to make namespaces, as root and as an ordinary user."""

import subprocess
import sys
from pathlib import Path

import pytest

from upnp_gw.lab import acquire
from upnp_gw.lab.privilege import permission_line

pytestmark = pytest.mark.lab

NOBODY = 65534

AS_USER = """
import os
from upnp_gw.lab import Lab, LabUnavailable, Topology, acquire
from upnp_gw.lab.probe import reach
from upnp_gw.model.mapping import Transport
try:
    print(acquire(), os.geteuid())
except LabUnavailable as problem:
    print("unavailable:", problem)
    raise SystemExit
assert acquire() == "root of a user namespace", "a second call changes nothing"
with Lab(Topology()) as lab:
    lab.gateway.nft("table ip t { chain c { type filter hook input priority 0; drop; }; }")
    print(reach(lab.hosts["pc"], Transport.TCP, lab.hosts["console"].address, 9).how)
    print(reach(lab.hosts["pc"], Transport.TCP, lab.gateway.address, 9, timeout=0.2).how)
"""

WITH_THREADS = """
import threading
from upnp_gw.lab import LabUnavailable, acquire
stop = threading.Event()
threading.Thread(target=stop.wait).start()
try:
    acquire()
except LabUnavailable as problem:
    print(problem)
finally:
    stop.set()
"""


def as_nobody(program: str) -> str:
    """The output of the program when an ordinary user runs it."""
    if acquire() != "root":
        pytest.skip("needs the root of the machine, to become an ordinary user")
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )
    except PermissionError:
        pytest.skip(f"the user nobody may not run {sys.executable}")
    if "ModuleNotFoundError" in done.stderr or "PermissionError" in done.stderr:
        pytest.skip("the user nobody may not read this work tree")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("namespaces")
def test_root_or_root_of_a_user_namespace() -> None:
    assert acquire() in ("root", "root of a user namespace")


@pytest.mark.usefixtures("namespaces")
def test_an_ordinary_user_has_a_whole_lab() -> None:
    output = as_nobody(AS_USER)
    if output.startswith("unavailable:"):
        pytest.skip(output)
    assert output.splitlines() == ["root of a user namespace 0", "reset", "timeout"]


@pytest.mark.usefixtures("namespaces")
def test_a_user_namespace_that_comes_too_late_is_reported() -> None:
    assert as_nobody(WITH_THREADS) == (
        "not root, and a user namespace can only be entered before the first thread starts.\n"
    )


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"kernel/apparmor_restrict_unprivileged_userns": "1"},
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ({"kernel/unprivileged_userns_clone": "0"}, "sysctl kernel.unprivileged_userns_clone=1"),
        ({"user/max_user_namespaces": "0"}, "sysctl user.max_user_namespaces=15000"),
        ({"user/max_user_namespaces": "100", "kernel/unprivileged_userns_clone": "1"}, "upnp-gw lab 'a b'"),
    ],
)
def test_one_line_allows_namespaces(
    settings: dict[str, str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in settings.items():
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_text(value + "\n")
    monkeypatch.setattr("os.geteuid", lambda: NOBODY)
    monkeypatch.setattr("sys.argv", ["upnp-gw", "lab", "a b"])
    assert permission_line(tmp_path) == f"sudo {line}"
