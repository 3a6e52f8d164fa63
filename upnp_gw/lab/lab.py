"""Builds the namespaces of a topology, connects them, and removes them."""

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import TracebackType
from typing import Self

from upnp_gw.lab.addresses import await_addresses
from upnp_gw.lab.host import Host
from upnp_gw.lab.topology import (
    GATEWAY_WAN,
    INTERNET,
    WAN_NETWORK,
    WAN_NETWORK6,
    Lan,
    LanHost,
    Router,
    Topology,
    gateway6_of,
    gateway_of,
    peer_network,
    peer_network6,
)

PORT = "eth0"
"""The one interface of a peer or a LAN host."""
UPLINK = "wan0"
"""The interface of a router on a LAN towards that LAN."""
FORWARDING = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")


class Lab:
    """``with Lab(Topology()) as lab: lab.hosts["console"].run(["ping", ...])``

    Needs the right to make namespaces (``privilege.acquire()``). The gateway has its addresses and a default route;
    forwarding, translation and filters are set by the test or by the daemon. The internet and a router on a LAN
    forward.
    """

    def __init__(self, topology: Topology | None = None) -> None:
        self.topology = topology or Topology()
        self.hosts: dict[str, Host] = {}
        self._switches: dict[Lan, Host] = {}

    def __enter__(self) -> Self:
        atexit.register(self.close)
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def gateway(self) -> Host:
        return self.hosts["gateway"]

    @property
    def internet(self) -> Host:
        """The router between the peers and the gateway."""
        return self.hosts["internet"]

    @property
    def external(self) -> tuple[IPv4Address, ...]:
        """The gateway's external IPv4 addresses, the primary one first."""
        return self.topology.external_addresses

    @property
    def external6(self) -> IPv6Address:
        return WAN_NETWORK6[GATEWAY_WAN]

    def close(self) -> None:
        """Ends all processes, LAN hosts first, and closes the namespaces. May be called again."""
        atexit.unregister(self.close)
        while self.hosts:
            self.hosts.popitem()[1].close()
        while self._switches:
            self._switches.popitem()[1].close()

    @contextmanager
    def unplugged(self, name: str) -> Iterator[None]:
        """Disconnects a LAN host, like a sleeping console. Its neighbour entry at the gateway stays."""
        switch = self._switches[self._lan_of(name)]
        switch.ip(f"link set dev {name} down")
        try:
            yield
        finally:
            switch.ip(f"link set dev {name} up")

    def replug_wan(self) -> None:
        """Removes the gateway's WAN interface and makes it again with another index, like a ppp0 that redials."""
        self.gateway.ip(f"link del {self.topology.wan}")
        self._wire_wan(self.internet, self.gateway)
        await_addresses(self.internet, self.gateway)

    def add_host(self, interface: str, host: LanHost) -> Host:
        """Connects another host to the gateway's LAN of this interface while the lab runs."""
        added = self._add_host(next(lan for lan in self.topology.lans if lan.interface == interface), host)
        await_addresses(added)
        return added

    def _lan_of(self, name: str) -> Lan:
        address = self.hosts[name].address
        return next(lan for lan in self.topology.all_lans if address in lan.network)

    def _add_host(self, lan: Lan, host: LanHost) -> Host:
        machine = self.hosts[host.name] = Host(host.name)
        self.plug(lan, host, machine, PORT)
        v4, v6, ula = lan.network[host.number], lan.network6[host.number], lan.ula[host.number]
        machine.configure(PORT, host.mac, v4, v6, ula)
        return machine

    def _build(self) -> None:
        internet = self.hosts["internet"] = Host("internet")
        gateway = self.hosts["gateway"] = Host("gateway")
        for key in FORWARDING:
            internet.sysctl(key, "1")
        internet.ip("link set lo up")
        gateway.ip("link set lo up")
        self._wire_wan(internet, gateway)
        for number, name in enumerate(self.topology.peers, 1):
            self._wire_peer(internet, name, number)
        for number, lan in enumerate(self.topology.lans):
            self._wire_lan(gateway, lan, f"02:00:77:00:00:{number + 1:02x}")
        await_addresses(*self.hosts.values())

    def _wire_wan(self, internet: Host, gateway: Host) -> None:
        wan, mac = self.topology.wan, "02:00:11:22:33:44"
        _cable(internet, "gateway", gateway, wan, mac)
        v4, v6 = WAN_NETWORK, WAN_NETWORK6
        gateway.ip(
            *(f"addr add {address}/{v4.prefixlen} dev {wan}" for address in self.external),
            f"addr add {self.external6}/{v6.prefixlen} dev {wan} nodad",
            f"link set {wan} up",
            f"route add default via {v4[INTERNET]}",
            f"route add default via {v6[INTERNET]}",
        )
        internet.ip(
            f"addr add {v4[INTERNET]}/{v4.prefixlen} dev gateway",
            f"addr add {v6[INTERNET]}/{v6.prefixlen} dev gateway nodad",
            "link set gateway up",
            *(f"route add {lan.network6} via {self.external6}" for lan in self.topology.all_lans),
            *(f"route add {lan.network} via {self.external[0]}" for lan in self.topology.all_lans if lan.public),
        )
        internet.configure("gateway", "", v4[INTERNET], v6[INTERNET], None)

    def _wire_peer(self, internet: Host, name: str, number: int) -> None:
        peer = self.hosts[name] = Host(name)
        v4, v6, mac = peer_network(number), peer_network6(number), f"02:00:11:50:00:{number:02x}"
        _cable(internet, name, peer, PORT, mac)
        internet.ip(
            f"addr add {v4[INTERNET]}/{v4.prefixlen} dev {name}",
            f"addr add {v6[INTERNET]}/{v6.prefixlen} dev {name} nodad",
            f"link set dev {name} up",
        )
        _address(peer, PORT, v4, v6, None, 10)
        peer.configure(PORT, mac, v4[10], v6[10], None)

    def _wire_lan(self, router: Host, lan: Lan, mac: str) -> None:
        switch = self._switches[lan] = Host(f"switch-{router.name}-{lan.interface}")
        switch.ip("link add switch type bridge stp_state 0 forward_delay 0 mcast_snooping 0", "link set switch up")
        _cable(switch, "uplink", router, lan.interface, mac)
        switch.ip("link set uplink master switch", "link set uplink up")
        v4, v6, ula = gateway_of(lan.network), gateway6_of(lan.network6), lan.ula[1]
        router.ip(
            f"addr add {v4}/{lan.network.prefixlen} dev {lan.interface}",
            *(f"addr add {address}/64 dev {lan.interface} nodad" for address in (v6, ula)),
            f"link set {lan.interface} up",
        )
        if not router.interface:
            router.configure(lan.interface, mac, v4, v6, ula)
        for host in lan.hosts:
            self._add_host(lan, host)
        for behind in lan.routers:
            self._wire_router(router, lan, behind)

    def _wire_router(self, above: Host, lan: Lan, router: Router) -> None:
        """Connects a router to a LAN of the router above it, which gets the routes to what is behind."""
        host = router.host
        machine = self.hosts[host.name] = Host(host.name)
        for key in FORWARDING:
            machine.sysctl(key, "1")
        self.plug(lan, host, machine, UPLINK)
        self._wire_lan(machine, router.lan, f"{host.mac[:-2]}ff")
        above.ip(
            *(
                f"route add {network} via {via}"
                for behind in router.lan.and_behind()
                for network, via in (
                    (behind.network, lan.network[host.number]),
                    (behind.network6, lan.network6[host.number]),
                )
            )
        )

    def plug(self, lan: Lan, host: LanHost, machine: Host, port: str) -> None:
        switch = self._switches[lan]
        _cable(switch, host.name, machine, port, host.mac)
        switch.ip(f"link set dev {host.name} master switch", f"link set dev {host.name} up")
        _address(machine, port, lan.network, lan.network6, lan.ula, host.number)


def _cable(near: Host, near_port: str, far: Host, far_port: str, far_mac: str) -> None:
    # the kernel reports the carrier of a veth at once only if its two ends have different indexes (else after 1 s)
    near.ip(
        f"link add name {near_port} index {1000 + far.descriptor} type veth peer name {far_port} address {far_mac}"
        f" netns /proc/self/fd/{far.descriptor}",
        pass_fds=(far.descriptor,),
    )


def _address(host: Host, port: str, v4: IPv4Network, v6: IPv6Network, ula: IPv6Network | None, number: int) -> None:
    """Gives a host its addresses on a link, and the router of the link as its default route."""
    host.ip(
        "link set lo up",
        f"addr add {v4[number]}/{v4.prefixlen} dev {port}",
        *(f"addr add {network[number]}/64 dev {port} nodad" for network in (v6, ula) if network is not None),
        f"link set {port} up",
        f"route add default via {gateway_of(v4)}",
        f"route add default via {gateway6_of(v6)}",
    )
