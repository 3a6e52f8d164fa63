"""Real clients on a LAN without NAT: upnpc, python3-miniupnpc, natpmpc, IgdDevice, and datagrams of others."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.end_to_end import ROUTER, TCP, UDP, Home
from tests.lab.office import GATEWAY, PORT, Office, listening, natpmpc, served_office
from tests.lab.test_end_to_end_clients import (
    CONTROL_POINT,
    VERSIONS,
    mapped_by_miniupnpc,
    needs_miniupnpc,
    upnpc,
)
from tests.lab.test_end_to_end_clients import at as upnpc_at
from tests.lab.test_port5351 import talk
from tests.lab.test_request import REQUEST, VIAS, env
from tests.protocols.test_port5351_captures import CAPTURED
from upnp_gw.lab.probe import EchoServer
from upnp_gw.model.mapping import Transport
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.pcp import codec

pytestmark = pytest.mark.lab

CAPTURED_AT = bytes((192, 168, 77, 10))
"""The address of the client in every capture."""


@pytest.fixture(scope="module")
def module_home(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with served_office(tmp_path_factory.mktemp("d"), *ROUTER) as office:
        yield office.home


@pytest.fixture
def office(home: Home) -> Office:
    return Office(home)


def at(igd_version: IgdVersion) -> tuple[str, str]:
    return upnpc_at(igd_version, GATEWAY)


def test_upnpc_finds_the_gateway_connected_at_its_own_address(office: Office) -> None:
    output = upnpc(office.server, "-s")
    assert "Found valid IGD" in output
    assert "Status : Connected" in output
    assert f"ExternalIPAddress = {office.server.address}" in output


@VERSIONS
def test_upnpc_adds_lists_and_deletes(office: Office, igd_version: IgdVersion) -> None:
    server, other = office.server, office.desk
    with listening((server, TCP, PORT)):
        for host in (server, other):
            output = upnpc(host, *at(igd_version), "-a", host.address, PORT, PORT, "TCP", 600)
            assert f"external {host.address}:{PORT} TCP is redirected to internal {host.address}:{PORT}" in output
        assert office.reach().answered_by == "server"
        listed = re.findall(r"(\d+) (TCP|UDP) +(\d+)->([\d.]+):(\d+)", upnpc(server, *at(igd_version), "-l"))
        assert listed == [("0", "TCP", str(PORT), str(server.address), str(PORT))]
        assert upnpc(server, *at(igd_version), "-d", PORT, "TCP").endswith("returned : 0\n")
        assert office.shut()
    assert [row["internal_client"] for row in office.home.rows()] == [str(other.address)]


@pytest.mark.parametrize(("igd_version", "code"), [(IgdVersion.IGD1, 724), (IgdVersion.IGD2, 718)])
def test_upnpc_shows_the_refusal_of_another_port(office: Office, igd_version: IgdVersion, code: int) -> None:
    output = upnpc(office.server, *at(igd_version), "-a", office.server.address, PORT, 9090, "TCP", 600)
    assert f"failed with code {code}" in output
    assert office.home.rows() == []


@VERSIONS
def test_upnpc_gets_its_own_port_where_it_takes_any(office: Office, igd_version: IgdVersion) -> None:
    server = office.server
    with listening((server, UDP, 3074)):
        output = upnpc(server, *at(igd_version), "-n", server.address, 3074, 9090, "UDP", 600)
        assert f"external {server.address}:3074 UDP is redirected to internal {server.address}:3074" in output
        assert office.reach(3074, UDP).answered_by == "server"
        assert "failed" not in upnpc(server, *at(igd_version), "-N", 1024, 65535, "UDP")
        assert office.shut(3074, UDP)


@needs_miniupnpc
def test_python_miniupnpc(office: Office) -> None:
    server = office.server
    office.home.point("desk").add(3074, UDP)  # at the desk's own address: no conflict
    with EchoServer(server, UDP, 3074):
        with mapped_by_miniupnpc(server) as report:
            assert (report["address"], report["status"]) == (str(server.address), "Connected")
            assert (report["port"], report["added"]) == (3074, True)
            assert report["entry"][:2] == [str(server.address), 3074]
            assert [row[:3] for row in report["walk"]] == [[3074, "UDP", [str(server.address), 3074]]]
            assert office.reach(3074, UDP).answered_by == "server"
        assert office.shut(3074, UDP)


@pytest.mark.parametrize("transport", list(Transport))
def test_natpmpc(office: Office, transport: Transport) -> None:
    server, word = office.server, transport.value
    assert f"Public IP address : {server.address}" in natpmpc(server)
    with listening((server, transport, PORT)):
        output = natpmpc(server, "-a", 18080, PORT, word, 600)
        assert f"Mapped public port {PORT} protocol {word.upper()} to local port {PORT}" in output
        assert office.reach(PORT, transport).answered_by == "server"
        natpmpc(server, "-a", 18080, PORT, word, 0)
        assert office.shut(PORT, transport)


@VERSIONS
def test_igd_device(office: Office, igd_version: IgdVersion) -> None:
    server = office.server

    def use(*actions: str) -> list[dict[str, object]]:
        argv = [*CONTROL_POINT, "--location", at(igd_version)[1], str(server.address), *actions]
        return [json.loads(line) for line in server.run(argv).stdout.splitlines()]

    with listening((server, TCP, PORT)):
        found, other, same = use(f"add:tcp:9090:{PORT}:3600", f"add:tcp:{PORT}:{PORT}:3600")
        assert found["external_address"] == str(server.address)
        assert (other["ok"], other["code"]) == (False, 724 if igd_version is IgdVersion.IGD1 else 718)
        assert same["ok"]
        assert office.reach().answered_by == "server"
        *_, deleted = use(f"delete:tcp:{PORT}")
        assert deleted["ok"]
        assert office.shut()


@pytest.mark.parametrize("via", VIAS)
def test_upnp_gw_request_takes_the_internal_port(office: Office, tmp_path: Path, via: str) -> None:
    """It asks for another external port, and opens its own."""
    server = office.server
    with listening((server, TCP, PORT)):
        words = ("tcp", str(PORT), "--external", "9090", "--via", via, "--ttl", "10m")
        done = server.run([*REQUEST, *words], check=False, env=env(tmp_path))
        assert (done.returncode, done.stdout) == (0, f"{server.address}:{PORT} tcp via {via} 600s\n"), done.stderr
        assert office.reach().answered_by == "server"


@pytest.mark.parametrize(("client", "sent"), CAPTURED, ids=[f"{c} {a[:2].hex()}" for c, a in CAPTURED])
def test_datagrams_of_others_open_the_senders_own_port(office: Office, client: str, sent: bytes) -> None:
    server = office.server
    with talk(server, server=GATEWAY) as line:
        answer = line.ask(sent.replace(CAPTURED_AT, server.address.packed))
    assert answer[:2] == bytes((sent[0], sent[1] | 0x80))
    if sent[0]:
        response = codec.parse_response(answer)
        assert response.result == 0
        if response.map is None:
            return
        assert (response.map.external_address, response.map.external_port) == (
            server.address,
            response.map.internal_port,
        )
        transport, port = (TCP if response.map.protocol == TCP.number else UDP), response.map.internal_port
    elif sent[1] == 0:
        assert answer[8:12] == server.address.packed
        return
    else:
        assert int.from_bytes(answer[2:4]) == 0
        assert answer[8:10] == answer[10:12], "the mapped port is the internal one"
        transport, port = (UDP if sent[1] == 1 else TCP), int.from_bytes(answer[8:10])
    with listening((server, transport, port)):
        assert office.reach(port, transport).answered_by == "server"
