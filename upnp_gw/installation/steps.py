"""The steps of a system installation, and of its removal. Each says what it does and can be run again."""

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from upnp_gw.installation.machine import Machine, active_units
from upnp_gw.installation.own_environment import CannotInstall, Copy, is_complete, make_environment
from upnp_gw.installation.service_files import (
    UNITS,
    USERS,
    Layout,
    forwarding_files,
    service_files,
)
from upnp_gw.system.files import FileProblem, read_any, write_shared

BASE = PurePosixPath("opt/upnp-gw")
VERSIONS = BASE / "versions"
BIN = BASE / "bin"
"""A link to the programs of the environment in use. The units start ``/opt/upnp-gw/bin/upnp-gw``."""
LINK = PurePosixPath("usr/local/bin/upnp-gw")
LOCAL = PurePosixPath("usr/local")
CONFIGURATION = PurePosixPath("etc/upnp-gw")
CONFIG_FILE = CONFIGURATION / "config.toml"
DROP_INS = tuple(PurePosixPath(f"etc/systemd/system/{name}.service.d") for name in ("upnp-gw", "upnp-gw-page"))
STATE = (PurePosixPath("var/lib/upnp-gw"), PurePosixPath("var/lib/upnp-gw-page"))
RESTARTED = ("upnp-gw.service", "upnp-gw-page.service")
LARGEST = 1024 * 1024
"""Bytes of a file of ours."""
Texts = Mapping[PurePosixPath, str]


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the machine."""

    text: str
    """The change, as a command: ``write ...``."""
    act: Callable[[], object]
    needed: bool = True
    """False: everything is as wanted already."""


def check_origin(machine: Machine) -> None:
    """Raises CannotInstall if the running program is the installed one: it has nothing newer."""
    if Path(sys.prefix).is_relative_to(machine.root / BASE):
        raise CannotInstall(
            f"this program is the installed one, in /{BASE}. Run the copy that pipx has, which may be newer:"
            " sudo ~/.local/bin/upnp-gw install"
        )


def install_steps(machine: Machine, copy: Copy, manual: Texts) -> Iterator[Step]:
    """The steps of ``upnp-gw install``. ``manual``: path below /usr/local -> text.

    A step looks at the machine when it is taken from the iterator, after the steps before it.
    """
    root, environment = machine.root, machine.root / VERSIONS / copy.name
    old = root / BASE / "pyvenv.cfg"
    yield Step(
        f"remove the environment of an earlier installation in /{BASE}",
        lambda: shutil.rmtree(root / BASE),
        old.exists(),
    )
    yield Step(
        f"copy version {copy.version} and the {len(copy.packages) - 1} packages that it needs to"
        f" /{VERSIONS / copy.name}",
        lambda: make_environment(copy, environment),
        not is_complete(environment),
    )
    in_use = _link(root, BIN, PurePosixPath("versions") / copy.name / "bin")
    yield in_use
    yield _link(root, LINK, PurePosixPath("/") / BIN / "upnp-gw")
    yield _write(root, "man pages and completions", {LOCAL / place: text for place, text in manual.items()})
    changed = in_use.needed
    if machine.has_systemd:
        units = _write(root, "units and users", service_files(Layout.ADMINISTRATOR))
        yield units
        changed = changed or units.needed
        missing = [user for user in USERS if not machine.has_user(user)]
        yield Step(f"make the users {' and '.join(USERS)}", lambda: machine.run("systemd-sysusers"), bool(missing))
        yield Step("tell systemd of them", lambda: machine.run("systemctl", "daemon-reload"), units.needed)
    configuration = root / CONFIGURATION
    yield Step(
        f"make the directory /{CONFIGURATION}", lambda: _directory(configuration), not configuration.is_dir()
    )
    running = active_units(machine, RESTARTED)
    yield Step(
        f"restart {' and '.join(running) or 'the service'}; mappings stay open",
        lambda: machine.run("systemctl", "restart", *running),
        changed and bool(running),
    )
    yield _remove(root, "older versions", *(VERSIONS / name for name in _other_versions(root, copy.name)))


def remove_steps(machine: Machine, manual: Texts, close: Callable[[], object], purge: bool) -> Iterator[Step]:
    """The steps of ``upnp-gw install --remove``. ``close``: removes the kernel's table."""
    root = machine.root
    if machine.has_systemd:
        yield Step(
            f"stop {', '.join(UNITS)} and start them at no boot",
            lambda: machine.run("systemctl", "disable", "--now", *_known(machine)),
            bool(_known(machine)),
        )
    yield Step("remove the table of upnp-gw from the kernel: every mapping closes", close)
    # what setup wrote stays: a later installation with the same configuration needs it
    by_setup = (*DROP_INS, *forwarding_files()) if purge else ()
    yield _remove(root, "units and users' files", *service_files(Layout.ADMINISTRATOR), *by_setup)
    if machine.has_systemd:
        yield Step("tell systemd of it", lambda: machine.run("systemctl", "daemon-reload"))
    yield _remove(root, "man pages and completions", *(LOCAL / place for place in manual))
    yield _remove(root, "the command", *([LINK] if _is_ours(root / LINK) else []))
    if purge:
        yield _remove(root, "configuration and policy", CONFIGURATION)
        yield _remove(root, "mappings, decisions and approvals", *STATE)
        for user in reversed(USERS):
            yield Step(f"delete the user {user}", partial(machine.run, "userdel", user), machine.has_user(user))
    yield _remove(root, "the program", BASE)


def _known(machine: Machine) -> list[str]:
    """The units that systemd has a file of."""
    return [unit for unit in UNITS if machine.asks("systemctl", "cat", unit)]


def _write(root: Path, noun: str, texts: Texts) -> Step:
    """Writes files that are missing or different."""
    changed = {place: text for place, text in texts.items() if not _has(root / place, text)}
    where = sorted({f"/{place.parent}" for place in texts})
    shown = ", ".join(where[:3]) + (f" and {len(where) - 3} more" if len(where) > 3 else "")

    def act() -> None:
        for place, text in changed.items():
            write_shared(root / place, text.encode())

    return Step(f"write {noun}: {len(texts)} files in {shown}", act, bool(changed))


def _has(path: Path, text: str) -> bool:
    try:
        return read_any(path, LARGEST) == text.encode()
    except FileProblem:
        return False


def _link(root: Path, place: PurePosixPath, target: PurePosixPath) -> Step:
    path = root / place

    def act() -> None:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        new.replace(path)

    return Step(f"link /{place} to {target}", act, not (path.is_symlink() and path.readlink() == Path(target)))


def _is_ours(path: Path) -> bool:
    return path.is_symlink() and path.readlink().is_relative_to(Path("/") / BASE)


def _remove(root: Path, noun: str, *places: PurePosixPath) -> Step:
    there = [root / place for place in places if (root / place).is_symlink() or (root / place).exists()]

    def act() -> None:
        for path in there:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    shown = ", ".join(f"/{place}" for place in places[:3]) + (
        f" and {len(places) - 3} more" if len(places) > 3 else ""
    )
    return Step(f"remove {noun}{f': {shown}' if shown else ''}", act, bool(there))


def _other_versions(root: Path, name: str) -> list[str]:
    directory = root / VERSIONS
    return sorted(path.name for path in directory.iterdir() if path.name != name) if directory.is_dir() else []


def _directory(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o755)
