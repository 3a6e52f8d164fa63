"""A lab whose gateway has mappings in a real kernel, and the proof about it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_network

from tests.fixtures.firewall_driver import forward, network_of, settings
from tests.fixtures.lab_firewall import Gateway, to
from upnp_gw.firewall.base import FirewallMode, FirewallSettings, Forward, Refill
from upnp_gw.firewall.openings.findings import Proof
from upnp_gw.firewall.openings.kernel_state import KernelState
from upnp_gw.firewall.openings.path import Place
from upnp_gw.firewall.openings.permits import Permit
from upnp_gw.firewall.openings.proof import prove
from upnp_gw.firewall.openings.reading import read_kernel
from upnp_gw.lab import Host, Lab
from upnp_gw.lab.probe import REFUSED_S, EchoServer, OpenConnection, dial, reach
from upnp_gw.model.mapping import Transport

TCP, UDP = Transport.TCP, Transport.UDP
TABLE = "inet upnp_gw"
REACHED_S = 3.0
OPEN_PORTS = ((TCP, 22), (UDP, 22), (TCP, 8080), (TCP, 8443), (UDP, 5001), (TCP, 9090))
"""The ports on which the console and the pc listen."""


@dataclass
class Scene:
    """Mappings of the console and the pc, over both address families, for anyone and for some remote hosts.
    ``ledger``: the mappings that the proof is told."""

    lab: Lab
    gateway: Gateway
    mode: FirewallMode = FirewallMode.ROUTER
    ledger: dict[str, Forward] = field(default_factory=dict)

    @property
    def settings(self) -> FirewallSettings:
        return settings(self.mode, network_of(self.lab))

    @property
    def place(self) -> Place:
        return Place.of(network_of(self.lab))

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
    def mappings(self) -> list[Forward]:
        peer = self.peer.address
        return [
            to(self.lab, "console", "m1", 8080),
            to(self.lab, "pc", "m2", 5000, internal_port=5001, transport=UDP, remote=f"{peer}/32"),
            to(self.lab, "pc", "m3", 9090, remote=str(ip_network(f"{peer}/30", strict=False))),
            forward("m4", 8443, str(self.console.address6), 8443, external=self.console.address6),
        ]

    def fill(self) -> None:
        """The kernel as the gateway makes it, and the ledger that belongs to it."""
        self.ledger = {one.id: one for one in self.mappings}
        self.gateway.apply(Refill(tuple(self.mappings)))

    def nft(self, *commands: str) -> None:
        self.lab.gateway.nft("\n".join(commands))

    def handle(self, chain: str, rule: str) -> int:
        """The handle of the last rule of our table that begins with this text."""
        lines = self.lab.gateway.run(["nft", "-a", "list", "chain", *TABLE.split(), chain]).stdout.splitlines()
        found = [line for line in lines if line.strip().startswith(rule)]
        assert found, f"no {rule} in {lines}"
        return int(found[-1].rpartition(" handle ")[2])

    def lose(self, chain: str, rule: str) -> None:
        """Deletes a rule of our table."""
        self.nft(f"delete rule {TABLE} {chain} handle {self.handle(chain, rule)}")

    def prove(self, ended: Sequence[Forward] = ()) -> Proof:
        external = self.lab.external
        permits = [Permit.of(one, external) for one in self.ledger.values()]
        permits += [Permit.of(one, external, ended=True) for one in ended]
        return prove(self.read(), permits, self.place)

    def read(self) -> KernelState:
        place = self.place
        return self.gateway.do(self.gateway.firewall.read_with(lambda session: read_kernel(session, place)))

    # -- packets from the internet

    def at_host(self, port: int, transport: Transport = TCP, source_port: int = 0) -> bool:
        """To the console's own address, IPv6."""
        timeout = REACHED_S
        return bool(
            reach(self.peer, transport, self.console.address6, port, timeout=timeout, source_port=source_port)
        )

    def at_gateway(self, port: int, transport: Transport = TCP, peer: str = "peer1") -> str:
        """To the external address, IPv4: the name of the host that answers; empty: none."""
        proof = reach(self.lab.hosts[peer], transport, self.lab.external[0], port, timeout=REACHED_S)
        return proof.answered_by

    def shut(self, port: int, transport: Transport = TCP) -> bool:
        address: IPv6Address = self.console.address6
        return not reach(self.peer, transport, address, port, timeout=REFUSED_S)

    def call(self, stack: ExitStack, port: int = 8080, v6: bool = False) -> OpenConnection:
        """A flow through a mapping that stays open."""
        address = self.console.address6 if v6 else self.lab.external[0]
        call = stack.enter_context(dial(self.peer, TCP, address, port, timeout=REACHED_S))
        assert call.ask()
        return call


@contextmanager
def listening(lab: Lab) -> Iterator[None]:
    """The console and the pc answer on all ports of the tests."""
    with ExitStack() as stack:
        for host in (lab.hosts["console"], lab.hosts["pc"]):
            for transport, port in OPEN_PORTS:
                stack.enter_context(EchoServer(host, transport, port))
        yield
