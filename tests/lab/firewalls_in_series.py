"""Two firewalls without NAT in a row: the inner one, on the office's LAN, has a LAN with public addresses."""

from dataclasses import dataclass, replace

from tests.lab.end_to_end import REACHED_S, SHUT_S, TCP
from tests.lab.office import PORT, Office
from upnp_gw.lab import INNER, OFFICE, Host, Topology
from upnp_gw.lab.daemon import LabDaemon
from upnp_gw.lab.probe import reach
from upnp_gw.model.mapping import IPAddress

SERIES = Topology(lans=(replace(OFFICE, routers=(INNER,)),))
INNER_GATEWAY = INNER.lan.network[1]
OUTER = f"""
[lan]
interfaces = ["lan1"]
routed = ["{INNER.lan.network}", "{INNER.lan.network6}"]
[firewall]
nat = false
"""
"""The configuration of the one towards the internet."""
INSIDE = """
[lan]
interfaces = ["lan0"]
[wan]
interface = "wan0"
[firewall]
nat = false
mode = "router"
"""


@dataclass
class Firewalls:
    """The firewall towards the internet, and the daemon of the one behind it."""

    office: Office
    inner: LabDaemon | None = None

    @property
    def rack(self) -> Host:
        """A host behind both."""
        return self.office.home.lab.hosts["rack"]

    def arrives(self, address: IPAddress | None = None, timeout: float = REACHED_S) -> bool:
        """A connection from the internet to the rack's port."""
        return bool(reach(self.office.home.peer, TCP, address or self.rack.address, PORT, timeout=timeout))

    def shut(self, address: IPAddress | None = None) -> bool:
        return not self.arrives(address, SHUT_S)
