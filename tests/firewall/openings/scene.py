"""A lab whose gateway has mappings in a real kernel, and the proof about it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_network

from tests.fixtures.firewall_driver import forward, network_of, settings
from tests.fixtures.lab_firewall import Gateway, to
from tests.lab.home_hosts import REACHED_S, HomeHosts
from upnp_gw.firewall.base import FirewallMode, FirewallSettings, Forward, Refill, UpdateHosts
from upnp_gw.firewall.openings.findings import Proof
from upnp_gw.firewall.openings.kernel_state import KernelState
from upnp_gw.firewall.openings.path import Place
from upnp_gw.firewall.openings.permits import Permit, passing
from upnp_gw.firewall.openings.proof import prove
from upnp_gw.firewall.openings.reading import read_kernel
from upnp_gw.lab import Lab
from upnp_gw.lab.probe import REFUSED_S, EchoServer, OpenConnection, dial, reach
from upnp_gw.model.address_ranges import AddressRanges
from upnp_gw.model.mapping import Screen, Transport

TCP, UDP = Transport.TCP, Transport.UDP
TABLE = "inet upnp_gw"
OFFICE, BOTS = "h00000000001", "h00000000002"
SCREEN = Screen(only=(OFFICE,), never=(BOTS,))
OPEN_PORTS = ((TCP, 22), (UDP, 22), (TCP, 8080), (TCP, 8443), (UDP, 5001), (TCP, 9090))
"""The ports on which the console and the pc listen."""


@dataclass
class Scene(HomeHosts):
    """Mappings of the console and the pc, over both address families, for anyone and for some remote hosts.
    ``ledger``: the mappings that the proof is told."""

    lab: Lab
    gateway: Gateway
    mode: FirewallMode = FirewallMode.ROUTER
    ledger: dict[str, Forward] = field(default_factory=dict)

    @property
    def settings(self) -> FirewallSettings:
        return settings(self.mode, network_of(self.lab), hosts=self.lists)

    @property
    def lists(self) -> Mapping[str, AddressRanges]:
        """The remote hosts of the screen: peer1 may connect to m5, peer2 may not."""
        office = ip_network(f"{self.peer.address}/8", strict=False)
        bots = ip_network(f"{self.lab.hosts['peer2'].address}/32")
        return {OFFICE: AddressRanges.of([office]), BOTS: AddressRanges.of([bots])}

    @property
    def place(self) -> Place:
        return Place.of(network_of(self.lab))

    @property
    def mappings(self) -> list[Forward]:
        peer = self.peer.address
        return [
            to(self.lab, "console", "m1", 8080),
            to(self.lab, "pc", "m2", 5000, internal_port=5001, transport=UDP, remote=f"{peer}/32"),
            to(self.lab, "pc", "m3", 9090, remote=str(ip_network(f"{peer}/30", strict=False))),
            forward("m4", 8443, str(self.console.address6), 8443, external=self.console.address6),
            replace(to(self.lab, "console", "m5", 7070, internal_port=8080, keep=False), screen=SCREEN),
        ]

    def fill(self) -> None:
        """The kernel as the gateway makes it, and the ledger that belongs to it."""
        self.ledger = {one.id: one for one in self.mappings}
        self.gateway.apply(UpdateHosts(self.lists), Refill(tuple(self.mappings)))

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
        return prove(self.read(), [*self.permits(), *map(self.permit_of_ended, ended)], self.place)

    def permits(self) -> list[Permit]:
        external, lists = self.lab.external, self.lists
        return [
            Permit.of(one, external, screened=passing(one.screen, one.internal.address.version, lists))
            for one in self.ledger.values()
        ]

    def permit_of_ended(self, forward: Forward) -> Permit:
        return Permit.of(forward, self.lab.external, ended=True)

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
        return self.reach(port, transport, peer).answered_by

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
