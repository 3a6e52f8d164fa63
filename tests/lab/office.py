"""An office whose hosts have their own addresses outside, beside a home with NAT, on one gateway."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from tests.lab.end_to_end import REACHED_S, ROOMY, SHUT_S, TCP, Home, served_home
from tests.lab.test_port5351 import NONCE, talk
from upnp_gw.lab import HOME, OFFICE, Host, Lab, Topology
from upnp_gw.lab.probe import EchoServer, Proof, reach
from upnp_gw.model.mapping import IPAddress, Transport
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.pcp import codec
from upnp_gw.protocols.pcp.messages import ANY_IPV4, MapData, Option, Request, Response

GATEWAY = OFFICE.network[1]
PORT = 8080
BESIDE = Topology(lans=(HOME, OFFICE))
"""A LAN with NAT and one without."""
ALONE = Topology(lans=(OFFICE,))
WITHOUT_NAT = """
[[lan]]
interfaces = ["lan0"]
[[lan]]
interfaces = ["lan1"]
nat = false
"""
NO_NAT_AT_ALL = """
[lan]
interfaces = ["lan1"]
[firewall]
nat = false
"""


@dataclass
class Office:
    """The gateway, and the office's view of it."""

    home: Home

    @property
    def server(self) -> Host:
        return self.home.lab.hosts["server"]

    @property
    def desk(self) -> Host:
        return self.home.lab.hosts["desk"]

    def reach(
        self,
        port: int = PORT,
        transport: Transport = TCP,
        *,
        address: IPAddress | None = None,
        peer: str = "peer1",
        source_port: int = 0,
        timeout: float = REACHED_S,
    ) -> Proof:
        """A packet from the internet to an address of the office, the server's if none is named."""
        target, host = address or self.server.address, self.home.lab.hosts[peer]
        return reach(host, transport, target, port, timeout=timeout, source_port=source_port)

    def shut(self, port: int = PORT, transport: Transport = TCP, **more: Any) -> bool:
        """Such a packet goes nowhere."""
        return not self.reach(port, transport, timeout=SHUT_S, **more)


@contextmanager
def served_office(
    directory: Path,
    *options: str,
    topology: Topology = BESIDE,
    config: str = WITHOUT_NAT,
    policy: str | None = ROOMY,
    before: Callable[[Lab], None] = lambda lab: None,
) -> Iterator[Office]:
    with served_home(directory, *options, topology=topology, config=config, policy=policy, before=before) as home:
        yield Office(home)


def pcp(
    host: Host,
    port: int,
    lifetime: int = 600,
    *options: Option,
    transport: Transport = TCP,
    server: IPAddress = GATEWAY,
    suggested: int = 0,
    suggested_address: IPAddress = ANY_IPV4,
) -> Response:
    """A PCP MAP of a host for itself."""
    data = MapData(NONCE, transport.number, port, suggested, suggested_address)
    with talk(host, server=server) as line:
        return codec.parse_response(line.ask(codec.build_request(Request(lifetime, line.own, data, options))))


def natpmpc(host: Host, *words: object, server: IPv4Address = GATEWAY) -> str:
    return host.run(["natpmpc", "-g", str(server), *map(str, words)], check=False).stdout


Ask = Callable[[Office, Host, int, Transport], None]


def _igd(igd_version: IgdVersion) -> tuple[Ask, Ask]:
    def open_(office: Office, host: Host, port: int, transport: Transport) -> None:
        office.home.point(host.name, igd_version).add(port, transport)

    def close(office: Office, host: Host, port: int, transport: Transport) -> None:
        office.home.point(host.name, igd_version).delete(port, transport)

    return open_, close


def _any(office: Office, host: Host, port: int, transport: Transport) -> None:
    assert office.home.point(host.name, IgdVersion.IGD2).add_any(port, transport, NewExternalPort=9) == port


def _natpmp(lifetime: int) -> Ask:
    def ask(office: Office, host: Host, port: int, transport: Transport) -> None:
        output = natpmpc(host, "-a", port if lifetime else 0, port, transport, lifetime)
        assert f"Mapped public port {port if lifetime else 0} protocol" in output, output

    return ask


def _pcp(lifetime: int) -> Ask:
    def ask(office: Office, host: Host, port: int, transport: Transport) -> None:
        answer = pcp(host, port, lifetime, transport=transport)
        assert answer.map is not None
        assert answer.result == 0
        if lifetime:
            assert (answer.map.external_address, answer.map.external_port) == (host.address, port)

    return ask


WAYS: dict[str, tuple[Ask, Ask]] = {
    "igd1": _igd(IgdVersion.IGD1),
    "igd2": _igd(IgdVersion.IGD2),
    "any": (_any, _igd(IgdVersion.IGD2)[1]),
    "nat-pmp": (_natpmp(600), _natpmp(0)),
    "pcp": (_pcp(600), _pcp(0)),
}
"""Every way to ask for a port of one's own address, and to let it go."""


@contextmanager
def listening(*places: tuple[Host, Transport, int]) -> Iterator[None]:
    """An echo server for each."""
    with ExitStack() as stack:
        for host, transport, port in places:
            stack.enter_context(EchoServer(host, transport, port))
        yield
