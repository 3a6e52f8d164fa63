"""Real clients against the real daemon: upnpc, python3-miniupnpc, async-upnp-client's IgdDevice; with packets."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Any

import pytest

from tests.lab.end_to_end import TCP, UDP, Home
from tests.lab.igd_control_point import refused
from upnp_gw.lab import HOME, Host
from upnp_gw.lab.probe import EchoServer
from upnp_gw.model.mapping import Transport
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

VERSIONS = pytest.mark.parametrize("igd_version", list(IgdVersion))
CONTROL_POINT = (sys.executable, "-m", "upnp_gw.lab.control_point")
DEBIANS_PYTHON = "/usr/bin/python3"


def upnpc(host: Host, *words: object) -> str:
    """One run of upnpc; what it printed."""
    return host.run(["upnpc", *map(str, words)], check=False).stdout


def at(igd_version: IgdVersion, gateway: IPv4Address = HOME.network[1]) -> tuple[str, str]:
    """upnpc's own way round the search, which takes it two seconds."""
    return "-u", f"http://{gateway}:5000/{igd_version.value}.xml"


def test_upnpc_finds_the_gateway_and_its_status(home: Home) -> None:
    output = upnpc(home.console, "-s")
    assert "Found valid IGD" in output
    assert "Status : Connected" in output
    assert f"ExternalIPAddress = {home.external}" in output
    assert re.search(r"Bytes: +Sent: +\d+\s+Recv: +\d+", output)


@VERSIONS
@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize("lease", [0, 600])
def test_upnpc_adds_lists_and_deletes(
    home: Home, igd_version: IgdVersion, transport: Transport, lease: int
) -> None:
    console, word = home.console, transport.value.upper()
    with EchoServer(console, transport, 3074):
        output = upnpc(
            console, *at(igd_version), "-a", console.address, 3074, 4074, word, *([lease] if lease else [])
        )
        assert f"external {home.external}:4074 {word} is redirected to internal {console.address}:3074" in output
        assert home.reach(4074, transport).answered_by == "console"
        listed = upnpc(console, *at(igd_version), "-l")
        (line,) = re.findall(rf" 0 {word} +4074->{console.address}:3074 +'libminiupnpc' '' (\d+)", listed)
        longest = 604800 if igd_version is IgdVersion.IGD2 else 30 * 86400
        left = lease or longest
        assert left - 60 < int(line) <= left
        # upnpc prints the 713 that ends the list up to version 2.2.7, later versions keep it to themselves
        [index] = re.findall(r"^ *(\d+) (?:TCP|UDP) ", listed, re.MULTILINE)
        assert index == "0"
        assert "713" in listed or listed.splitlines()[-1].startswith(" 0 ")
        assert upnpc(console, *at(igd_version), "-d", 4074, word).endswith(
            "UPNP_DeletePortMapping() returned : 0\n"
        )
        assert home.shut(4074, transport)


def test_upnpc_enforces_its_remote_host(home: Home) -> None:
    console, first = home.console, home.peer.address
    with EchoServer(console, UDP, 3074):
        upnpc(console, *at(IgdVersion.IGD2), "-a", console.address, 3074, 3074, "UDP", 600, first)
        assert home.reach(3074, UDP, "peer1")
        assert home.shut(3074, UDP, "peer2")
        assert f"'libminiupnpc' '{first}'" in upnpc(console, *at(IgdVersion.IGD2), "-l")
        assert "returned : 0" in upnpc(console, *at(IgdVersion.IGD2), "-d", 3074, "UDP", first)


@VERSIONS
def test_upnpc_gets_any_port_and_deletes_a_range(home: Home, igd_version: IgdVersion) -> None:
    """Deviation for v1: its description lists no AddAnyPortMapping, upnpc calls it all the same and is served."""
    expected = 5000 + igd_version.version
    home.point("pc").add(expected, UDP)
    console = home.console
    with EchoServer(console, UDP, 3074):
        output = upnpc(console, *at(igd_version), "-n", console.address, 3074, expected, "UDP", 600)
        (port,) = re.findall(rf"external {home.external}:(\d+) UDP is redirected", output)
        assert int(port) != expected
        assert home.reach(int(port), UDP).answered_by == "console"
        assert "failed" not in upnpc(console, *at(igd_version), "-N", 1024, 65535, "UDP")
        assert home.shut(int(port), UDP)
    assert [row["device"] for row in home.rows()] == [home.pc.mac]


def test_upnpc_lists_by_one_action_on_v2(home: Home) -> None:
    for port, transport in ((8080, TCP), (8081, UDP)):
        home.point().add(port, transport)
    output = upnpc(home.console, *at(IgdVersion.IGD2), "-L")
    assert re.findall(r"(TCP|UDP) +(\d+)->192\.168\.77\.10:\d+ +'test' '' (\d+)", output)[0][:2] == ("TCP", "8080")
    assert "UDP  8081->192.168.77.10:8081" in output


def test_upnpc_asks_for_the_ipv6_firewall_and_goes_on(home: Home) -> None:
    assert "GetFirewallStatus" in upnpc(home.console, *at(IgdVersion.IGD2), "-S")
    assert f"ExternalIPAddress = {home.external}" in upnpc(home.console, *at(IgdVersion.IGD2), "-s")


def test_upnpc_gets_a_refusal_with_its_reason(home: Home) -> None:
    output = upnpc(home.pc, *at(IgdVersion.IGD1), "-a", home.console.address, 3074, 3074, "UDP")
    assert re.search(r"failed with code 606", output), output
    assert home.rows() == []


MINIUPNPC = """
import json, miniupnpc
client = miniupnpc.UPnP()
client.discoverdelay = 2000
found = client.discover()
client.selectigd()
port = 3074
while client.getspecificportmapping(port, "UDP") is not None:
    port += 1
added = client.addportmapping(port, "UDP", client.lanaddr, 3074, "python", "")
entry = client.getspecificportmapping(port, "UDP")
walk = []
while (row := client.getgenericportmapping(len(walk))) is not None:
    walk.append(row)
print(json.dumps({"found": found, "address": client.externalipaddress(), "status": client.statusinfo()[0],
                  "port": port, "added": added, "entry": entry, "walk": walk}), flush=True)
input()
print(json.dumps(client.deleteportmapping(port, "UDP")))
"""


def has_miniupnpc() -> bool:
    argv = [DEBIANS_PYTHON, "-c", "import miniupnpc"]
    return os.path.exists(argv[0]) and subprocess.run(argv, capture_output=True, check=False).returncode == 0


needs_miniupnpc = pytest.mark.skipif(not has_miniupnpc(), reason="python3-miniupnpc is not installed")


@contextmanager
def mapped_by_miniupnpc(host: Host) -> Iterator[dict[str, Any]]:
    """Debian's Python bindings of miniupnpc map UDP port 3074 of the host; their report. Deleted at the end."""
    process = host.popen([DEBIANS_PYTHON, "-c", MINIUPNPC], stdin=-1)
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())
    assert process.communicate("\n")[0].strip() == "true"


@needs_miniupnpc
def test_python_miniupnpc(home: Home) -> None:
    console = home.console
    with EchoServer(console, UDP, 3074):
        with mapped_by_miniupnpc(console) as report:
            assert report["found"] >= 1
            assert (report["address"], report["status"], report["added"]) == (str(home.external), "Connected", True)
            assert report["entry"][:2] == [str(console.address), 3074]
            assert [row[:3] for row in report["walk"]] == [[report["port"], "UDP", [str(console.address), 3074]]]
            assert home.reach(report["port"], UDP).answered_by == "console"
        assert home.shut(report["port"], UDP)


@VERSIONS
@pytest.mark.parametrize("transport", list(Transport))
def test_igd_device(home: Home, igd_version: IgdVersion, transport: Transport) -> None:
    console, word = home.console, transport.value

    def use(*actions: str) -> list[dict[str, object]]:
        argv = [*CONTROL_POINT, "--location", at(igd_version)[1], str(console.address), *actions]
        return [json.loads(line) for line in console.run(argv).stdout.splitlines()]

    with EchoServer(console, transport, 3074):
        found, added = use(f"add:{word}:4074:3074:3600")
        assert found["external_address"] == str(home.external)
        assert added == {"action": f"add:{word}:4074:3074:3600", "ok": True}
        assert home.reach(4074, transport).answered_by == "console"
        *_, deleted, again = use(f"delete:{word}:4074", f"delete:{word}:4074")
        assert (deleted["ok"], again["ok"], again["code"]) == (True, False, 714)
        assert home.shut(4074, transport)


def test_igd_device_finds_the_gateway(home: Home) -> None:
    (found,) = map(json.loads, home.console.run([*CONTROL_POINT, str(home.console.address)]).stdout.splitlines())
    assert found["found"] in {at(igd_version)[1] for igd_version in IgdVersion}


def test_upnpc_describes_a_mapping_as_its_user_likes(home: Home) -> None:
    """libminiupnpc escapes nothing and sends the bytes of its user's terminal."""

    def add(description: str) -> str:
        mapping = ("-a", home.console.address, 3074, 4074, "UDP", 600)
        return upnpc(home.console, *at(IgdVersion.IGD1), "-e", description, *mapping)

    latin_1 = os.fsdecode(b"caf\xe9 R&D")
    for sent, kept in (("Command & Conquer", "Command & Conquer"), ("<b>", "<b>"), (latin_1, "caf\xe9 R&D")):
        assert "is redirected to internal" in add(sent)
        row = home.row(4074, UDP)
        assert (row["description"], row["internal_port"]) == (kept, 3074)
        assert 0 < row["lease_left_s"] <= 600
    with EchoServer(home.console, UDP, 3074):
        assert home.reach(4074, UDP).answered_by == "console"
    for hostile in (
        "x</NewPortMappingDescription><NewLeaseDuration>9999</NewLeaseDuration>",
        "x</NewPortMappingDescription><NewExternalPort>4075</NewExternalPort><NewPortMappingDescription>&",
        "a & \x01",
    ):
        assert "failed with code 402" in add(hostile)
    assert [row["external_port"] for row in home.rows()] == [4074]
    assert home.row(4074, UDP)["lease_left_s"] <= 600


def test_upnpc_deletes_what_natpmpc_mapped(home: Home) -> None:
    """The same device, the other protocol: docs/decisions/0013."""
    console = home.console
    with EchoServer(console, UDP, 8200), EchoServer(console, TCP, 8200):
        for transport in Transport:
            console.run(["natpmpc", "-g", "192.168.77.1", "-a", "18200", "8200", transport.value, "600"])
            assert home.reach(18200, transport).answered_by == "console"
        assert "failed with code : 606" in upnpc(home.pc, *at(IgdVersion.IGD1), "-d", 18200, "UDP")
        assert upnpc(console, *at(IgdVersion.IGD1), "-d", 18200, "UDP").endswith("returned : 0\n")
        assert home.shut(18200, UDP)
        assert home.reach(18200, TCP).answered_by == "console"
        assert "18200" in upnpc(console, *at(IgdVersion.IGD1), "-l")
        assert upnpc(console, *at(IgdVersion.IGD2), "-d", 18200, "TCP").endswith("returned : 0\n")
        assert home.shut(18200, TCP)
    assert "18200" not in upnpc(console, *at(IgdVersion.IGD1), "-l")


@pytest.mark.spec("SR-15")
def test_a_delete_without_a_protocol_closes_both_own_transports_only(home: Home) -> None:
    """As nat-port-mapper (libp2p) ends its mappings."""
    home.point("pc").add(8081, UDP)
    for port, transport in ((8080, TCP), (8080, UDP), (8081, TCP)):
        home.point(igd_version=IgdVersion.IGD2).add(port, transport)
    key = {"NewRemoteHost": "", "NewProtocol": ""}
    with (
        EchoServer(home.console, TCP, 8080),
        EchoServer(home.console, UDP, 8080),
        EchoServer(home.pc, UDP, 8081),
    ):
        assert home.reach(8080, TCP)
        assert home.reach(8080, UDP)
        home.point(igd_version=IgdVersion.IGD2).call("DeletePortMapping", **key, NewExternalPort=8080)
        home.point(igd_version=IgdVersion.IGD2).call("DeletePortMapping", **key, NewExternalPort=8081)
        assert home.shut(8080, TCP)
        assert home.shut(8080, UDP)
        assert home.reach(8081, UDP).answered_by == "pc"
        with refused(606):
            home.point(igd_version=IgdVersion.IGD2).call("DeletePortMapping", **key, NewExternalPort=8081)
        assert home.reach(8081, UDP).answered_by == "pc"


def test_a_refused_tcp_port_stays_shut(home: Home) -> None:
    """A web server's port needs a grant that names it: the floor of every policy."""
    with EchoServer(home.console, TCP, 443):
        assert "failed with code 606" in upnpc(
            home.console, *at(IgdVersion.IGD1), "-a", home.console.address, 443, 443, "TCP"
        )
        assert home.shut(443)
