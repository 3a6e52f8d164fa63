"""A small network and short ways to say who asks for what."""

from dataclasses import replace
from datetime import date
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_network
from typing import Any

from upnp_gw.gate.decision import Facts
from upnp_gw.gate.load import load_text
from upnp_gw.gate.schema import Policy
from upnp_gw.model import Endpoint, IPAddress, Transport, Via
from upnp_gw.network import GatewayPorts, Link, Network
from upnp_gw.request import MapRequest, PortChoice, Source

TODAY = date(2026, 6, 1)
PC = IPv4Address("192.168.1.23")
TV = IPv4Address("192.168.1.40")
PC6 = IPv6Address("2001:db8:1::23")
GUEST = IPv4Address("192.168.20.7")
ROUTED = IPv4Address("10.0.40.3")
PC_MAC = "02:00:00:00:00:23"
TV_MAC = "02:00:00:00:00:40"

NETWORK = Network(
    wan=Link("wan", 1, True, (IPv4Interface("198.51.100.9/24"), IPv6Interface("2001:db8:ffff::9/64"))),
    lans=(
        Link(
            "lan",
            2,
            True,
            (
                IPv4Interface("192.168.1.1/24"),
                IPv6Interface("2001:db8:1::1/64"),
                IPv6Interface("fe80::1/64"),
            ),
        ),
        Link("guest", 3, True, (IPv4Interface("192.168.20.1/24"), IPv4Interface("172.32.0.1/24"))),
    ),
    routed=(ip_network("10.0.40.0/28"),),
    external=(IPv4Address("198.51.100.9"),),
)
"""The guest link has a public prefix too (172.32.0.0/24): a mapping must never lead there."""

PORTS = GatewayPorts(listening=frozenset({(Transport.TCP, 8443)}), static=frozenset({(Transport.UDP, 51820)}))


def policy_of(text: str) -> Policy:
    """The policy of a TOML text without its version line."""
    return load_text(f"version = 1\n{text}", "test.toml", TODAY).policy


def facts_of(address: IPAddress = PC, *, mac: str | None = PC_MAC, **more: Any) -> Facts:
    """Facts of a host that asks for itself at noon, and holds nothing; ``more`` says otherwise."""
    device = mac or str(address)
    facts = Facts(
        device=device,
        mac=mac,
        address=address,
        target_device=device,
        target_mac=mac,
        network=NETWORK,
        gateway_ports=PORTS,
        minute_of_day=720,
        today=TODAY.toordinal(),
    )
    return replace(facts, **more)


def but(facts: Facts, **more: Any) -> Facts:
    """The facts, but for these."""
    return replace(facts, **more)


def map_request(address: IPAddress = PC, port: int = 40000, external: int | None = None, **more: Any) -> MapRequest:
    """An AddPortMapping for ``address``; ``more`` says otherwise."""
    request = MapRequest(
        via=Via.IGD1,
        source=Source(address, "lan"),
        transport=Transport.TCP,
        internal=Endpoint(address, port),
        external_port=port if external is None else external,
        choice=PortChoice.EXACT,
        lifetime_s=3600,
    )
    return replace(request, **more)


def suggested(port: int, external: int = 0, via: Via = Via.PCP, **more: Any) -> MapRequest:
    """The same over a protocol that lets the gateway choose the external port."""
    more.setdefault("internal", Endpoint(PC, port))
    return map_request(PC, port, external, via=via, choice=PortChoice.SUGGESTED, **more)
