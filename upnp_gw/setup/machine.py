"""Reads the machine for ``upnp-gw setup``: interfaces, other firewalls, groups, the service manager."""

import grp
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upnp_gw.config.interface_detection import DefaultRoute, Interface, read_interfaces
from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.other_tables.listing import foreign_ruleset
from upnp_gw.model.errors import FirewallError
from upnp_gw.system.files import FileProblem, read_any

PPPOE = Path("/proc/net/pppoe")
LEGACY = (Path("/proc/net/ip_tables_names"), Path("/proc/net/ip6_tables_names"))
PAGE_GROUP = "upnp-gw-page"
SMALL = 65536
UNIT_PATHS = tuple(
    Path(where)
    for where in (
        "/etc/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    )
)
STARTED_BY = {
    "firewalld": ("firewalld.service",),
    "ufw": ("ufw.service",),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine at this moment."""

    interfaces: tuple[Interface, ...]
    routes: tuple[DefaultRoute, ...]
    carriers: frozenset[str] = frozenset()
    """Interfaces that carry a PPPoE session."""
    ruleset: dict[str, Any] | None = None
    """The tables of other programs; None: they cannot be read."""
    ruleset_problem: str = ""
    idle_firewalls: tuple[str, ...] = ()
    page_group: str = ""
    systemctl: bool = False
    """True: systemd runs this machine, and systemctl is there."""
    units: frozenset[str] = frozenset()
    """The units of upnp-gw that are installed."""

    def interface(self, name: str) -> Interface | None:
        return next((i for i in self.interfaces if i.name == name), None)


def read_machine() -> Machine:
    """Reads everything. Raises OSError if netlink fails."""
    interfaces, routes = read_interfaces()
    ruleset, problem = _ruleset()
    return Machine(
        interfaces=interfaces,
        routes=routes,
        carriers=_pppoe_carriers(_text(PPPOE)),
        ruleset=ruleset,
        ruleset_problem=problem,
        idle_firewalls=_idle_firewalls(),
        page_group=PAGE_GROUP if _has_group(PAGE_GROUP) else "",
        systemctl=Path("/run/systemd/system").is_dir() and shutil.which("systemctl") is not None,
        units=frozenset(_units(("upnp-gw", "upnp-gw-page", "upnp-gw-closed"))),
    )


def _ruleset() -> tuple[dict[str, Any] | None, str]:
    try:
        return foreign_ruleset(Session()), ""
    except FirewallError as error:
        reason = "" if os.geteuid() == 0 else "; as root they can be read"
        return None, f"{error}{reason}"


def _text(path: Path) -> str:
    try:
        return read_any(path, SMALL).decode("ascii", "replace")
    except FileProblem:
        return ""


def _pppoe_carriers(text: str) -> frozenset[str]:
    """Interfaces of ``/proc/net/pppoe``: a line each with id, address and device, below a heading."""
    rows = (line.split() for line in text.splitlines()[1:])
    return frozenset(row[2] for row in rows if len(row) == 3)


def _idle_firewalls() -> tuple[str, ...]:
    """Firewalls that start with the machine."""
    wants = list(Path("/etc/systemd/system").glob("*.wants"))
    found = [
        name
        for name, units in STARTED_BY.items()
        if any((directory / unit).is_symlink() for directory in wants for unit in units)
    ]
    if "ufw" in found and "ENABLED=yes" not in _text(Path("/etc/ufw/ufw.conf")):
        found.remove("ufw")
    legacy = [name for path in LEGACY for name in _text(path).split()]
    return (*found, *(["iptables-legacy"] if legacy else []))


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _units(names: Iterable[str]) -> Iterable[str]:
    return (name for name in names if any((where / f"{name}.service").exists() for where in UNIT_PATHS))
