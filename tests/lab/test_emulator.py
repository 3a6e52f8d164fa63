"""The same program as an emulator: on the loopback, with nothing behind it, for tests of clients."""

import json
import sys
from pathlib import Path

import pytest

from upnp_gw.lab import Host, Lab
from upnp_gw.lab.daemon import LabDaemon

pytestmark = pytest.mark.lab


def test_a_client_on_the_same_host_maps_a_port_and_is_refused_one(lab: Lab, tmp_path: Path) -> None:
    options = ("--lan", "lo", "--wan", "wan0", "--backend", "memory", "--http-port", "5000")
    with LabDaemon(lab.gateway, tmp_path, *options) as daemon:
        argv = [sys.executable, "-m", "upnp_gw.lab.control_point", "--location", "http://127.0.0.1:5000/igd1.xml"]
        actions = ["add:tcp:8080:8080:600", "add:tcp:2222:22:600", "delete:tcp:8080"]
        done = lab.gateway.run([*argv, "127.0.0.1", *actions], timeout=30)
        found, added, refused, deleted = (json.loads(line) for line in done.stdout.splitlines())
        assert found["external_address"] == str(lab.external[0])
        assert added["ok"], added
        assert (refused["ok"], refused["code"]) == (False, 606)
        assert deleted["ok"], deleted
        log = daemon.cli("log", "--json").stdout.splitlines()
        verdicts = [json.loads(line)["verdict"] for line in log]
        assert sorted(verdicts) == ["allow", "allow", "deny"]
        assert not daemon.json("list")


def test_without_nat_a_client_gets_its_own_address_and_port(lab: Lab, tmp_path: Path) -> None:
    options = ("--lan", "lo", "--backend", "memory", "--http-port", "5000", "--no-nat")
    with LabDaemon(lab.gateway, tmp_path, *options) as daemon:
        argv = [sys.executable, "-m", "upnp_gw.lab.control_point", "--location", "http://127.0.0.1:5000/igd1.xml"]
        done = lab.gateway.run([*argv, "127.0.0.1", "add:tcp:8080:8080:600", "add:tcp:8081:9091:600"], timeout=30)
        found, added, refused = (json.loads(line) for line in done.stdout.splitlines())
        assert found["external_address"] == "127.0.0.1"
        assert added["ok"], added
        assert (refused["ok"], refused["code"]) == (False, 724)
        assert [lan["nat"] for lan in daemon.json("status")["lan"]] == [False]
        assert "upnp-gw emulate" in daemon.output[0]
        assert daemon.output[1].startswith("upnp-gw "), daemon.output
        assert "serves lo without NAT for emulated" in daemon.output[1]


def test_it_needs_no_wan_no_route_and_no_neighbour_port(namespaces: None, tmp_path: Path) -> None:
    """Two beside each other on a host that has a loopback and nothing else; the status answers when both serve."""
    host = Host("bare")
    host.ip("link set lo up")
    first = ("--lan", "lo", "--backend", "memory", "--http-port", "5000")
    second = ("--lan", "lo", "--backend", "memory", "--http-port", "5001", "--external", "9.9.9.1")
    try:
        with LabDaemon(host, tmp_path / "1", *first) as one, LabDaemon(host, tmp_path / "2", *second) as other:
            for daemon, port, address in ((one, 5000, "11.22.33.44"), (other, 5001, "9.9.9.1")):
                status = daemon.json("status")
                assert status["wan"]["external_addresses"] == [address]
                assert [warning for warning in status["warnings"] if "policy" not in warning] == []
                argv = ["upnpc", "-u", f"http://127.0.0.1:{port}/igd1.xml", "-s"]
                output = host.run(argv, timeout=30).stdout
                assert "Status : Connected" in output
                assert f"ExternalIPAddress = {address}" in output
    finally:
        host.close()


MOVED = """
from upnp_gw.firewall.nftables import NftablesFirewall
from upnp_gw.testing import Emulator, gateway

gateway.MemoryFirewall = lambda clock: NftablesFirewall(clock=clock)
with Emulator() as igd:
    try:
        igd.advance(seconds=1)
    except RuntimeError as error:
        print(error)
"""


def test_with_nftables_time_cannot_be_moved(lab: Lab) -> None:
    """The kernel would keep open what the test takes for ended."""
    done = lab.gateway.run([sys.executable, "-c", MOVED], timeout=60)
    assert done.stdout.startswith("time cannot be moved with nftables"), done.stdout + done.stderr
