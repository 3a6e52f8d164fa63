"""The real firewall on the gateway of a lab, in either mode, and flows through it."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.firewall.driver import Driver, driving, forward, network_of, settings
from upnp_gw.firewall.base import FirewallMode, Forward
from upnp_gw.firewall.nftables import NftablesFirewall
from upnp_gw.lab import Host, Lab

Gateway = Driver[NftablesFirewall]
MASQUERADE = """
table ip foreign {
  chain postrouting { type nat hook postrouting priority srcnat; policy accept;
    oifname "wan0" masquerade;
  }
}
"""
GRACE_S = 1.0


@contextmanager
def gateway_of(lab: Lab, mode: FirewallMode, **more: Any) -> Iterator[Gateway]:
    """The firewall open on the lab's gateway; alongside, another table masquerades and somebody else forwards."""
    if mode is FirewallMode.ALONGSIDE:
        lab.gateway.sysctl("net/ipv4/ip_forward", "1")
        lab.gateway.sysctl("net/ipv6/conf/all/forwarding", "1")
        lab.gateway.nft(MASQUERADE)
    with driving(NftablesFirewall(live_grace_s=GRACE_S), lab.gateway) as gateway:
        gateway.open(settings(mode, network_of(lab), **more))
        yield gateway


def to(lab: Lab, name: str, forward_id: str, port: int, **more: Any) -> Forward:
    return forward(forward_id, port, str(lab.hosts[name].address), **more)


Pair = tuple[socket.socket, socket.socket]
"""Both ends of a connection: (client, server)."""


@contextmanager
def listening(server: Host) -> Iterator[socket.socket]:
    """Port 443 of a host, over both address families."""
    with server.inside():
        listener = socket.create_server(("::", 443), family=socket.AF_INET6, dualstack_ipv6=True)
    with listener:
        yield listener


def connect(stack: ExitStack, listener: socket.socket, host: Host, address: str, port: int, own: int = 0) -> Pair:
    """A connection from a host, from a port of its own (0: any), to this listener. Closed with the stack."""
    with host.inside():
        source = ("::" if ":" in address else "", own)
        client = stack.enter_context(socket.create_connection((address, port), 1, source))
    pair = client, stack.enter_context(listener.accept()[0])
    for end in pair:
        end.settimeout(0.5)
    return pair


@contextmanager
def connected(server: Host, *clients: tuple[Host, str, int, int]) -> Iterator[list[Pair]]:
    """Connections to port 443 of a host, each client with an address, port and a port of its own (0: any)."""
    with ExitStack() as stack:
        listener = stack.enter_context(listening(server))
        yield [connect(stack, listener, *client) for client in clients]


def goes_on(client: socket.socket, server: socket.socket) -> bool:
    """The LAN host sends first: what was cut is not taken up again as an outbound flow."""
    try:
        server.send(b"hello")
        return client.recv(9) == b"hello"
    except (TimeoutError, ConnectionError):
        return False
