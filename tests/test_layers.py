"""Rules of the package: the pure packages do no I/O and read no clock, nothing starts a program, files open in one
place. Which package may import which is in pyproject.toml ([tool.importlinter])."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests import ROOT

PACKAGE = ROOT / "upnp_gw"
IMPURE = {
    "asyncio",
    "socket",
    "subprocess",
    "time",
    "ssl",
    "select",
    "selectors",
    "threading",
    "pyroute2",
    "aiohttp",
}
PURE = ("model", "text", "protocols", "gate", "ledger", "suggest", "api", "migration")


def modules(package: str) -> list[Path]:
    return sorted((PACKAGE / package).rglob("*.py"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of a file; the first is its module."""
    return tuple(ast.walk(ast.parse(path.read_text("utf-8"))))


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that is imported anywhere in a file."""
    names: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [p for package in PURE for p in modules(package)], ids=name_of)
def test_the_pure_packages_do_no_io_and_read_no_clock(path: Path) -> None:
    impure = {name for name in imports(path) if name.split(".")[0] in IMPURE or name in ("random.random", "random")}
    assert not impure


STARTERS = {"subprocess", "pty", "popen2", "multiprocessing", "code", "codeop", "pickle", "marshal", "shelve"}
CALLS = re.compile(
    r"(os\.(system|popen|exec\w+|spawn\w+|posix_spawnp?|fork|forkpty)|asyncio\.create_subprocess_\w+"
    r"|\w+\.subprocess_(exec|shell)|eval|exec|compile|__import__)"
)
LAB = "upnp_gw/lab/"
SET_UP = "upnp_gw/installation/programs.py"
"""Runs commands that the operator at the terminal says yes to, without a shell."""
FORKS = {"upnp_gw/firewall/libnftables.py"}
"""Tries libnftables in a copy of the process, which starts no program, before the daemon depends on it."""


@cache
def calls(path: Path) -> frozenset[str]:
    """Every function that is called by name, dotted."""
    return frozenset(ast.unparse(node.func) for node in nodes(path) if isinstance(node, ast.Call))


@pytest.mark.spec("SR-12")
@pytest.mark.parametrize(
    "path", [p for p in sorted(PACKAGE.rglob("*.py")) if not name_of(p).startswith(LAB)], ids=name_of
)
def test_nothing_starts_a_program_or_runs_text_as_code(path: Path) -> None:
    """No shell, no nft command, no eval: there is nothing that text of a client could be injected into.

    The lab builds its hosts with ip and nft, and the set-up runs what the operator says yes to; the daemon imports
    neither (a contract in pyproject.toml).
    """
    assert not {name for name in imports(path) if name.split(".")[0] in STARTERS} or name_of(path) == SET_UP
    allowed = {"os.fork"} if name_of(path) in FORKS else set()
    assert not {name for name in calls(path) | imports(path) if CALLS.fullmatch(name)} - allowed


@pytest.mark.spec("SR-12")
def test_only_the_commands_that_need_it_know_the_lab() -> None:
    modules = [p for p in PACKAGE.rglob("*.py") if any(name.startswith("upnp_gw.lab") for name in imports(p))]
    knows = {name_of(path) for path in modules}
    assert {name for name in knows if not name.startswith(LAB)} <= {
        "upnp_gw/cli/demo.py",
        "upnp_gw/cli/demo_report.py",
        "upnp_gw/cli/lab.py",
        "upnp_gw/cli/lab_report.py",
    }


@pytest.mark.spec("SR-12")
def test_only_the_set_up_and_the_installation_start_programs() -> None:
    programs = "upnp_gw.installation.programs"
    using = {name_of(p) for p in PACKAGE.rglob("*.py") for i in imports(p) if i.startswith(programs)}
    assert using == {"upnp_gw/cli/setup_after.py", "upnp_gw/installation/machine.py"}


def test_only_the_writer_changes_the_kernel() -> None:
    """Outside ``firewall/`` the writer and its last step call ``apply``, and the emulator's seam passes that on.
    Only eight know a firewall: two build it, two pass it on, two change it, one reads it, one puts faults before
    it."""
    outside = [path for path in sorted(PACKAGE.rglob("*.py")) if not name_of(path).startswith("upnp_gw/firewall/")]
    callers = {
        name_of(path)
        for path in outside
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and node.attr == "apply"
    }
    assert callers == {
        "upnp_gw/engine/writer.py",
        "upnp_gw/engine/kernel_and_store.py",
        "upnp_gw/testing/firewall_seam.py",
    }
    firewalls = {"base.Firewall", "memory.MemoryFirewall", "nftables.NftablesFirewall"}
    knows = {name_of(path) for path in outside if any(i.endswith(tuple(firewalls)) for i in imports(path))}
    assert {name for name in knows if not name.startswith(LAB)} == {
        "upnp_gw/daemon/composition.py",
        "upnp_gw/daemon/process.py",
        "upnp_gw/engine/build.py",
        "upnp_gw/engine/kernel_and_store.py",
        "upnp_gw/engine/usage_reader.py",
        "upnp_gw/engine/writer.py",
        "upnp_gw/testing/firewall_seam.py",
        "upnp_gw/testing/gateway.py",
    }


def test_no_code_uses_wait_for() -> None:
    """Before Python 3.12 ``asyncio.wait_for`` can lose a cancellation: the stop waits for that task without end.
    ``asyncio.timeout`` cannot."""
    assert not [name_of(path) for path in sorted(PACKAGE.rglob("*.py")) if "asyncio.wait_for" in calls(path)]


OPENING = {"open", "read_text", "read_bytes", "write_text", "write_bytes"}
NO_FILE = {
    "read_text",
    "package.read_text",
    "self._firewall.open",
    "self._inner.open",
    "self._store.open",
    "webbrowser.open",
}
"""Functions of ours of the same names."""
OPENERS = {
    "upnp_gw/system/files.py",
    # files of the kernel or the package itself: nobody can put something else there
    "upnp_gw/client/route.py",
    "upnp_gw/control/measurements.py",
    "upnp_gw/doctor/holders.py",
    "upnp_gw/doctor/inspection.py",
    "upnp_gw/firewall/conntrack_timeouts.py",
    "upnp_gw/firewall/nftables/sysctl.py",
    "upnp_gw/firewall/openings/reading.py",
    "upnp_gw/gate/builtin.py",
    "upnp_gw/system/clock.py",
    "upnp_gw/system/privileges.py",
    "upnp_gw/page/rendering.py",
    "upnp_gw/page/static_files.py",
    "upnp_gw/protocols/igd/descriptors.py",
    "upnp_gw/system/shipped_files.py",
    "upnp_gw/control/socket_path.py",
    "upnp_gw/system/listening_ports.py",
    # a file that a person at a terminal names, who can press Ctrl-C
    "upnp_gw/cli/policy.py",
    "upnp_gw/gate/load.py",
}


@pytest.mark.spec("SR-37")
def test_files_are_opened_in_one_place() -> None:
    """There a pipe, a device or another user's file is refused."""
    found = {
        name_of(path)
        for path in PACKAGE.rglob("*.py")
        if not name_of(path).startswith(LAB)
        for name in calls(path)
        if name.rpartition(".")[2] in OPENING and name not in NO_FILE
    }
    assert found == OPENERS


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=name_of)
def test_every_module_has_a_docstring(path: Path) -> None:
    module = nodes(path)[0]
    assert isinstance(module, ast.Module)
    assert ast.get_docstring(module), "a module without a docstring"


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/**/__init__.py")), ids=name_of)
def test_the_docstring_of_a_package_names_its_modules(path: Path) -> None:
    """ARCHITECTURE.md says so: it is how a reader finds a module."""
    module = nodes(path)[0]
    assert isinstance(module, ast.Module)
    modules = {each.stem for each in path.parent.glob("*.py")} - {"__init__"}
    packages = {each.parent.name for each in path.parent.glob("*/__init__.py")}
    named = set(re.findall(r"\w+", ast.get_docstring(module) or ""))
    assert modules | packages <= named


CLAUSE = re.compile(r'"""(What|Where|When|How|Whether|Which|Why|Who) ')


def test_no_docstring_begins_with_a_clause() -> None:
    """It says what a thing is or does, in a sentence or a noun with its attributes."""
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for top in ("upnp_gw", "tests", "examples")
        for path in sorted((ROOT / top).rglob("*.py"))
        for line in path.read_text("utf-8").splitlines()
        if CLAUSE.search(line)
    ]
    assert found == []


LONGEST = 350
"""Lines of a module: one that grows past it has a seam somewhere."""
MAP = (ROOT / "ARCHITECTURE.md").read_text("utf-8")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=name_of)
def test_no_module_is_too_long_to_be_read_at_once(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST


def test_the_map_names_every_module_at_the_top_and_nothing_else() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", MAP, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py", "_version.py"}
    packages = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert sorted(named) == sorted(modules | packages)


def test_the_map_says_how_much_there_is_to_read_first() -> None:
    (names, stated), *more = re.findall(r"^((?:`[\w/]+\.py`[a-z, ]*)+): (\d+) lines", MAP, re.MULTILINE)
    assert not more
    lines = sum(len((PACKAGE / name).read_text("utf-8").splitlines()) for name in re.findall(r"`(\S+)`", names))
    assert abs(lines - int(stated)) <= 50
