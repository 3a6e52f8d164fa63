"""What the doctor looks at: one moment of the machine, as values. ``look`` fills it, ``checks`` judges it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from upnp_gw.config.settings import Config
from upnp_gw.firewall.other_tables.drops import Drop
from upnp_gw.firewall.other_tables.offload import FlowOffload
from upnp_gw.model.mapping import IPAddress, Transport
from upnp_gw.model.network import Link


@dataclass(frozen=True, slots=True)
class Multicast:
    """How an interface treats multicast."""

    enabled: bool
    """The MULTICAST flag of the interface."""
    snooping: bool = False
    """A bridge that sends multicast only to ports where it heard a membership report."""
    querier: bool = False
    """The bridge itself asks for reports."""


@dataclass(frozen=True, slots=True)
class OtherGateway:
    """Somebody else on a LAN who answers a search for a gateway. Its texts are not to be trusted."""

    interface: str
    address: IPAddress
    location: str
    server: str


DAEMON = "upnp-gw"
"""The name of a process that is a daemon of ours."""


@dataclass(frozen=True, slots=True)
class PortHolder:
    """A process on one of our ports."""

    transport: Transport
    port: int
    address: str
    process: str | None
    """Its name; None: not allowed to know."""
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class MachineState:
    config: Config
    links: tuple[Link, ...] = ()
    """Every link of the machine."""
    overlap: str | None = None
    """Why LAN and WAN are not two networks; None: they are."""
    forwarding4: bool | None = None
    """net.ipv4.ip_forward; None: cannot be read."""
    forwarding6: bool | None = None
    library_problem: str | None = None
    """Why libnftables cannot be used; None: it can."""
    drops: tuple[Drop, ...] = ()
    """Chains of others that drop our traffic."""
    offloads: tuple[FlowOffload, ...] = ()
    """Chains of other tables that let established flows bypass the forward chains."""
    drops_problem: str | None = None
    """Why the ruleset could not be read."""
    bridge_filters: Mapping[str, str] = field(default_factory=dict)
    """LAN bridge whose frames pass the IP firewall (br_netfilter) -> the command that ends it."""
    multicast: Mapping[str, Multicast] = field(default_factory=dict)
    """LAN interface -> how it treats multicast."""
    gateways: tuple[OtherGateway, ...] = ()
    served: tuple[tuple[Transport, int], ...] = ()
    """The ports that the daemon serves on each LAN."""
    holders: tuple[PortHolder, ...] = ()
    daemon_pid: int | None = None
    """The daemon whose machine this is; None: none runs, or none was asked."""
    forward_filters: tuple[str, ...] = ()
    """Chains of others that filter forwarded traffic: router mode does not start beside them."""
    state_problem: str | None = None
    """Why the state directory cannot be written; None: it can."""

    def link(self, name: str) -> Link | None:
        return next((link for link in self.links if link.name == name), None)
