"""Nothing of ours answers on the WAN side, whatever state gateway and table are in (SR-1).

What is asked: every port that is served, at every address that the gateway has, from a host of the internet and
from the router between, over IPv4 and IPv6; and in the name of a LAN host.
"""

import signal
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import IPv4Address
from os import kill
from pathlib import Path

import pytest

from tests.fixtures.lab_firewall import masquerading
from tests.fixtures.waiting import until
from tests.lab.end_to_end import Home, served_home
from tests.lab.floods import ip_datagram
from tests.lab.packets import captured
from tests.lab.test_end_to_end_hostile import GET, NATPMP_ADDRESS, PCP_ANNOUNCE, SEARCH, Probe, answered
from upnp_gw.lab import Lab
from upnp_gw.model.mapping import IPAddress

pytestmark = pytest.mark.lab

PROBES = [("tcp", 5000, GET), ("udp", 1900, SEARCH), ("udp", 5351, NATPMP_ADDRESS), ("udp", 5351, PCP_ANNOUNCE)]


FORGED_PORT = 40000
"""The port to which the named LAN host would get its answers."""


def probes_of(address: IPAddress) -> list[Probe]:
    return [Probe(transport, address, port, data) for transport, port, data in PROBES]


def with_table(home: Home) -> None:
    """The daemon runs, the table is installed."""


def table_flushed(home: Home) -> None:
    """Somebody flushes the ruleset while the daemon cannot put it back: its sockets are alone."""
    kill(home.daemon.pid, signal.SIGSTOP)
    home.gateway.run(["nft", "flush", "ruleset"])


def table_back(home: Home) -> None:
    """The daemon goes on: it puts its table back, and would answer now the requests left in its sockets."""
    kill(home.daemon.pid, signal.SIGCONT)
    assert until(lambda: "upnp_gw" in home.gateway.run(["nft", "list", "tables"]).stdout, 10)
    home.point().external_address()


def other_wan_address(home: Home) -> None:
    home.renumber_wan(IPv4Address("11.22.33.77"))
    assert until(lambda: home.point().external_address() == "11.22.33.77", 10)


def wan_made_again(home: Home) -> None:
    home.lab.replug_wan()
    assert until(lambda: home.point().external_address() == str(home.external), 10)


def daemon_killed(home: Home) -> None:
    home.daemon.kill()


SITUATIONS: dict[str, list[Callable[[Home], None]]] = {
    "router": [with_table, table_flushed, table_back, wan_made_again, daemon_killed],
    "alongside": [with_table, table_flushed, table_back, other_wan_address],
}


@pytest.fixture(params=SITUATIONS)
def mode(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@contextmanager
def prepared(directory: Path, mode: str) -> Iterator[Home]:
    """The internet has a way to every address of the gateway, and nothing is filtered by where it comes from."""

    def before(lab: Lab) -> None:
        for name in ("all", "default", "wan0", "lan0"):
            lab.gateway.sysctl(f"net/ipv4/conf/{name}/rp_filter", "0")
        if mode == "alongside":
            masquerading(lab)

    with served_home(directory, "--firewall", mode, before=before) as home:
        yield home


def ways_inside(home: Home) -> list[IPAddress]:
    """Routes from the internet to the gateway's inner addresses; the answer is every address to ask at."""
    (wan4,) = home.wan_addresses()
    for lan in home.lab.topology.lans:
        home.lab.internet.ip(f"route replace {lan.network} via {wan4}")
        home.lab.internet.ip(f"route replace {lan.ula} via {home.lab.external6}")
    inside = (home.gateway.address, home.gateway.address6, home.gateway.ula)
    return [IPv4Address(wan4), home.lab.external6, *inside]


def forged(home: Home) -> list[bytes]:
    """IPv4 datagrams in the console's name."""
    console, (wan4,) = home.console.address, home.wan_addresses()
    targets = [IPv4Address(wan4), home.gateway.address]
    asks = [(port, data) for transport, port, data in PROBES if transport == "udp"]
    return [ip_datagram(console, target, FORGED_PORT, port, data) for target in targets for port, data in asks]


def send_to_gateway(home: Home, packets: list[bytes]) -> None:
    """Raw IP packets over the wire between the internet and the gateway."""
    with home.lab.internet.inside():
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        wire.bind(("gateway", 0))
    mac = bytes.fromhex(home.gateway.run(["cat", "/sys/class/net/wan0/address"]).stdout.strip().replace(":", ""))
    with wire:
        for packet in packets:
            wire.send(mac + bytes.fromhex("020000000009") + struct.pack("!H", 0x0800) + packet)


@pytest.mark.spec("SR-1", "PMP-071", "PCP-180")
def test_the_wan_gets_no_byte_in_any_state_of_the_gateway(namespaces: None, tmp_path: Path, mode: str) -> None:
    with prepared(tmp_path, mode) as home:
        everywhere = probes_of(home.gateway.address)
        assert answered(home.console, everywhere) == everywhere
        for situation in SITUATIONS[mode]:
            with captured(home.console) as seen:
                situation(home)
                outside = [ask for address in ways_inside(home) for ask in probes_of(address)]
                with ThreadPoolExecutor(2) as threads:
                    both = [threads.submit(answered, host, outside) for host in (home.peer, home.lab.internet)]
                send_to_gateway(home, forged(home))
                if situation not in (table_flushed, daemon_killed):
                    home.point().external_address()  # what came before it is answered by now
            assert (situation.__name__, [one.result() for one in both]) == (situation.__name__, [[], []])
            came = [packet for packet in seen.packets if packet.ports[0] in (1900, 5351)]
            assert (situation.__name__, [packet for packet in came if packet.ports[1] == FORGED_PORT]) == (
                situation.__name__,
                [],
            )
