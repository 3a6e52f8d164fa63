"""Openings of the kernel that a policy can or cannot allow."""

from ipaddress import ip_address, ip_network

import pytest

from tests.fixtures.policies import policy_of
from upnp_gw.gate.proof.opened import Opened, beyond
from upnp_gw.model.mapping import Transport

POLICY = policy_of("""
[device.nas]
mac = ["00:11:32:00:00:02"]
[[forbid]]
name = "admin"
int_ports = [22]
[[grant]]
name = "web"
who = "nas"
proto = "tcp"
int_ports = [22, "8000-8099"]
ext_ports = ["8000-8099", 443]
remote = ["203.0.113.0/24", "2001:db8:9::/48"]
max_mappings = 1
hours = "22:00-06:00"
[[grant]]
name = "asks"
who = "*"
approve = true
""")
CLIENT, CLIENT6 = ip_address("192.168.1.10"), ip_address("2001:db8:1::10")
OFFICE, OFFICE6 = (ip_network("203.0.113.0/24"),), (ip_network("2001:db8:9::/48"),)
TCP = Transport.TCP


@pytest.mark.parametrize(
    "opened",
    [
        Opened(TCP, CLIENT, ((8000, 8000),), ((8000, 8000),), OFFICE),
        Opened(TCP, CLIENT, ((8000, 8099),), ((443, 443),), (ip_network("203.0.113.7"),)),
        Opened(TCP, CLIENT, ((8000, 8000),), ((8000, 8000),), OFFICE, "web"),
        Opened(TCP, CLIENT6, ((8001, 8001),), None, OFFICE6),
        Opened(TCP, CLIENT, ((8001, 8001),), None, OFFICE),
    ],
)
def test_it_can_be_allowed(opened: Opened) -> None:
    assert beyond(POLICY, opened) == ()


@pytest.mark.parametrize(
    "opened",
    [
        Opened(TCP, CLIENT, ((8000, 8000),), ((8000, 8000),)),
        Opened(TCP, CLIENT, ((22, 22),), ((443, 443),), OFFICE),
        Opened(Transport.UDP, CLIENT, ((8000, 8000),), ((8000, 8000),), OFFICE),
        Opened(TCP, CLIENT, ((8000, 8000),), ((8000, 8000),), OFFICE, "asks"),
        Opened(TCP, ip_address("203.0.114.9"), ((8000, 8000),), ((443, 443),), OFFICE),
        Opened(TCP, CLIENT6, ((443, 443),), None, OFFICE6),
    ],
)
def test_it_cannot(opened: Opened) -> None:
    assert beyond(POLICY, opened)


def test_the_part_beyond_is_named() -> None:
    (part,) = beyond(POLICY, Opened(TCP, CLIENT, ((7999, 8001),), ((443, 443),), OFFICE))
    assert part.int_ports == ((7999, 7999),)
    assert part.ext_ports == ((443, 443),)
    remotes = beyond(POLICY, Opened(TCP, CLIENT, ((8000, 8000),), ((443, 443),)))
    assert all(part.remote not in OFFICE[0] for part in remotes)
