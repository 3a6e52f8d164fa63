"""Two firewalls without NAT in a row, and the inner one asks the outer one for its hosts: their own addresses and
ports all the way, over IPv6 and IPv4. For another host than the sender the outer one needs a grant with ``for``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import ROOMY, ROUTER, TCP, pinhole
from tests.lab.firewalls_in_series import INNER_GATEWAY, INSIDE, OUTER, SERIES, Firewalls
from tests.lab.igd_control_point import ControlPoint, Fault
from tests.lab.office import PORT, listening, pcp, served_office
from upnp_gw.lab import INNER
from upnp_gw.lab.control_socket import ask
from upnp_gw.lab.daemon import LabDaemon
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.pcp.messages import ResultCode

pytestmark = pytest.mark.lab

ASKING = """
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


def rows(pair: Firewalls) -> list[list[dict[str, Any]]]:
    """Those of the outer and of the inner one."""
    assert pair.inner is not None
    return [pair.office.home.rows(), ask(pair.inner.runtime_dir, "GET", "/v1/mappings")]


@contextmanager
def firewalls(directory: Path, word: str, grants: str) -> Iterator[Firewalls]:
    with served_office(directory, *ROUTER, topology=SERIES, config=OUTER, policy=ROOMY + grants) as office:
        below = directory / "inner"
        below.mkdir()
        config, policy = below / "config.toml", below / "policy.toml"
        config.write_text(INSIDE + ASKING.format(ask=word))
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
            outer, inner = rows(pair)
            assert [row["internal_client"] for row in (*outer, *inner)] == [str(rack.address)] * 2
            assert inner[0]["above"]["state"] == "granted"
            assert pcp(rack, PORT, 0, server=INNER_GATEWAY).result is ResultCode.SUCCESS
            assert pair.shut(rack.address)
            assert until(lambda: rows(pair) == [[], []])

            point = ControlPoint(rack, INNER_GATEWAY, IgdVersion.IGD2)
            unique_id = pinhole(point, PORT)
            assert pair.arrives(rack.address6)
            assert [row["internal_client"] for each in rows(pair) for row in each] == [str(rack.address6)] * 2
            point.call("DeletePinhole", "WANIPv6FirewallControl", UniqueID=unique_id)
            assert pair.shut(rack.address6)
            assert until(lambda: rows(pair) == [[], []])


def test_without_a_grant_for_its_hosts_the_outer_one_refuses(namespaces: None, tmp_path: Path) -> None:
    with firewalls(tmp_path, "pcp", "") as pair:
        assert pcp(pair.rack, PORT, server=INNER_GATEWAY).result is not ResultCode.SUCCESS
        point = ControlPoint(pair.rack, INNER_GATEWAY, IgdVersion.IGD2)
        with pytest.raises(Fault) as refusal:
            pinhole(point, PORT)
        assert "the gateway above at" in str(refusal.value)
        assert rows(pair) == [[], []]
