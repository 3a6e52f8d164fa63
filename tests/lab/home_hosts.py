"""The hosts of a lab's home, and packets to them from the internet."""

from ipaddress import IPv4Address

from upnp_gw.lab import Host, Lab
from upnp_gw.lab.probe import Proof, reach
from upnp_gw.model.mapping import Transport

REACHED_S = 3.0
"""The longest time of an answer on a loaded machine, seconds; an idle one takes a millisecond."""


class HomeHosts:
    """The hosts by their names in the lab."""

    lab: Lab

    @property
    def console(self) -> Host:
        return self.lab.hosts["console"]

    @property
    def pc(self) -> Host:
        return self.lab.hosts["pc"]

    @property
    def peer(self) -> Host:
        return self.lab.hosts["peer1"]

    @property
    def external(self) -> IPv4Address:
        return self.lab.external[0]

    def reach(
        self,
        port: int,
        transport: Transport = Transport.TCP,
        peer: str = "peer1",
        address: IPv4Address | None = None,
    ) -> Proof:
        """A packet from the internet to an external port."""
        return reach(self.lab.hosts[peer], transport, address or self.external, port, timeout=REACHED_S)
