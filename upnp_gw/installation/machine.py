"""The machine that the program is installed on: its packages, its systemd, its users.

``root`` is another directory in tests.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from upnp_gw.installation.own_environment import CannotInstall
from upnp_gw.installation.programs import run
from upnp_gw.system.files import FileProblem, read_any

DPKG_LIST = Path("var/lib/dpkg/info/upnp-gw.list")
"""Present while the Debian package is installed."""
SYSTEMD = Path("run/systemd/system")
LARGEST = 16 * 1024 * 1024
"""Bytes of /etc/passwd."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine below a root directory."""

    root: Path = Path("/")

    @property
    def has_systemd(self) -> bool:
        """True if systemd runs here."""
        return (self.root / SYSTEMD).is_dir()

    @property
    def has_package(self) -> bool:
        """True if the Debian package upnp-gw is installed here."""
        return (self.root / DPKG_LIST).exists()

    def has_user(self, name: str) -> bool:
        try:
            users = read_any(self.root / "etc/passwd", LARGEST)
        except FileProblem:
            return False
        return any(line.startswith(f"{name}:".encode()) for line in users.splitlines())

    def check_root(self) -> None:
        """Raises CannotInstall if this user may not change the machine."""
        if os.geteuid() != 0:
            raise CannotInstall("this needs root: sudo ~/.local/bin/upnp-gw install")

    def check_package(self) -> None:
        """Raises CannotInstall if the Debian package is installed."""
        if self.has_package:
            raise CannotInstall(
                "the Debian package upnp-gw is installed here and has the service already. To upgrade it: apt"
                " install ./FILE.deb. To use this copy in its place: apt remove upnp-gw, then this command again;"
                " configuration and state stay"
            )

    def run(self, *command: str) -> str:
        """The output of a program, a file name without a shell. Raises CannotInstall if it fails."""
        done = run(command)
        if done.code:
            raise CannotInstall(f"failed: {' '.join(command)}: {done.output or f'exit code {done.code}'}")
        return done.output

    def asks(self, *command: str) -> bool:
        """True if a program exits with 0; False also if it is missing."""
        return run(command).code == 0


def active_units(machine: Machine, units: Sequence[str]) -> list[str]:
    """Those of the units that run now."""
    if not machine.has_systemd:
        return []
    return [unit for unit in units if machine.asks("systemctl", "is-active", "--quiet", unit)]
