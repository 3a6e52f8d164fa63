"""The state of the machine at one moment. ``inspection`` reads it, ``checks`` judges it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from upnp_gw.config.settings import Config
from upnp_gw.firewall.openings.findings import Proof
from upnp_gw.firewall.other_tables.drops import Drop
from upnp_gw.firewall.other_tables.leftovers import Leftover
from upnp_gw.firewall.other_tables.offload import FlowOffload
from upnp_gw.firewall.other_tables.without_nat import Missing
from upnp_gw.model.mapping import IPAddress, Transport
from upnp_gw.model.network import Link


@dataclass(frozen=True, slots=True)
class OtherGateway:
    """Another host of a LAN that answers a search for a gateway. Its texts are foreign."""

    interface: str
    address: IPAddress
    location: str
    server: str


DAEMON = "upnp-gw"
"""The process name of a upnp-gw daemon."""


@dataclass(frozen=True, slots=True)
class PortHolder:
    """A process that has one of our ports."""

    transport: Transport
    port: int
    address: str
    process: str | None
    """Its name; None: we may not read it."""
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class MachineState:
    config: Config
    links: tuple[Link, ...] = ()
    """Every link of the machine."""
    overlap: str | None = None
    """The reason why LAN and WAN overlap; None: they do not."""
    forwarding4: bool | None = None
    """net.ipv4.ip_forward; None: cannot be read."""
    forwarding6: bool | None = None
    wan_takes_adverts: bool = False
    """True: the kernel sets the WAN up by router advertisements, not if it forwards (accept_ra 1)."""
    filters_ipv6: bool = True
    """False: no other table filters IPv6 connections from the internet to the LANs."""
    library_problem: str | None = None
    """The reason why libnftables does not work; None: it works."""
    drops: tuple[Drop, ...] = ()
    """Chains of other tables that drop our traffic."""
    missing: tuple[Missing, ...] = ()
    """The tasks of other firewalls for hosts without NAT."""
    offloads: tuple[FlowOffload, ...] = ()
    """Chains of other tables that let established flows bypass the forward chains."""
    leftovers: tuple[Leftover, ...] = ()
    """Chains with rules of miniupnpd."""
    drops_problem: str | None = None
    """The reason why the ruleset could not be read; None: it was."""
    bridge_filters: Mapping[str, str] = field(default_factory=dict)
    """LAN bridge whose frames pass the IP firewall (br_netfilter) -> the command that ends it."""
    multicast: Mapping[str, bool] = field(default_factory=dict)
    """LAN interface -> its MULTICAST flag."""
    ways_out: Mapping[str, str] = field(default_factory=dict)
    """LAN interface -> the interface by which packets of its hosts go to the internet. Without a route: missing."""
    gateways: tuple[OtherGateway, ...] = ()
    served: tuple[tuple[Transport, int], ...] = ()
    """The ports that the daemon serves on each LAN."""
    holders: tuple[PortHolder, ...] = ()
    daemon_pid: int | None = None
    """The running daemon; None: none runs with this configuration."""
    forward_filters: tuple[str, ...] = ()
    """Chains of other tables that filter forwarded traffic. Router mode does not start beside them."""
    state_problem: str | None = None
    """The reason why the state directory cannot be written; None: it can."""

    proof: Proof | None = None
    """The comparison of the kernel with the ledger; None: not made."""
    proof_problem: str | None = None
    """The reason why it could not be made."""

    def link(self, name: str) -> Link | None:
        return next((link for link in self.links if link.name == name), None)
