"""The operator's yes and no, whole: a real client asks, the command line answers, packets arrive or do not."""

import json
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.end_to_end import ROUTER, TCP, Home, ended, served_home
from upnp_gw.lab import Host
from upnp_gw.lab.probe import EchoServer, dial
from upnp_gw.system.dhcp_lease_files import AT_ONCE_S

pytestmark = pytest.mark.lab

ASK = """
version = 1
default = "ask"
[limits]
requests_per_minute = 600
[[forbid]]
name = "never-admin-ports"
int_ports = [22, 23, 135, "137-139", 445, 3389, 5900]
"""
IGD2_DESCRIPTION = ("-u", "http://192.168.77.1:5000/igd2.xml")


@pytest.fixture(scope="module")
def home(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with served_home(tmp_path_factory.mktemp("d"), *ROUTER, policy=ASK) as home:
        yield home


def upnpc(host: Host, *words: object) -> str:
    return host.run(["upnpc", *IGD2_DESCRIPTION, *map(str, words)], check=False).stdout


def asks(host: Host, port: int) -> str:
    return upnpc(host, "-a", host.address, port, port, "TCP", 600)


def refused(made: Home, *words: str) -> dict[str, Any]:
    """A command that ends with 1, and why."""
    done = made.daemon.cli(*words, "--json", check=False)
    assert done.returncode == 1, done.stdout
    problem: dict[str, Any] = json.loads(done.stderr)
    return problem


@pytest.mark.spec("SR-6", "SR-28", "SR-29")
def test_after_an_approval_the_packet_arrives(home: Home) -> None:
    with EchoServer(home.console, TCP, 8080):
        output = asks(home.console, 8080)
        assert "606" in output
        (question,) = home.daemon.json("queue")
        assert question["decision"] in home.daemon.cli("log").stdout
        waits = "1 question waits: upnp-gw queue"
        assert f"queue     {waits}" in home.daemon.cli("status").stdout.splitlines()
        assert home.daemon.cli("list").stdout.splitlines() == [waits, "no mappings"]
        assert sum(waits in line for line in home.daemon.output) == 1
        assert home.shut(8080), "no answer is no"
        told = home.daemon.cli("approve", str(question["number"]), "--for", "30d").stdout
        assert "is open" in told
        assert home.reach(8080).answered_by == "console", "open at once, before the client came back"
        assert "is redirected to internal" in asks(home.console, 8080), "and it may come back"
        explained = home.daemon.json("explain", question["decision"])
        assert (explained["verdict"], explained["superseded"], explained["note"]) == ("ask", True, None)
        assert explained["grants"] or explained["forbids"], "the rules of before the yes"
    approved = tomllib.loads((home.daemon.state_dir / "approved.toml").read_text())
    (grant,) = approved["grant"]
    assert (grant["int_ports"], grant["proto"], "until" in grant) == ([8080], ["tcp"], True)
    assert home.daemon.json("queue") == []
    assert "queue" not in home.daemon.cli("status").stdout
    home.agree()


@pytest.mark.spec("SR-7")
def test_block_closes_mappings_of_the_device_and_leaves_those_of_the_operator(home: Home) -> None:
    address = str(home.console.address)
    home.daemon.cli("revoke", "--device", address)
    home.daemon.cli("allow", address, "8090", "--proto", "tcp", "--for", "1d")
    added = home.daemon.json("add", "tcp", "8091", address, "--ttl", "1h")["id"]
    with EchoServer(home.console, TCP, 8090), EchoServer(home.console, TCP, 8091):
        asks(home.console, 8090)
        held = home.row(8090)["id"]
        with dial(home.peer, TCP, home.external, 8090) as call, dial(home.peer, TCP, home.external, 8091) as own:
            assert (call.ask().answered_by, own.ask().answered_by) == ("console", "console")
            lines = home.daemon.cli("block", address).stdout.splitlines()
            assert own.ask().answered_by == "console"
            assert ended(call)
        assert lines[-6:] == [
            f"closed {held}: tcp/8090 -> {address}:8090",
            "1 mapping and 0 questions ended",
            "Still open, because you added it (upnp-gw add):",
            f"  {added}: tcp/8091 -> {address}:8091",
            "To close it:",
            f"  upnp-gw delete {added}",
        ]
        assert home.shut(8090)
        assert home.reach(8091).answered_by == "console"
        home.daemon.cli(*lines[-1].split()[1:])
        assert home.shut(8091)
    home.daemon.cli("release", address)
    home.agree()


@pytest.mark.spec("SR-7")
def test_revoke_ends_the_mapping_its_live_flow_and_the_questions(home: Home) -> None:
    mac = str(next(d["device"] for d in home.daemon.json("devices") if str(home.console.address) in d["addresses"]))
    home.daemon.cli("allow", str(home.console.address), "8081", "--proto", "tcp", "--for", "1d")
    with EchoServer(home.console, TCP, 8081):
        asks(home.console, 8081)
        asks(home.console, 9999)
        with dial(home.peer, TCP, home.external, 8081) as call:
            assert call.ask()
            revoked = home.daemon.json("revoke", "--device", mac)
            assert 8081 in {mapping["external_port"] for mapping in revoked["mappings"]}
            assert revoked["questions"] == 1
            assert not call.ask()
        assert home.shut(8081)
    assert home.daemon.json("queue") == []
    home.agree()


def test_block_and_release(home: Home) -> None:
    pc = str(home.pc.address)
    home.daemon.cli("name", pc, "office")
    home.daemon.cli("allow", "office", "8085")
    with EchoServer(home.pc, TCP, 8085):
        asks(home.pc, 8085)
        assert home.reach(8085).answered_by == "pc"
        assert 'name = "block-office"' in home.daemon.cli("block", "office").stdout
        assert home.shut(8085)
        assert "606" in asks(home.pc, 8085)
        assert "block-office" in home.daemon.cli("release", "office").stdout
        asks(home.pc, 8085)
        assert home.reach(8085).answered_by == "pc"
    assert "office" in home.daemon.cli("devices").stdout


@pytest.mark.spec("SR-7")
def test_an_infected_pc_is_one_incident_with_a_banner_until_released(home: Home) -> None:
    guest = home.pc
    for port in (22, 23, 135, 137, 138, 139, 445, 3389, 5900):
        asks(guest, port)
    for port in (80, 81, 443):
        asks(guest, port)  # a port below 1024 needs a grant that names it
    (incident,) = home.ask("GET", "/v1/incidents")
    assert incident["device_name"] == "office"
    banner = home.daemon.cli("list", columns=200).stdout.splitlines()[0]
    assert banner.startswith("INCIDENT: office")
    assert "is frozen until" in banner
    assert "606" in asks(guest, 10000)
    assert "ended: office" in home.daemon.cli("release", "office").stdout
    assert home.ask("GET", "/v1/incidents") == []


def test_a_command_that_cannot_be_done_says_why_and_ends_with_one(home: Home) -> None:
    assert refused(home, "approve", "4711")["error"] == "not-found"
    assert refused(home, "name", "8.8.8.8", "google")["field"] == "device"
    assert refused(home, "retract", "never-admin-ports")["error"] == "not-found"


def test_acknowledged_mappings_survive_a_restart(home: Home) -> None:
    asks(home.console, 9000)
    before = home.daemon.json("queue"), home.daemon.json("devices")
    home.daemon.stop()
    home.daemon.start()
    home.points.clear()
    queue, devices = home.daemon.json("queue"), home.daemon.json("devices")
    assert [q["number"] for q in queue] == [q["number"] for q in before[0]]
    assert [d["first_seen"] for d in devices] == [d["first_seen"] for d in before[1]]
    assert {d["name"] for d in devices} >= {"office"}


LEASED = """
version = 1
[device.console]
mac = ["{mac}"]
dhcp_name = "PS5-lounge"
assure = "lease"
[[grant]]
name = "games"
who = "console"
"""


def test_a_lease_file_assures_a_device(namespaces: None, tmp_path: Path) -> None:
    leases, config = tmp_path / "dhcp.leases", tmp_path / "upnp-gw.toml"
    leases.write_text("")
    config.write_text('[gate]\nlease_files = ["dhcp.leases"]\n')
    mac = "ac:89:95:00:00:01"
    with served_home(tmp_path, "--config", str(config), *ROUTER, policy=LEASED.format(mac=mac)) as home:
        assert "606" in asks(home.console, 8080)
        for written in (f"0 {mac} 192.168.77.99 PS5-lounge *\n", f"0 {mac} {home.console.address} PS5-lounge *\n"):
            time.sleep(AT_ONCE_S)  # a file is looked at no more often
            leases.write_text(written)
            output = asks(home.console, 8080)
            assert ("606" in output) == ("192.168.77.99" in written), output
        (device,) = home.daemon.json("devices")
        assert (device["device"], device["dhcp_name"], device["name"]) == (mac, "PS5-lounge", "console")
