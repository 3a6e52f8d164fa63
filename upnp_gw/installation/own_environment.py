"""Copies the program and the packages that it needs into an environment below a system path.

A service cannot run from pipx's copy in a home directory, which its unit cannot read. Nothing is fetched: the copy
has the same packages. Its Python is the one that the running environment was made with.
"""

import compileall
import hashlib
import json
import re
import shutil
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from upnp_gw.model.errors import GatewayError
from upnp_gw.system.files import write_shared

PROJECT = "upnp-gw"
COMPLETE = ".complete"
"""An empty file in an environment whose copy is whole."""
HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
"""Hidden from the service by ProtectHome."""
LAUNCHER = """\
#!{python}
import sys

from upnp_gw.cli import main

if __name__ == "__main__":
    sys.exit(main())
"""


class CannotInstall(GatewayError):
    """This copy or this machine does not allow a system installation. The text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A program with its packages that can be copied."""

    version: str
    packages: tuple[Distribution, ...]
    fingerprint: str
    """Of the contents of all packages, 12 hexadecimal digits."""

    @property
    def name(self) -> str:
        """The name of its environment."""
        return f"{self.version}-{self.fingerprint}"


def running_copy() -> Copy:
    """The copy that runs now. Raises CannotInstall."""
    _check_interpreter(Path(getattr(sys, "_base_executable", sys.executable)).resolve())
    packages = tuple(_with_needed(PROJECT))
    own = packages[0]
    if _is_editable(own):
        raise CannotInstall(
            "this copy is an editable checkout: its files are not in the environment. Make a copy of its own there:"
            " pipx install . (or: python3 -m venv DIR && DIR/bin/pip install .)"
        )
    digest = hashlib.sha256()
    for package in packages:
        digest.update(f"{package.metadata['Name']} {package.version}\n{package.read_text('RECORD')}".encode())
    return Copy(own.version, packages, digest.hexdigest()[:12])


def _check_interpreter(python: Path) -> None:
    if any(python.is_relative_to(home) for home in HOMES):
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise CannotInstall(
            f"this copy uses Python {version} at {python}, in a home directory that the service cannot read."
            " Install it with the system's Python: pipx install --python /usr/bin/python3 ."
        )


def _with_needed(name: str) -> Iterator[Distribution]:
    """The package and all that it needs, each once. Raises CannotInstall."""
    waiting, seen = [name], set[str]()
    while waiting:
        name = waiting.pop(0)
        if (canonical := re.sub(r"[-_.]+", "-", name).lower()) in seen:
            continue
        seen.add(canonical)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            if name == PROJECT:
                raise CannotInstall("upnp-gw is not installed as a package here: pipx install .") from None
            continue  # not needed on this system or this Python
        if found.files is None:
            raise CannotInstall(f"the package {name} has no list of its files; install upnp-gw with pipx or pip")
        yield found
        needed = (line for line in found.requires or () if not re.search(r"\bextra\s*==", line))
        waiting += [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in needed]


def _is_editable(package: Distribution) -> bool:
    origin = json.loads(package.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable"))


def is_complete(environment: Path) -> bool:
    """True if a copy was made there to its end."""
    return (environment / COMPLETE).exists()


def make_environment(copy: Copy, environment: Path) -> None:
    """Makes the environment with the program as ``bin/upnp-gw``. Replaces what an interrupted run left there.

    Every user may read it, whatever the umask is. Raises OSError.
    """
    if environment.exists():
        shutil.rmtree(environment)
    environment.mkdir(parents=True)
    venv.EnvBuilder(with_pip=False, symlinks=True).create(environment)
    (packages,) = environment.glob("lib/python3.*/site-packages")
    for package in copy.packages:
        _copy_files(package, packages)
    program = environment / "bin" / PROJECT
    write_shared(program, LAUNCHER.format(python=environment / "bin" / "python").encode())
    program.chmod(0o755)
    # the service cannot write bytecode there
    compileall.compile_dir(packages, quiet=2, force=True, invalidation_mode=None)
    for path in (environment, *environment.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    (environment / COMPLETE).touch()
    (environment / COMPLETE).chmod(0o644)


def _copy_files(package: Distribution, target: Path) -> None:
    """Copies what the package has in site-packages. Its scripts and its bytecode are left out."""
    for file in package.files or ():
        if ".." in file.parts or file.suffix == ".pyc":
            continue
        source, copied = Path(str(package.locate_file(file))), target / file
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copied)
        shutil.copymode(source, copied)
