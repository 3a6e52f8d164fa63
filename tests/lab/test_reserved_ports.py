"""Ports that are the gateway's own, whole: a service that listens and a dnat of the administrator are nobody's."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import ROUTER, TCP, Home, served_home
from tests.lab.igd_control_point import Fault, refused
from upnp_gw.lab import CONSOLE, HOME, Host, Lab
from upnp_gw.lab.probe import EchoServer
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

SERVICE, STATIC = 2222, 8443
MANUAL = f"""
table ip manual {{
  chain prerouting {{ type nat hook prerouting priority dstnat; policy accept;
    iifname "wan0" tcp dport {STATIC} dnat to {HOME.network[CONSOLE.number]}:{STATIC};
  }}
}}
"""


@pytest.fixture
def home(namespaces: None, tmp_path: Path) -> Iterator[Home]:
    def by_hand(lab: Lab) -> None:
        lab.gateway.nft(MANUAL)

    with served_home(tmp_path, *ROUTER, before=by_hand) as home:
        yield home


def natpmp(host: Host, gateway: object, external: int, internal: int) -> int:
    """Asks with natpmpc for a port; the one that was given."""
    request = ("natpmpc", "-g", str(gateway), "-a", str(external), str(internal), "tcp", "600")
    (given,) = re.findall(r"Mapped public port (\d+)", host.run(request).stdout)
    return int(given)


@pytest.mark.spec("SR-24", "IGD-139")
def test_a_live_listener_and_a_manual_dnat_are_never_granted(home: Home) -> None:
    pc, gateway = home.pc, home.gateway
    with EchoServer(gateway, TCP, SERVICE), EchoServer(home.console, TCP, STATIC), EchoServer(pc, TCP, 9000):
        for port in (SERVICE, STATIC):
            for igd_version, code in ((IgdVersion.IGD1, 718), (IgdVersion.IGD2, 729)):
                with refused(code):
                    home.point("pc", igd_version).add(port, NewInternalPort=9000)
            other = home.point("pc", IgdVersion.IGD2).add_any(port, NewInternalPort=9000)
            assert other not in (SERVICE, STATIC)
            assert home.reach(other).answered_by == "pc"
            home.point("pc", IgdVersion.IGD2).delete(other)
            assert natpmp(pc, gateway.address, port, port) not in (SERVICE, STATIC)
            denied = home.daemon.cli("add", "tcp", str(port), f"{pc.address}:9000", check=False)
            assert denied.returncode == 1, "nor by the operator, who would not find it again"
        assert home.reach(STATIC).answered_by == "console", "the administrator's rule leads where it led"
        assert not {row["external_port"] for row in home.rows()} & {SERVICE, STATIC}
        home.agree()
    home.clear()

    def granted() -> bool:
        try:
            home.point("pc").add(SERVICE, NewInternalPort=9000)
        except Fault:
            return False
        return True

    assert until(granted, 10), "the service has ended, its port is free"
