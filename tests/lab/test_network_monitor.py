"""The network as the kernel reports it: real links, addresses, neighbours and hosts that come, go and move."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_network

import pytest

from upnp_gw.config.interface_detection import detect, read_interfaces
from upnp_gw.lab import CONSOLE, GUEST, HOME, PC, Lab, LanHost, Topology
from upnp_gw.lab.probe import REFUSED_S, EchoServer, reach
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import IPNetwork, Transport
from upnp_gw.model.network import Neighbour, Network
from upnp_gw.system import network_monitor as netwatch
from upnp_gw.system.listening_ports import ListeningPorts
from upnp_gw.system.neighbour_table import PROBE_S
from upnp_gw.system.netlink import attribute, build_message
from upnp_gw.system.network_monitor import (
    BATCH,
    AddressContested,
    AddressMoved,
    NeighbourEvent,
    NeighbourGone,
    NeighbourSeen,
    NetworkMonitor,
)
from upnp_gw.system.rtnetlink import NEIGHBOUR, MessageType, NeighbourState
from upnp_gw.system.wan_counters import WanCounters, link_speed
from upnp_gw.system.who_has import WhoHas

pytestmark = pytest.mark.lab

LAN, WAN = HOME.interface, "wan0"
TWIN = LanHost("twin", 66, "3c:52:82:00:00:66")
ABSENT = HOME.network[200]


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Watched:
    """A network monitor in the lab's gateway, with all that it reported."""

    def __init__(self, watch: NetworkMonitor) -> None:
        self.watch = watch
        self.networks: list[tuple[Network, Network]] = []
        self.neighbours: list[NeighbourEvent] = []
        self._notified = asyncio.Event()
        watch.on_network = self._network
        watch.on_neighbour = self._neighbour

    def _network(self, old: Network, new: Network) -> None:
        assert new.generation == old.generation + 1
        assert self.watch.network is new
        self.networks.append((old, new))
        self._notified.set()

    def _neighbour(self, event: NeighbourEvent) -> None:
        self.neighbours.append(event)
        self._notified.set()

    async def until(self, true: Callable[[], object], timeout: float = 10.0) -> None:
        async with asyncio.timeout(timeout):
            while not true():
                self._notified.clear()
                await self._notified.wait()

    @property
    def seen(self) -> list[NeighbourEvent]:
        """Those that appeared."""
        return [event for event in self.neighbours if isinstance(event, NeighbourSeen)]

    async def seen_event(self, event: NeighbourEvent) -> None:
        await self.until(lambda: event in self.neighbours)

    @property
    def network(self) -> Network:
        return self.watch.network


@asynccontextmanager
async def watching(
    lab: Lab,
    lan: Sequence[str] = (LAN,),
    *,
    wan: str = WAN,
    external: Sequence[IPv4Address] = (),
    routed: Sequence[IPNetwork] = (),
    receive_bytes: int = 1 << 22,
    hears_all: bool = True,
) -> AsyncIterator[Watched]:
    """``hears_all``: with the sockets that hear every host's answer."""
    with lab.gateway.inside():
        watch = NetworkMonitor(
            wan,
            lan,
            external=external,
            routed=routed,
            boottime=boottime,
            receive_bytes=receive_bytes,
            who_has=WhoHas() if hears_all else None,
        )
    try:
        await watch.start()
        yield Watched(watch)
    finally:
        await watch.close()


@contextmanager
def logged(name: str) -> Iterator[asyncio.Future[str]]:
    """The next message of this logger."""
    message = asyncio.get_running_loop().create_future()

    class Next(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not message.done():
                message.set_result(record.getMessage())

    listener = Next()
    logging.getLogger(name).addHandler(listener)
    try:
        yield message
    finally:
        logging.getLogger(name).removeHandler(listener)


@pytest.fixture(scope="module")
def two_lans(namespaces: None) -> Iterator[Lab]:
    with Lab(Topology(lans=(HOME, GUEST))) as lab:
        yield lab


async def test_everything_is_read_at_the_start(lab: Lab) -> None:
    before = boottime()
    async with watching(lab) as seen:
        network = seen.network
    lan = network.lan(LAN)
    assert lan is not None
    assert lan.up
    assert lan.index > 0
    assert lan.ipv4 == (HOME.network[1],)
    assert {HOME.network6[1], HOME.ula[1]} < set(lan.ipv6)
    assert sum(address.is_link_local for address in lan.ipv6) == 1
    assert network.wan.up
    assert network.external == lab.external
    assert network.connected_at is not None
    assert before <= network.connected_at <= boottime()
    assert network.generation == 1


@pytest.mark.spec("IGD-196")
async def test_external_addresses_come_and_go_in_the_kernels_order(fresh_lab: Lab) -> None:
    second = IPv4Address("11.22.33.99")
    async with watching(fresh_lab) as seen:
        first, since = seen.network.external[0], seen.network.connected_at
        fresh_lab.gateway.ip(f"addr add {second}/24 dev {WAN}")
        await seen.until(lambda: seen.network.external == (first, second))
        assert seen.network.connected_at == since
        # a change of lifetimes, as a DHCP renewal makes it, is no change of the network
        count = len(seen.networks)
        fresh_lab.gateway.ip(f"addr change {second}/24 dev {WAN} valid_lft 4000 preferred_lft 4000")
        fresh_lab.gateway.ip(f"addr del {first}/24 dev {WAN}", f"addr add {first}/24 dev {WAN}")
        # the kernel removes secondary addresses with their primary one
        await seen.until(lambda: seen.network.external == (first,))
        assert len(seen.networks) <= count + 3
        fresh_lab.gateway.ip(f"addr flush dev {WAN}")
        await seen.until(lambda: not seen.network.external)
        assert seen.network.connected_at is None
        fresh_lab.gateway.ip(f"addr add 169.254.7.7/16 dev {WAN}", f"addr add {second}/24 dev {WAN}")
        await seen.until(lambda: seen.network.external == (second,))
        assert since is not None
        assert seen.network.connected_at is not None
        assert seen.network.connected_at > since


async def test_configured_external_addresses_do_not_depend_on_the_link(fresh_lab: Lab) -> None:
    configured = (IPv4Address("11.9.9.9"), IPv4Address("11.9.9.8"))
    async with watching(fresh_lab, external=configured) as seen:
        fresh_lab.gateway.ip(f"addr flush dev {WAN}")
        await seen.until(lambda: not seen.network.wan.addresses)
        assert seen.network.external == configured
        assert seen.network.connected_at is not None


@pytest.mark.spec("IGD-196")
async def test_a_cable_that_is_pulled_and_put_back(fresh_lab: Lab) -> None:
    async with watching(fresh_lab) as seen:
        fresh_lab.internet.ip("link set gateway down")
        await seen.until(lambda: not seen.network.wan.up)
        assert seen.network.wan.index
        fresh_lab.internet.ip("link set gateway up")
        await seen.until(lambda: seen.network.wan.up)


async def test_an_interface_that_comes_later_and_comes_again_with_another_index(fresh_lab: Lab) -> None:
    gateway = fresh_lab.gateway
    make = (
        "link add ppp0 type veth peer name far",
        "link set far up",
        "link set ppp0 up",
        "addr add 11.7.7.7/32 dev ppp0",
    )
    async with watching(fresh_lab, wan="ppp0") as seen:
        assert (seen.network.wan.index, seen.network.wan.up, seen.network.external) == (0, False, ())
        gateway.ip(*make)
        await seen.until(lambda: seen.network.wan.up and seen.network.external)
        first = seen.network.wan.index
        gateway.ip("link del ppp0")
        await seen.until(lambda: seen.network.wan.index == 0)
        assert seen.network.wan.addresses == ()
        assert seen.network.external == ()
        gateway.ip(*make)
        await seen.until(lambda: seen.network.wan.up and seen.network.external)
        assert seen.network.wan.index > first


async def test_an_interface_that_is_renamed_into_a_watched_one(fresh_lab: Lab) -> None:
    gateway = fresh_lab.gateway
    gateway.ip("link add eth7 type veth peer name far", "addr add 10.7.7.1/24 dev eth7")
    async with watching(fresh_lab, [LAN, "lan7"]) as seen:
        gateway.ip("link set eth7 name lan7")
        await seen.until(lambda: seen.network.on_link(ip_address("10.7.7.9"), "lan7"))
        gateway.ip("link set lan7 name eth7")
        await seen.until(lambda: not seen.network.on_lan(ip_address("10.7.7.9")))


async def test_a_port_that_leaves_a_bridge_is_not_gone(fresh_lab: Lab) -> None:
    gateway = fresh_lab.gateway
    gateway.ip("link add br7 type bridge", f"link set {LAN} master br7")
    async with watching(fresh_lab) as seen:
        gateway.ip(f"link set {LAN} nomaster", f"addr add 10.7.7.1/24 dev {LAN}")
        await seen.until(lambda: seen.network.on_link(ip_address("10.7.7.9"), LAN))
        assert all(new.lans[0].index for _, new in seen.networks)


async def test_a_tentative_address_is_not_listed_until_it_can_be_bound(fresh_lab: Lab) -> None:
    gateway, address = fresh_lab.gateway, IPv6Interface("2a11:2233:0:77::99/64")
    for scope in ("all", LAN):
        gateway.sysctl(f"net/ipv6/conf/{scope}/accept_dad", "1")
    async with watching(fresh_lab) as seen:
        gateway.ip(f"addr add {address} dev {LAN}", f"addr add 10.7.7.1/24 dev {LAN}")
        await seen.until(lambda: seen.network.on_lan(ip_address("10.7.7.9")))
        assert address not in seen.network.lans[0].addresses
        await seen.until(lambda: address in seen.network.lans[0].addresses)
        gateway.ip(f"addr change {address} dev {LAN} preferred_lft 0")
        await seen.until(lambda: address not in seen.network.lans[0].addresses)


async def test_a_host_is_seen_over_both_families_as_one_device(fresh_lab: Lab) -> None:
    console = fresh_lab.hosts["console"]
    async with watching(fresh_lab) as seen:
        assert seen.watch.neighbours.mac_of(console.address) is None
        reach(console, Transport.UDP, HOME.network[1], 9)
        reach(console, Transport.UDP, HOME.ula[1], 9)
        await seen.seen_event(NeighbourSeen(Neighbour(console.address, CONSOLE.mac, LAN)))
        await seen.seen_event(NeighbourSeen(Neighbour(console.ula, CONSOLE.mac, LAN)))
        assert {console.address, console.ula} <= seen.watch.neighbours.addresses_of(CONSOLE.mac)
        # the hosts of the WAN are not watched
        reach(fresh_lab.hosts["peer1"], Transport.UDP, fresh_lab.external[0], 9)
        assert seen.watch.lookup(ip_address("11.22.33.1"), WAN) is None
        assert all(isinstance(e, NeighbourSeen) and e.neighbour.interface == LAN for e in seen.neighbours)


async def test_a_lookup_before_the_event_publishes_it(fresh_lab: Lab) -> None:
    console = fresh_lab.hosts["console"]
    async with watching(fresh_lab) as seen:
        reach(console, Transport.UDP, HOME.network[1], 9)
        assert seen.neighbours == []  # the loop has not turned yet
        assert seen.watch.lookup(console.address, LAN) == CONSOLE.mac
        assert seen.neighbours == [NeighbourSeen(Neighbour(console.address, CONSOLE.mac, LAN))]
        assert seen.watch.lookup(ABSENT, LAN) is None
        assert seen.watch.lookup(console.address, "nosuch") is None


@pytest.mark.parametrize("family", ["address", "ula", "address6"])
async def test_a_present_host_answers_a_probe(fresh_lab: Lab, family: str) -> None:
    address = getattr(fresh_lab.hosts["console"], family)
    async with watching(fresh_lab) as seen:
        assert await seen.watch.probe(address, LAN)  # not known: resolved
        assert seen.watch.lookup(address, LAN) == CONSOLE.mac
        start = time.monotonic()
        assert await seen.watch.probe(address, LAN)  # known: asked again
        assert time.monotonic() - start < PROBE_S - 1, "its answer ends the probe"


@pytest.mark.parametrize("family", ["address", "ula"])
async def test_a_host_asleep_is_gone_after_a_probe_and_seen_when_it_wakes(fresh_lab: Lab, family: str) -> None:
    address = getattr(fresh_lab.hosts["console"], family)
    async with watching(fresh_lab) as seen:
        assert await seen.watch.probe(address, LAN)
        with fresh_lab.unplugged("console"):
            assert seen.watch.lookup(address, LAN) == CONSOLE.mac  # an old entry is no proof
            start = time.monotonic()
            first, second = await asyncio.gather(seen.watch.probe(address, LAN), seen.watch.probe(address, LAN))
            assert (first, second) == (False, False)
            assert time.monotonic() - start < 2 * PROBE_S - 1, "one probe for both"
            await seen.seen_event(NeighbourGone(address, CONSOLE.mac, LAN))
            assert seen.watch.neighbours.mac_of(address) is None
            seen.neighbours.clear()
        gateway = HOME.ula[1] if address.version == 6 else HOME.network[1]
        reach(fresh_lab.hosts["console"], Transport.UDP, gateway, 9)
        await seen.seen_event(NeighbourSeen(Neighbour(address, CONSOLE.mac, LAN)))


async def test_an_address_that_nobody_has_is_absent(lab: Lab) -> None:
    async with watching(lab) as seen:
        probes = (seen.watch.probe(address, LAN) for address in (ABSENT, HOME.ula[200]))
        assert await asyncio.gather(*probes) == [False, False]
        assert seen.neighbours == []


async def test_addresses_that_cannot_be_probed(fresh_lab: Lab) -> None:
    fixed = HOME.network[150]
    fresh_lab.gateway.ip(f"neigh add {fixed} lladdr {PC.mac} dev {LAN} nud permanent")
    async with watching(fresh_lab) as seen:
        assert await seen.watch.probe(fixed, LAN)  # set by the operator, never overwritten
        assert await seen.watch.probe(ip_address("10.99.0.1"), LAN)  # behind another router
        assert not await seen.watch.probe(fixed, "nosuch")
        assert "PERMANENT" in fresh_lab.gateway.run(["ip", "neigh", "show", str(fixed)]).stdout
        fresh_lab.gateway.ip(f"link set {LAN} down")
        await seen.until(lambda: not seen.network.lans[0].up)
        assert not await seen.watch.probe(fixed, LAN)


@pytest.mark.parametrize("hears_all", [True, False])
async def test_another_host_takes_the_address_of_one_that_left(fresh_lab: Lab, hears_all: bool) -> None:
    address = fresh_lab.hosts["console"].address
    twin = fresh_lab.add_host(LAN, TWIN)
    async with watching(fresh_lab, hears_all=hears_all) as seen:
        assert await seen.watch.probe(address, LAN)
        with fresh_lab.unplugged("console"):
            twin.ip("addr flush dev eth0", f"addr add {address}/24 dev eth0")
            start = time.monotonic()
            reach(twin, Transport.UDP, HOME.network[1], 9, timeout=REFUSED_S)
            await seen.seen_event(AddressMoved(address, CONSOLE.mac, TWIN.mac, LAN))
            assert time.monotonic() - start < PROBE_S, "the other host answers: nobody waits for the absent one"
            assert seen.watch.neighbours.mac_of(address) == TWIN.mac
            assert not any(isinstance(event, NeighbourGone) for event in seen.neighbours)
            assert await seen.watch.probe(address, LAN)


async def test_the_kernel_asks_the_next_host_at_once_while_it_still_asks_another(fresh_lab: Lab) -> None:
    """A second address query follows another one on the same entry. The first host is gone."""
    address = fresh_lab.hosts["console"].address
    async with watching(fresh_lab, hears_all=False) as seen:
        assert await seen.watch.probe(address, LAN)
        table, index = seen.watch._table, seen.network.lans[0].index
        assert not await table.probe_mac((address, LAN), index, TWIN.mac, wait_s=0.1)
        assert await table.probe_mac((address, LAN), index, CONSOLE.mac, wait_s=0.5)


async def test_a_host_with_a_new_card_has_moved(fresh_lab: Lab) -> None:
    console = fresh_lab.hosts["console"]
    async with watching(fresh_lab) as seen:
        assert await seen.watch.probe(console.address, LAN)
        console.ip("link set eth0 down", f"link set eth0 address {TWIN.mac}", "link set eth0 up")
        reach(console, Transport.UDP, HOME.network[1], 9)
        await seen.seen_event(AddressMoved(console.address, CONSOLE.mac, TWIN.mac, LAN))


@pytest.mark.parametrize("hears_all", [True, False])
async def test_a_claim_to_the_address_of_a_host_that_is_there_moves_nothing(
    fresh_lab: Lab, hears_all: bool
) -> None:
    """ARP spoofing: the gateway's entry is taken over, the real holder still answers, the mapping stays its own."""
    address = fresh_lab.hosts["console"].address
    twin = fresh_lab.add_host(LAN, TWIN)
    async with watching(fresh_lab, hears_all=hears_all) as seen:
        assert await seen.watch.probe(address, LAN)
        assert await seen.watch.settle(address, LAN)
        seen.neighbours.clear()
        twin.ip("addr flush dev eth0", f"addr add {address}/24 dev eth0")
        with logged("upnp_gw.system.address_contests") as warning:
            reach(twin, Transport.UDP, HOME.network[1], 9, timeout=REFUSED_S)
            assert TWIN.mac in await asyncio.wait_for(warning, 5)
        assert seen.watch.contested(address, LAN)
        assert not await seen.watch.settle(address, LAN)
        assert seen.neighbours == [AddressContested(address, LAN)]


async def test_an_address_of_another_lan_is_not_learned(two_lans: Lab) -> None:
    """A guest cannot become the console by an ARP entry on its own LAN."""
    async with watching(two_lans, ["lan0", "lan1"]) as seen:
        console = two_lans.hosts["console"].address
        two_lans.gateway.ip(f"neigh replace {console} lladdr {GUEST.hosts[0].mac} dev lan1 nud reachable")
        assert await seen.watch.probe(GUEST.network[10], "lan1")
        assert seen.watch.neighbours.mac_of(console) is None
        assert await seen.watch.probe(console, "lan0")
        await seen.seen_event(NeighbourSeen(Neighbour(console, CONSOLE.mac, "lan0")))
        assert seen.watch.neighbours.mac_of(console) == CONSOLE.mac
        two_lans.gateway.ip(f"neigh del {console} dev lan1")


@pytest.mark.parametrize("net", ["10.0.40.0/28", "2001:db8:40::/64", "10.0.41.7/32"])
async def test_a_routed_prefix_is_on_the_lan_that_the_kernels_route_leads_to(two_lans: Lab, net: str) -> None:
    gateway, host = two_lans.gateway, ip_network(net)[-1]
    ways = {
        lan.interface: f"via {lan.network6[10] if ':' in net else lan.network[10]} dev {lan.interface}"
        for lan in (HOME, GUEST)
    }

    def may_come_from(seen: Watched) -> list[str]:
        return [name for name in ways if seen.network.on_link(host, name)]

    def is_on(seen: Watched, interface: str) -> bool:
        return may_come_from(seen) == [interface]

    async with watching(two_lans, ["lan0", "lan1"], routed=[ip_network(net)]) as seen:
        assert may_come_from(seen) == [], "the default route leads to the WAN"
        for interface, way in ways.items():
            gateway.ip(f"route replace {net} {way}")
            await seen.until(partial(is_on, seen, interface))
            assert seen.network.lan_of(host) == interface
        gateway.ip(f"route del {net}")
        await seen.until(lambda: may_come_from(seen) == [])
    gateway.ip(f"route add {net} {ways['lan1']}")
    async with watching(two_lans, ["lan0", "lan1"], routed=[ip_network(net)]) as seen:
        assert may_come_from(seen) == ["lan1"], "known from the start"
    gateway.ip(f"route del {net}", f"route add unreachable {net}")
    async with watching(two_lans, ["lan0", "lan1"], routed=[ip_network(net)]) as seen:
        assert may_come_from(seen) == [], "no way is no LAN"
    gateway.ip(f"route del unreachable {net}")


async def test_the_same_link_local_address_on_two_lans_is_two_hosts(two_lans: Lab) -> None:
    shared = IPv6Address("fe80::77")
    for name in ("console", "guest"):
        two_lans.hosts[name].ip(f"addr add {shared}/64 dev eth0 nodad")
    async with watching(two_lans, ["lan0", "lan1"]) as seen:
        assert await seen.watch.probe(shared, "lan0")
        assert await seen.watch.probe(shared, "lan1")
        assert seen.watch.lookup(shared, "lan0") == CONSOLE.mac
        assert seen.watch.lookup(shared, "lan1") == GUEST.hosts[0].mac
        assert seen.watch.neighbours.mac_of(shared) is None


async def test_one_lan_goes_and_comes_back_and_the_other_stays(two_lans: Lab) -> None:
    guest = GUEST.network[10]
    two_lans.gateway.sysctl("net/ipv6/conf/lan1/keep_addr_on_down", "1")
    async with watching(two_lans, ["lan0", "lan1"]) as seen:
        assert await seen.watch.probe(HOME.network[10], "lan0")
        assert await seen.watch.probe(guest, "lan1")
        two_lans.gateway.ip("link set lan1 down")
        await seen.until(lambda: not seen.network.lans[1].up)
        await seen.until(lambda: seen.watch.neighbours.mac_of(guest) is None)
        assert seen.network.lans[0].up
        assert seen.watch.neighbours.mac_of(HOME.network[10]) == CONSOLE.mac
        assert not any(
            isinstance(event, NeighbourGone) for event in seen.neighbours
        )  # our cable, not their absence
        seen.neighbours.clear()
        two_lans.gateway.ip("link set lan1 up")
        await seen.until(lambda: seen.network.lans[1].up)
        assert await seen.watch.probe(guest, "lan1")
        await seen.seen_event(NeighbourSeen(Neighbour(guest, GUEST.hosts[0].mac, "lan1")))


async def test_the_entries_of_a_prefix_that_goes_are_dropped(two_lans: Lab) -> None:
    host = GUEST.hosts[0]
    async with watching(two_lans, ["lan0", "lan1"]) as seen:
        assert await seen.watch.probe(GUEST.ula[10], "lan1")
        two_lans.gateway.ip(f"addr del {GUEST.ula[1]}/64 dev lan1")
        await seen.until(lambda: not seen.network.on_lan(GUEST.ula[10]))
        assert GUEST.ula[10] not in seen.watch.neighbours.addresses_of(host.mac)
        two_lans.gateway.ip(f"addr add {GUEST.ula[1]}/64 dev lan1 nodad")
        await seen.until(lambda: seen.network.on_lan(GUEST.ula[10]))


def crowd(verb: str, count: int = 1000) -> list[str]:
    return [
        f"neigh {verb} 10.40.{i // 250}.{i % 250 + 2} dev {LAN}"
        + (f" lladdr 02:40:00:00:{i // 256:02x}:{i % 256:02x} nud permanent" if verb != "del" else "")
        for i in range(count)
    ]


async def test_a_thousand_neighbour_events_in_under_a_millisecond_each(fresh_lab: Lab) -> None:
    gateway = fresh_lab.gateway
    gateway.ip(f"addr add 10.40.0.1/16 dev {LAN}")
    async with watching(fresh_lab) as seen:
        gateway.ip(*crowd("replace"))
        start = time.process_time()
        await seen.until(lambda: len(seen.seen) == 1000)
        assert time.process_time() - start < 1.0
        assert len(tuple(seen.watch.neighbours.all())) >= 1000
        gateway.ip(*crowd("del"))
        gateway.ip(f"neigh replace 10.40.9.9 lladdr {TWIN.mac} dev {LAN} nud permanent")
        await seen.seen_event(NeighbourSeen(Neighbour(IPv4Address("10.40.9.9"), TWIN.mac, LAN)))
        assert seen.watch.neighbours.addresses_of("02:40:00:00:00:01") == frozenset()
        assert seen.watch.resyncs == 0


async def test_a_flood_of_events_leaves_the_loop_to_others(fresh_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netwatch, "REST_S", 1.0)
    fresh_lab.gateway.ip(f"addr add 10.40.0.1/16 dev {LAN}")
    async with watching(fresh_lab) as seen:
        fresh_lab.gateway.ip(*crowd("replace", 2 * BATCH))
        await seen.until(lambda: len(seen.seen) >= BATCH)
        for _ in range(5):  # turns of the loop
            await asyncio.sleep(0)
        assert len(seen.seen) == BATCH
        await seen.until(lambda: len(seen.seen) == 2 * BATCH)


async def test_lost_events_are_made_good_by_a_full_read(fresh_lab: Lab) -> None:
    gateway = fresh_lab.gateway
    gateway.ip(f"addr add 10.40.0.1/16 dev {LAN}")
    async with watching(fresh_lab, receive_bytes=4096) as seen:
        gateway.ip(*crowd("replace"), f"addr add 10.41.0.1/16 dev {LAN}")
        await seen.until(lambda: seen.watch.resyncs and len(seen.seen) == 1000)
        assert seen.network.on_lan(ip_address("10.41.0.9"))
        gateway.ip(*crowd("del"), f"addr del 10.41.0.1/16 dev {LAN}")
        await seen.until(lambda: not seen.network.on_lan(ip_address("10.41.0.9")))
        assert seen.watch.neighbours.addresses_of("02:40:00:00:00:01") == frozenset()


async def test_an_event_that_is_not_the_kernels_is_ignored(fresh_lab: Lab) -> None:
    """Another process of the gateway with CAP_NET_ADMIN can send to our socket, too."""
    forged = HOME.network[99]
    async with watching(fresh_lab) as seen:
        body = NEIGHBOUR.pack(socket.AF_INET, seen.network.lans[0].index, NeighbourState.REACHABLE, 0, 0)
        body += attribute(1, forged.packed) + attribute(2, bytes.fromhex("020000000001"))
        message = build_message(MessageType.NEWNEIGH, 0, 0, body)
        with fresh_lab.gateway.inside():
            other = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        with other:
            other.sendto(message, seen.watch._events.getsockname())
        assert await seen.watch.probe(HOME.network[10], LAN)  # its event comes after the forged one
        await seen.seen_event(NeighbourSeen(Neighbour(HOME.network[10], CONSOLE.mac, LAN)))
        assert seen.watch.neighbours.mac_of(forged) is None


async def test_a_listener_that_raises_is_logged_and_the_watch_goes_on(
    fresh_lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(fresh_lab) as seen:

        def fails(event: NeighbourEvent) -> None:
            raise RuntimeError("listener")

        seen.watch.on_neighbour = fails
        assert await seen.watch.probe(fresh_lab.hosts["console"].address, LAN)
        assert seen.watch.neighbours.mac_of(fresh_lab.hosts["console"].address) == CONSOLE.mac
        assert "a callback for a change of the network failed" in caplog.text


@pytest.mark.spec("IGD-104")
def test_the_wan_counters_move_with_traffic_and_survive_a_new_link(fresh_lab: Lab) -> None:
    clock = [100.0]
    gateway = fresh_lab.gateway
    with gateway.inside():
        counters = WanCounters(WAN, lambda: clock[0])
        speed = counters.wan_speed()
        assert link_speed(WAN) == 10_000_000_000  # what veth says
        assert link_speed("nosuch") is None
    try:
        assert speed == 2**32 - 1
        before = counters.wan_counters()
        with EchoServer(fresh_lab.hosts["peer1"], Transport.UDP, 5000) as server:
            assert reach(gateway, Transport.UDP, server.host.address, 5000).arrived
            assert counters.wan_counters() == before  # of the same second
            clock[0] += 1.0
            after = counters.wan_counters()
        assert after[2] > before[2]
        assert after[3] > before[3]
        assert after[0] - before[0] > 20
        assert after[1] - before[1] > 20
        gateway.ip(f"link del {WAN}")
        clock[0] += 1.0
        assert counters.wan_counters() == after
        gateway.ip(f"link add {WAN} type veth peer name far", f"link set {WAN} up")
        clock[0] += 1.0
        again = counters.wan_counters()
        assert all(new >= old for new, old in zip(again, after, strict=True))
    finally:
        counters.close()


@pytest.mark.spec("SR-24")
async def test_listeners_on_the_wildcard_and_the_wan_are_the_gateways_own(fresh_lab: Lab) -> None:
    gateway = fresh_lab.gateway
    script = """
import socket, sys
def listen(family, kind, *name):
    s = socket.socket(family, kind); s.bind(name)
    if kind == socket.SOCK_STREAM: s.listen()
    return s
T, U, F, S = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.AF_INET, socket.AF_INET6
held = [
    listen(F, T, "", 22), listen(S, T, "::", 80), listen(F, T, "11.22.33.44", 443), listen(F, U, "", 500),
    listen(S, U, "::", 501), listen(S, U, "::ffff:11.22.33.44", 502), listen(F, U, "", 51820),
    listen(F, T, "192.168.77.1", 5000), listen(F, T, "127.0.0.1", 53), listen(F, U, "192.168.77.1", 5351),
    listen(F, U, "", 503),
]
held[-1].connect(("11.22.33.1", 9))
for port, device in (67, b"lan0"), (68, b"wan0"):
    held.append(socket.socket(F, U))
    held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
    held[-1].bind(("", port))
bound = socket.socket(F, T); bound.bind(("", 8080))
print("ready", flush=True)
sys.stdin.read()
"""
    process = gateway.popen(["python3", "-c", script], stdin=-1)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    clock = [100.0]
    async with watching(fresh_lab) as seen:
        listeners = ListeningPorts(lambda: seen.network, lambda: clock[0])
        with gateway.inside():
            found = listeners.ports()
    tcp, udp = Transport.TCP, Transport.UDP
    assert found == {
        (tcp, 22), (tcp, 80), (tcp, 443), (udp, 500), (udp, 501), (udp, 502), (udp, 51820),
        (udp, 68)
    }  # fmt: skip
    process.stdin.close()
    process.wait(5)
    process.stdout.close()
    with gateway.inside():
        assert listeners.ports() == found  # of the same second
        clock[0] += 1.0
        assert listeners.ports() == frozenset()


@pytest.mark.spec("SR-4")
def test_detection_in_a_real_gateway(two_lans: Lab) -> None:
    gateway = two_lans.gateway
    with gateway.inside():
        interfaces, routes = read_interfaces()
    only_home = [i for i in interfaces if i.name != "lan1"]
    chosen = detect(only_home, routes)
    assert (chosen.wan, chosen.lan) == ("wan0", ("lan0",))
    with pytest.raises(ConfigError, match="upnp-gw run --lan lan0 --wan wan0 or upnp-gw run --lan lan1 --wan wan0"):
        detect(interfaces, routes)
    assert detect(interfaces, routes, lan=["lan1", "lan0"]).lan == ("lan1", "lan0")
    astray = [
        replace(i, addresses=(IPv4Interface("11.22.33.9/16"),)) if i.name == "lan0" else i for i in interfaces
    ]
    with pytest.raises(ConfigError, match="overlap"):
        detect(astray, routes, lan=["lan0"])


BRIDGED = ("link add br7 type bridge", "link set wan0 master br7")
OVER_THE_WAN = "link add mv7 link wan0 type macvlan mode bridge"


@pytest.mark.spec("SR-4")
@pytest.mark.parametrize(
    ("made", "wan", "lan"),
    [
        ((), "wan0", "wan0"),
        ((*BRIDGED, "link set lan0 master br7"), "wan0", "lan0"),
        ((*BRIDGED, "link set lan0 master br7"), "wan0", "br7"),
        (BRIDGED, "br7", "wan0"),
        ((OVER_THE_WAN,), "wan0", "mv7"),
        ((OVER_THE_WAN,), "mv7", "wan0"),
        ((OVER_THE_WAN, "link add br8 type bridge", "link set mv7 master br8"), "wan0", "br8"),
    ],
)
def test_a_lan_on_the_wire_of_the_wan_is_refused(fresh_lab: Lab, made: Sequence[str], wan: str, lan: str) -> None:
    gateway = fresh_lab.gateway
    gateway.ip(*made)
    with gateway.inside():
        interfaces, routes = read_interfaces()
        with pytest.raises(ConfigError, match=r"bridged together|also the WAN|leads to the internet"):
            detect(interfaces, routes, wan=wan, lan=[lan])
        if "br7" not in " ".join(made):
            assert detect(interfaces, routes, wan="wan0", lan=["lan0"]).lan == ("lan0",)
