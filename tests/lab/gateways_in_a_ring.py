"""Two gateways of which each is the other's gateway above: no packet gets out, and nothing can be granted."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

from tests.lab.gateways_in_series import MIDDLE, Below, lan_of, served_below
from upnp_gw.lab import HOME, Host, Lab, Topology
from upnp_gw.lab.addresses import await_addresses
from upnp_gw.lab.topology import LanHost, Router

RACK = LanHost("rack", 10, "3c:ec:ef:00:00:06")
SECOND = Router(MIDDLE.host, lan_of(90, [RACK]))
FIRST = LanHost("first", 9, "02:00:60:00:00:09")
"""The first gateway on the LAN of the second one."""


@dataclass
class Ring:
    """The console is on the LAN of the first gateway, the rack on that of the second one."""

    lab: Lab
    first: Below
    second: Below

    @property
    def console(self) -> Host:
        return self.lab.hosts["console"]

    @property
    def rack(self) -> Host:
        return self.lab.hosts["rack"]

    @property
    def gateway_of_rack(self) -> IPv4Address:
        return SECOND.lan.network[1]

    @property
    def both(self) -> tuple[Below, Below]:
        return self.first, self.second


@contextmanager
def two_in_a_ring(directory: Path, upstream: str) -> Iterator[Ring]:
    """``upstream``: more lines of that table, of both."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(Topology(lans=(replace(HOME, routers=(SECOND,)),))))
        first, second = lab.gateway, lab.hosts[SECOND.host.name]
        first.ip("link del wan0")
        lab.plug(SECOND.lan, FIRST, first, "wan0")
        await_addresses(first)
        below_second = served_below(first, directory / "first", SECOND.lan, FIRST.number, upstream)
        below_first = served_below(second, directory / "second", HOME, SECOND.host.number, upstream)
        yield Ring(lab, stack.enter_context(below_second), stack.enter_context(below_first))
