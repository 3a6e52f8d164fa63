"""Two firewalls without NAT in a row, and the inner one asks the outer one for its hosts: their own addresses and
ports all the way, over IPv6 and IPv4. For another host than the sender the outer one needs a grant with ``for``."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import REACHED_S, ROOMY, ROUTER, SHUT_S, TCP, pinhole
from tests.lab.igd_control_point import ControlPoint, Fault
from tests.lab.office import PORT, Office, listening, pcp, served_office
from upnp_gw.lab import INNER, OFFICE, Host, Topology
from upnp_gw.lab.control_socket import ask
from upnp_gw.lab.daemon import LabDaemon
from upnp_gw.lab.probe import reach
from upnp_gw.model.mapping import IPAddress
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.pcp.messages import ResultCode

pytestmark = pytest.mark.lab

SERIES = Topology(lans=(replace(OFFICE, routers=(INNER,)),))
INNER_GATEWAY = INNER.lan.network[1]
OUTER = f"""
[lan]
interfaces = ["lan1"]
routed = ["{INNER.lan.network}", "{INNER.lan.network6}"]
[firewall]
nat = false
"""
INSIDE = """
[lan]
interfaces = ["lan0"]
[wan]
interface = "wan0"
[firewall]
nat = false
mode = "router"
[upstream]
when = "always"
ask = ["{ask}"]
"""
FOR = f"""
[[grant]]
name = "hosts-behind-the-inner-firewall"
who = "*"
for = ["{INNER.lan.network}", "{INNER.lan.network6}"]
max_mappings = 50
owner = "the test"
reason = "the inner firewall asks for its hosts"
review_by = 2099-01-01
"""


@dataclass
class Firewalls:
    """The outer one, and the inner one below it."""

    office: Office
    inner: LabDaemon

    @property
    def rack(self) -> Host:
        return self.office.home.lab.hosts["rack"]

    def rows(self) -> list[list[dict[str, Any]]]:
        """Those of the outer and of the inner one."""
        return [self.office.home.rows(), ask(self.inner.runtime_dir, "GET", "/v1/mappings")]

    def arrives(self, address: IPAddress, timeout: float = REACHED_S) -> bool:
        """A connection from the internet to the rack's port."""
        return bool(reach(self.office.home.peer, TCP, address, PORT, timeout=timeout))

    def shut(self, address: IPAddress) -> bool:
        return not self.arrives(address, SHUT_S)


@contextmanager
def firewalls(directory: Path, word: str, grants: str) -> Iterator[Firewalls]:
    with served_office(directory, *ROUTER, topology=SERIES, config=OUTER, policy=ROOMY + grants) as office:
        below = directory / "inner"
        below.mkdir()
        config, policy = below / "config.toml", below / "policy.toml"
        config.write_text(INSIDE.format(ask=word))
        policy.write_text(ROOMY.replace("{limits}", ""))
        host = office.home.lab.hosts["inner"]
        with LabDaemon(host, below, "--config", str(config), "--policy", str(policy)) as daemon:
            yield Firewalls(office, daemon)


@pytest.mark.parametrize("word", ["pcp", "igd"])
def test_a_host_opens_its_own_address_through_both(namespaces: None, tmp_path: Path, word: str) -> None:
    with firewalls(tmp_path, word, FOR) as pair:
        rack = pair.rack
        with listening((rack, TCP, PORT)):
            assert pcp(rack, PORT, server=INNER_GATEWAY).result is ResultCode.SUCCESS
            assert pair.arrives(rack.address)
            outer, inner = pair.rows()
            assert [row["internal_client"] for row in (*outer, *inner)] == [str(rack.address)] * 2
            assert inner[0]["above"]["state"] == "granted"
            assert pcp(rack, PORT, 0, server=INNER_GATEWAY).result is ResultCode.SUCCESS
            assert pair.shut(rack.address)
            assert until(lambda: pair.rows() == [[], []])

            point = ControlPoint(rack, INNER_GATEWAY, IgdVersion.IGD2)
            unique_id = pinhole(point, PORT)
            assert pair.arrives(rack.address6)
            assert [row["internal_client"] for rows in pair.rows() for row in rows] == [str(rack.address6)] * 2
            point.call("DeletePinhole", "WANIPv6FirewallControl", UniqueID=unique_id)
            assert pair.shut(rack.address6)
            assert until(lambda: pair.rows() == [[], []])


def test_without_a_grant_for_its_hosts_the_outer_one_refuses(namespaces: None, tmp_path: Path) -> None:
    with firewalls(tmp_path, "pcp", "") as pair:
        assert pcp(pair.rack, PORT, server=INNER_GATEWAY).result is not ResultCode.SUCCESS
        point = ControlPoint(pair.rack, INNER_GATEWAY, IgdVersion.IGD2)
        with pytest.raises(Fault) as refusal:
            pinhole(point, PORT)
        assert "the gateway above at" in str(refusal.value)
        assert pair.rows() == [[], []]
