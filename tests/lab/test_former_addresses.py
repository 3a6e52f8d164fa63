"""DHCP gives the console a new address: its port goes along over every protocol, if the old address is silent."""

import time
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from tests.lab.end_to_end import TCP, Home
from tests.lab.igd_control_point import refused
from tests.lab.test_port5351 import talk
from upnp_gw.lab import CONSOLE, HOME
from upnp_gw.lab.probe import EchoServer, dial
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.system.neighbour_table import PROBE_S

pytestmark = pytest.mark.lab

OLD, NEW = HOME.network[CONSOLE.number], HOME.network[77]
PORT = 8080
Ask = Callable[[Home, IPv4Address], int]


def has(home: Home, *addresses: IPv4Address) -> None:
    """The console has these addresses and no other."""
    gateway, interface = HOME.network[1], home.console.interface
    home.console.ip(
        f"addr flush dev {interface} scope global",
        *(f"addr add {address}/{HOME.network.prefixlen} dev {interface}" for address in addresses),
        f"route replace default via {gateway}",
    )


def by_igd(home: Home, own: IPv4Address, igd_version: IgdVersion = IgdVersion.IGD1) -> int:
    home.point("console", igd_version).add(PORT, NewInternalClient=own)
    return PORT


def by_igd_any(home: Home, own: IPv4Address) -> int:
    return home.point("console", IgdVersion.IGD2).add_any(PORT, NewInternalClient=own)


def by_natpmp(home: Home, own: IPv4Address) -> int:
    with talk(home.console, own) as line:
        request = natpmp.build_request(natpmp.MappingRequest(TCP, PORT, PORT, 600))
        answer = natpmp.parse_response(line.ask(request))
        assert isinstance(answer, natpmp.MappingResponse)
        return answer.external_port


def by_pcp(home: Home, own: IPv4Address) -> int:
    with talk(home.console, own) as line:
        answer = line.map(PORT, PORT, 600).map
        assert answer is not None
        return answer.external_port


ASKS: dict[str, Ask] = {"IGD": by_igd, "IGD, any port": by_igd_any, "NAT-PMP": by_natpmp, "PCP": by_pcp}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_the_port_moves_along_to_the_new_address(home: Home, ask: Ask) -> None:
    has(home, OLD)
    with EchoServer(home.console, TCP, PORT):
        assert ask(home, OLD) == PORT
        assert home.reach(PORT)
        has(home, NEW)
        begun = time.monotonic()
        assert ask(home, NEW) == PORT
        assert time.monotonic() - begun < 2 * PROBE_S, "nobody answers within 3 probes of a second each"
        assert home.row(PORT)["internal_client"] == str(NEW)
        with dial(home.peer, TCP, home.external, PORT) as call:
            assert call.ask().answered_by == "console"
        assert len(home.rows()) == 1


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_a_host_behind_the_same_mac_address_keeps_its_port_while_it_answers(home: Home, ask: Ask) -> None:
    """As behind a Wi-Fi extender: both addresses answer with one MAC address."""
    has(home, OLD, NEW)
    with EchoServer(home.console, TCP, PORT):
        assert ask(home, OLD) == PORT
        if ask is by_igd:
            with refused(718):
                ask(home, NEW)
        else:
            other = ask(home, NEW)
            assert other != PORT
            assert home.reach(other)
            assert home.row(other)["internal_client"] == str(NEW)
        assert home.row(PORT)["internal_client"] == str(OLD)
        assert home.reach(PORT)
