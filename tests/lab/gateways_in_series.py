"""Gateways in series: each is on the LAN of the one above it. The first one has the internet above it."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from tests.lab.end_to_end import REACHED_S, ROOMY, ROUTER, SHUT_S, TCP, Home, served_home
from tests.lab.igd_control_point import ControlPoint
from upnp_gw.lab import HOME, INNER, Host, Topology
from upnp_gw.lab.control_socket import ask
from upnp_gw.lab.daemon import LabDaemon
from upnp_gw.lab.probe import reach
from upnp_gw.lab.topology import Lan, LanHost, Router
from upnp_gw.model.mapping import IPAddress
from upnp_gw.protocols.igd_services import IgdVersion

CONFIG = """
[lan]
interfaces = ["lan0"]
[wan]
interface = "wan0"
[firewall]
mode = "router"
[upstream]
when = "private"
{upstream}
"""


def lan_of(number: int, hosts: Sequence[LanHost], routers: Sequence[Router] = ()) -> Lan:
    return replace(
        INNER.lan,
        network=IPv4Network(f"192.168.{number}.0/24"),
        network6=IPv6Network(f"2a11:2233:0:{number}::/64"),
        ula=IPv6Network(f"fd77:7777:7777:{number}::/64"),
        hosts=tuple(hosts),
        routers=tuple(routers),
    )


RACK = LanHost("rack", 10, "3c:ec:ef:00:00:06")
SHELF = LanHost("shelf", 20, "3c:ec:ef:00:00:07")
BOTTOM = Router(LanHost("bottom", 3, "02:00:60:00:00:03"), lan_of(91, [RACK, SHELF]))
MIDDLE = Router(LanHost("middle", 2, "02:00:60:00:00:02"), lan_of(90, [], [BOTTOM]))
THREE = Topology(lans=(replace(HOME, routers=(MIDDLE,)),))


@dataclass
class Below:
    """A gateway below another one."""

    host: Host
    daemon: LabDaemon
    above: IPAddress
    """Its gateway above."""
    own: IPAddress
    """Its address there."""

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = ask(self.daemon.runtime_dir, "GET", "/v1/mappings")
        return rows

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = ask(self.daemon.runtime_dir, "GET", "/v1/status")
        return status


@dataclass
class Series:
    """The top one, and the two below it."""

    home: Home
    middle: Below
    bottom: Below

    @property
    def rack(self) -> Host:
        return self.home.lab.hosts["rack"]

    @property
    def gateway(self) -> IPv4Address:
        """Of the rack."""
        return BOTTOM.lan.network[1]

    def point(self, igd_version: IgdVersion = IgdVersion.IGD1) -> ControlPoint:
        return ControlPoint(self.rack, BOTTOM.lan.network[1], igd_version)

    def arrives(self, port: int, timeout: float = REACHED_S) -> bool:
        """A connection from the internet to this port of the outermost address."""
        return bool(reach(self.home.peer, TCP, self.home.external, port, timeout=timeout))

    def shut(self, port: int) -> bool:
        return not self.arrives(port, SHUT_S)

    @property
    def tables(self) -> list[list[dict[str, Any]]]:
        """The mappings of the top, the middle and the bottom."""
        return [self.home.rows(), self.middle.rows(), self.bottom.rows()]

    def clear(self) -> None:
        """Deletes everything, from below."""
        for daemon in (self.bottom.daemon, self.middle.daemon, self.home.daemon):
            for row in ask(daemon.runtime_dir, "GET", "/v1/mappings"):
                daemon.cli("delete", row["id"], check=False)


@contextmanager
def served_below(
    host: Host, directory: Path, above: Lan, number: int, upstream: str = "", policy: str = ROOMY
) -> Iterator[Below]:
    """A daemon on a router of the lab. ``above``: the LAN that it is on; ``number``: of its address there;
    ``upstream``: more lines of that table."""
    directory.mkdir()
    config, rules = directory / "below.toml", directory / "policy.toml"
    config.write_text(CONFIG.format(upstream=upstream))
    rules.write_text(policy.replace("{limits}", ""))
    with LabDaemon(host, directory, "--config", str(config), "--policy", str(rules)) as daemon:
        yield Below(host, daemon, above.network[1], above.network[number])


@contextmanager
def three_gateways(directory: Path, upstream: str = "") -> Iterator[Series]:
    """``upstream``: more lines of that table, of the lower two."""
    with ExitStack() as stack:
        home = stack.enter_context(served_home(directory, *ROUTER, topology=THREE))
        hosts = home.lab.hosts
        middle, bottom = (
            stack.enter_context(
                served_below(
                    hosts[router.host.name], directory / router.host.name, lan, router.host.number, upstream
                )
            )
            for router, lan in ((MIDDLE, HOME), (BOTTOM, MIDDLE.lan))
        )
        yield Series(home, middle, bottom)


def lose_state(daemon: LabDaemon, host: Host) -> None:
    """Kills a gateway; it loses its table and its state directory, as a router that keeps nothing."""
    daemon.kill()
    host.nft("delete table inet upnp_gw")
    for path in daemon.state_dir.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
