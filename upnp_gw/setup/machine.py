"""Reads the machine for ``upnp-gw setup``: interfaces, other firewalls, the service, the host of the operator."""

import grp
import os
import pwd
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from upnp_gw.config.interface_detection import DefaultRoute, Interface, read_interfaces
from upnp_gw.firewall.libnftables import Session, check_library
from upnp_gw.firewall.other_tables.listing import foreign_ruleset
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import IPAddress
from upnp_gw.setup.service import UNITS, Service
from upnp_gw.system.files import FileProblem, read_any
from upnp_gw.system.privileges import OWN_USER

PROC = Path("/proc")
ETC = Path("/etc")
PAGE_GROUP = "upnp-gw-page"
SMALL = 256 * 1024
UNIT_PATHS = tuple(
    Path(where)
    for where in (
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    )
)
FILTERING = re.compile(r"^[^#]*\b(drop|reject|masquerade|snat)\b", re.MULTILINE)
MOST_ANCESTORS = 32
NO_SERVICE = Service()


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
    """Firewalls that start with the machine, whether they run now or not."""
    page_group: str = ""
    """The group that gets the control socket for the page; empty: there is none."""
    service: Service = NO_SERVICE
    operator_from: IPAddress | None = None
    """The host from which the operator is signed in over ssh; None: he is not."""

    def interface(self, name: str) -> Interface | None:
        return next((i for i in self.interfaces if i.name == name), None)


def read_machine() -> Machine:
    """Reads everything. Raises OSError if netlink fails."""
    interfaces, routes = read_interfaces()
    ruleset, problem = _ruleset()
    return Machine(
        interfaces=interfaces,
        routes=routes,
        carriers=pppoe_carriers(_text(PROC / "net/pppoe")),
        ruleset=ruleset,
        ruleset_problem=problem,
        idle_firewalls=idle_firewalls(ETC, PROC),
        page_group=_page_group(),
        service=_service(),
        operator_from=ssh_client(os.getpid(), PROC),
    )


def _ruleset() -> tuple[dict[str, Any] | None, str]:
    try:
        check_library()
        return foreign_ruleset(Session()), ""
    except FirewallError as error:
        return None, str(error)


def _text(path: Path) -> str:
    try:
        return read_any(path, SMALL).decode("utf-8", "replace")
    except FileProblem:
        return ""


def pppoe_carriers(text: str) -> frozenset[str]:
    """Interfaces of ``/proc/net/pppoe``: a line each with id, address and device, below a heading."""
    rows = (line.split() for line in text.splitlines()[1:])
    return frozenset(row[2] for row in rows if len(row) == 3)


def idle_firewalls(etc: Path, proc: Path) -> tuple[str, ...]:
    """Firewalls that start with the machine, and tables of iptables-legacy, which nftables does not list."""
    started = {link.name for link in etc.glob("systemd/system/*.wants/*.service")}
    found = (
        ("firewalld", "firewalld.service" in started),
        ("ufw", "ENABLED=yes" in map(str.strip, _text(etc / "ufw/ufw.conf").splitlines())),
        ("shorewall", "shorewall.service" in started),
        ("nftables.conf", "nftables.service" in started and bool(FILTERING.search(_text(etc / "nftables.conf")))),
        ("iptables-persistent", "netfilter-persistent.service" in started and _has_saved_rules(etc)),
        ("iptables-legacy", any(_text(proc / f"net/ip{v}_tables_names").split() for v in ("", "6"))),
    )
    return tuple(name for name, starts in found if starts)


def _has_saved_rules(etc: Path) -> bool:
    return any(re.search("^-A ", _text(etc / "iptables" / name), re.M) for name in ("rules.v4", "rules.v6"))


def _page_group() -> str:
    """The group of the page, if the daemon may give its socket to it: its user is a member, or it runs as root."""
    groups = {group.gr_name: group.gr_mem for group in grp.getgrall()}
    as_root = OWN_USER not in {user.pw_name for user in pwd.getpwall()}
    may = PAGE_GROUP in groups and (as_root or OWN_USER in groups[PAGE_GROUP])
    return PAGE_GROUP if may else ""


def _service() -> Service:
    enabled = {link.stem for link in ETC.glob("systemd/system/*.wants/upnp-gw*.service")}
    return Service(
        booted=Path("/run/systemd/system").is_dir() and shutil.which("systemctl") is not None,
        installed=frozenset(_units(UNITS)),
        enabled=frozenset(enabled),
    )


def _units(names: Iterable[str]) -> Iterable[str]:
    return (name for name in names if any((where / f"{name}.service").exists() for where in UNIT_PATHS))


def ssh_client(pid: int, proc: Path) -> IPAddress | None:
    """The host at the other end of the ssh session of this process. sudo removes the variable, so those of the
    processes above it are read too."""
    for _ in range(MOST_ANCESTORS):
        for variable in _text(proc / str(pid) / "environ").split("\0"):
            if variable.startswith("SSH_CONNECTION="):
                return _address(variable.removeprefix("SSH_CONNECTION=").split(" ")[0])
        # pid (name) state ppid: the name may have spaces and parentheses
        fields = _text(proc / str(pid) / "stat").rpartition(")")[2].split()
        if len(fields) < 2 or not fields[1].isdigit() or int(fields[1]) < 2:
            return None
        pid = int(fields[1])
    return None


def _address(text: str) -> IPAddress | None:
    try:
        return ip_address(text.split("%")[0])
    except ValueError:
        return None


def runs_as_service(pid: int, proc: Path = PROC) -> bool:
    """True if systemd started this process as the service."""
    return "/upnp-gw.service" in _text(proc / str(pid) / "cgroup")
