"""A device's FILTERs fill the kernel's maps: every other mapping that the policy allows has room all the same."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.lab.end_to_end import ROUTER, TCP, served_home
from tests.lab.test_pinholes import at, pinhole
from tests.lab.test_port5351 import GATEWAY6, talk
from upnp_gw.lab.probe import EchoServer
from upnp_gw.model.mapping import MOST_FILTERS, IPAddress
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.pcp.messages import PcpFilter, ResultCode

pytestmark = pytest.mark.lab

TOTAL = 20
GREEDY = 9
"""Mappings with as many FILTERs as one can have, for prefixes and for single hosts, over IPv4 and over IPv6."""
POLICY = f"""
version = 1
default = "deny"
[limits]
total_mappings = {TOTAL}
elements_per_device = {TOTAL * MOST_FILTERS}
requests_per_minute = 600
[[grant]]
name = "everyone"
who = "*"
family = ["ip4", "ip6"]
"""


def filters(number: int, family: int) -> tuple[PcpFilter, ...]:
    """Of other remote hosts for each mapping; odd numbers: single hosts."""
    first = ip_address(f"2a11:60:{number:x}::" if family == 6 else f"11.{60 + number}.0.0")
    places: list[IPAddress] = [first + (place << 8) for place in range(MOST_FILTERS)]
    return tuple(PcpFilter(128 - (0 if number % 2 else 4), 0, place) for place in places)


@pytest.mark.spec("SR-5")
def test_filters_of_one_device_leave_room_for_the_mappings_of_another(namespaces: None, tmp_path: Path) -> None:
    with served_home(tmp_path, *ROUTER, policy=POLICY) as home:
        home.gateway.sysctl("net/ipv6/conf/all/forwarding", "1")
        with talk(home.console) as line, talk(home.console, home.console.address6, GATEWAY6) as line6:
            for number in range(GREEDY):
                port = 6000 + number
                assert line.map(port, port, 600, *filters(number, 4)).result is ResultCode.SUCCESS
                assert line6.map(port, 0, 600, *filters(number, 6)).result is ResultCode.SUCCESS
        with EchoServer(home.pc, TCP, 5000):
            home.point("pc").add(5000)
            assert home.reach(5000).answered_by == "pc"
            pinhole(home.point("pc", IgdVersion.IGD2), 5000)
            assert at(home.peer, home.pc.address6, 5000).answered_by == "pc"
        assert len(home.rows()) == TOTAL
        assert not [line for line in home.daemon.output if "the kernel refused" in line]
