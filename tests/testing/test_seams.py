"""Faults are at the three named seams and nowhere else, and the daemon of a router cannot reach them."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from upnp_gw.testing.fault import Fault, Seam, Strikes
from upnp_gw.testing.registry import FAULTS

PACKAGE = ROOT / "upnp_gw"
AT_SEAM = {
    Seam.SERVERS: {"fits", "check", "reply", "delay_s", "deliver", "silent"}
    | {"read_head", "read_call", "read_datagram", "write_http", "write_datagram"},
    Seam.FIREWALL: {"changes"},
    Seam.POLICY: set[str](),
    Seam.MACHINE: set[str](),
}
"""Seam -> the methods of its faults, beside ``begin`` and ``end``."""
MEET_FAULTS = {"cli/lab.py", "cli/lab_gateway.py", "cli/emulate.py", "cli/schema.py", "pytest_plugin.py"}
"""Beside ``testing``."""
GATEWAY_PARTS = ("engine", "ledger", "servers", "gate", "store", "composition", "daemon", "control", "system")


def imports(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return found


def test_the_daemon_of_a_router_loads_nothing_of_them() -> None:
    program = (
        "import sys, upnp_gw.cli, upnp_gw.cli.run, upnp_gw.daemon.process\n"
        "print([name for name in sys.modules if name.startswith(('upnp_gw.testing', 'upnp_gw.lab'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_only_commands_for_developers_of_clients_import_them() -> None:
    reached = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "testing" not in path.parts and any(name.startswith("upnp_gw.testing") for name in imports(path))
    }
    assert reached <= MEET_FAULTS


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "testing" / "faults").glob("*.py")), ids=lambda path: str(path.stem)
)
def test_a_fault_knows_no_part_of_the_gateway_behind_the_seams(path: Path) -> None:
    inner = tuple(f"upnp_gw.{part}" for part in GATEWAY_PARTS)
    assert not {name for name in imports(path) if name.startswith(inner)}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_uses_the_methods_of_its_own_seam_only(name: str) -> None:
    kind = FAULTS[name]
    of_seams = set().union(*AT_SEAM.values())
    used = {
        method
        for method, _ in inspect.getmembers(Fault)
        if method in of_seams and getattr(kind, method) is not getattr(Fault, method)
    }
    assert used <= AT_SEAM[kind.seam]
    strikes_requests = kind.seam is Seam.SERVERS and kind.strikes is not Strikes.AT_ONCE
    assert bool(used) or not strikes_requests


def test_an_emulator_without_faults_loads_none() -> None:
    program = (
        "import sys\nfrom upnp_gw.testing import Emulator\nwith Emulator() as igd: igd.requests\n"
        "names = ('registry', 'personalities', 'faults.wan', 'router_kinds')\n"
        "print([name for name in names if f'upnp_gw.testing.{name}' in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
