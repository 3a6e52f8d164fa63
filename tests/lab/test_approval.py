"""A yes opens what its question said and nothing more, proved by packets of hosts that were named and were not."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.end_to_end import REACHED_S, ROUTER, TCP, Home, served_home
from tests.lab.igd_control_point import ControlPoint, Fault, refused
from tests.lab.test_pinholes import at, pinhole
from upnp_gw.lab import Host
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

ASK = """
version = 1
default = "ask"
[limits]
requests_per_minute = 600
incident_after = 1000
"""
DENIED, CONFLICT, OVERLAPS = 606, 718, 701
MONTH_S = 30 * 86400


@pytest.fixture(scope="module")
def module_home(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with served_home(tmp_path_factory.mktemp("d"), *ROUTER, policy=ASK) as home:
        yield home


@pytest.fixture
def home(module_home: Home) -> Iterator[Home]:
    yield module_home
    for rule in [word.split('"')[1] for word in approved(module_home) if word.startswith("name = ")]:
        module_home.daemon.cli("retract", rule)
    for device in module_home.daemon.json("devices"):
        module_home.daemon.cli("revoke", "--device", device["device"])


def approved(home: Home) -> list[str]:
    file = home.daemon.state_dir / "approved.toml"
    return file.read_text().split("\n") if file.exists() else []


def questions(home: Home) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = home.daemon.json("queue")
    return found


def approve(home: Home, number: int) -> dict[str, Any]:
    answer: dict[str, Any] = home.daemon.json("approve", str(number))
    return answer


def arrives(home: Home, peer: Host, port: int, source_port: int = 0) -> bool:
    return bool(reach(peer, TCP, home.external, port, timeout=REACHED_S, source_port=source_port))


def asks(point: ControlPoint, port: int, **changed: Any) -> None:
    with refused(DENIED):
        point.add(port, **changed)


@pytest.mark.spec("SR-28", "SR-29", "SR-42")
def test_an_approval_is_for_the_remote_host_family_port_and_lease_of_its_question(home: Home) -> None:
    point, stranger, friend = home.point(), home.lab.hosts["peer1"], home.lab.hosts["peer2"]
    six = home.point(igd_version=IgdVersion.IGD2)
    with EchoServer(home.console, TCP, 5000):
        asks(point, 5000, NewRemoteHost=friend.address, NewLeaseDuration=600)
        (question,) = questions(home)
        answer = approve(home, question["number"])
        assert answer["toml"].split("until")[0] == question["toml"].split("until")[0], "as it was shown"
        assert arrives(home, friend, 5000)
        assert home.shut(5000, peer="peer1")
        for lease in (0, MONTH_S):  # the same, and wider in each respect
            point.add(5000, NewRemoteHost=friend.address, NewLeaseDuration=lease)
            assert home.row(5000)["lease_left_s"] <= 600
        for remote in ("", stranger.address):
            for external in (5000, 9999):
                with refused(DENIED, CONFLICT):
                    point.add(external, NewRemoteHost=remote, NewInternalPort=5000)
        asks(point, 9999, NewRemoteHost=friend.address, NewInternalPort=5000)
        with refused(DENIED):
            pinhole(six, 5000, RemoteHost=friend.address6)
        with refused(DENIED):
            pinhole(six, 5000)
        for peer in (stranger, friend):
            assert home.shut(9999, peer=peer.name)
            assert not at(peer, home.console.address6, 5000)
        assert home.shut(5000, peer="peer1")
        assert arrives(home, friend, 5000), "the approved mapping is active"
        point.delete(5000, remote=str(friend.address))
        point.add(5000)
        assert arrives(home, friend, 5000), "asked for anyone, it is for whom the rule names"
        assert home.shut(5000, peer="peer1")
    home.agree()


@pytest.mark.spec("SR-28", "SR-29", "SR-42")
def test_an_approved_pinhole_is_for_its_remote_host_and_port_and_no_port_mapping(home: Home) -> None:
    six, address = home.point(igd_version=IgdVersion.IGD2), home.console.address6
    stranger, friend = home.lab.hosts["peer1"], home.lab.hosts["peer2"]
    with EchoServer(home.console, TCP, 5001):
        with refused(DENIED):
            pinhole(six, 5001, RemoteHost=friend.address6, RemotePort=4443)
        (question,) = questions(home)
        assert approve(home, question["number"])["opened"] is not None
        assert reach(friend, TCP, address, 5001, timeout=REACHED_S, source_port=4443)
        assert not at(friend, address, 5001)
        assert not at(stranger, address, 5001)
        wider: list[dict[str, object]] = [{"RemoteHost": friend.address6}, {}, {"RemotePort": 4443}]
        for remote in (*wider, {"RemoteHost": stranger.address6, "RemotePort": 4443}):
            with refused(DENIED, OVERLAPS):
                pinhole(six, 5001, **remote)
        asks(home.point(), 5001)
        assert home.shut(5001)
        assert home.shut(5001, peer="peer2")
        assert not at(friend, address, 5001)
        assert not at(stranger, address, 5001)


@pytest.mark.spec("SR-28", "SR-29", "SR-42")
def test_an_approval_answers_the_question_that_was_shown(home: Home) -> None:
    point, friend = home.point(), home.lab.hosts["peer2"]
    with EchoServer(home.console, TCP, 5010):
        asks(point, 5010, NewRemoteHost=friend.address, NewLeaseDuration=600)
        (shown,) = questions(home)
        asks(point, 9999, NewInternalPort=5010, NewLeaseDuration=MONTH_S)
        approve(home, shown["number"])
        assert arrives(home, friend, 5010)
        assert home.row(5010)["lease_left_s"] <= 600
        assert home.shut(5010, peer="peer1")
        assert home.shut(9999, peer="peer1")
        assert home.shut(9999, peer="peer2")
        (later,) = questions(home)
        assert later["number"] != shown["number"]


@pytest.mark.spec("SR-28", "SR-42")
def test_a_question_that_changed_is_asked_again_and_says_so(home: Home) -> None:
    point = home.point()
    with EchoServer(home.console, TCP, 5011):
        asks(point, 5011, NewLeaseDuration=600)
        (shown,) = questions(home)
        asks(point, 9998, NewInternalPort=5011, NewLeaseDuration=MONTH_S)
        for command in ("approve", "deny"):
            done = home.daemon.cli(command, str(shown["number"]), "--json", check=False)
            assert done.returncode == 1
            problem = json.loads(done.stderr)
            (now,) = questions(home)
            assert problem["error"] == "changed"
            assert f"it is question {now['number']} now" in problem["message"]
        assert f"it was question {shown['number']}" in home.daemon.cli("queue").stdout
        assert home.shut(5011)
        assert home.shut(9998)
        approve(home, now["number"])
        assert arrives(home, home.peer, 9998)
        point.add(5011)
        assert arrives(home, home.peer, 5011)


def test_one_approval_serves_a_client_that_tries_ten_ports_over_two_protocols(home: Home) -> None:
    """As Syncthing does: the same ports again at each try. There is one question for it."""
    point, ports = home.point(), (22000, *range(41000, 41010))

    def tries() -> list[str]:
        served = []
        for port in ports:
            try:
                point.add(port, NewInternalPort=22000)
            except Fault:
                continue
            served.append("igd")
            break
        gateway = str(home.gateway.address)
        output = home.console.run(
            ["natpmpc", "-g", gateway, "-a", "22000", "22000", "tcp", "3600"], check=False
        ).stdout
        return served + (["natpmp"] if "Mapped public port" in output else [])

    with EchoServer(home.console, TCP, 22000):
        assert tries() == []
        assert tries() == []
        (question,) = questions(home)
        assert question["times"] == 2 * (len(ports) + 1)
        approve(home, question["number"])
        assert tries() == ["igd", "natpmp"]
        assert arrives(home, home.peer, 22000)
        assert questions(home) == []
    home.agree()


@pytest.mark.spec("SR-25")
def test_only_the_operator_learns_the_holder_of_a_port(home: Home) -> None:
    address, pc = str(home.console.address), str(home.pc.address)
    for device in (address, pc):
        home.daemon.cli("allow", device, "8095", "--for", "1d")
    home.point().add(8095, NewPortMappingDescription="hidden-nas")
    held = home.row(8095)["id"]
    with pytest.raises(Fault) as caught:
        home.point("pc").add(8095)
    output = str(caught.value)
    gateway = str(home.gateway.address)
    for command in (
        ["upnpc", "-u", f"http://{gateway}:5000/igd1.xml", "-a", pc, "8095", "8095", "TCP"],
        ["natpmpc", "-g", gateway, "-a", "8095", "8095", "tcp", "3600"],
    ):
        output += home.pc.run(command, check=False).stdout
    assert caught.value.code == CONFLICT
    for secret in (address, "hidden-nas", held, str(home.console.mac)):
        assert secret not in output
    in_the_way = f"{held} -> {address}:8095 of "
    refused_add = home.daemon.cli("add", "tcp", "8095", pc, check=False).stderr
    assert f"In the way: {in_the_way}" in refused_add
    assert '"hidden-nas"' in refused_add
    busy = home.ask("GET", "/v1/decisions?verdict=busy&port=8095")
    assert {one["via"] for one in busy} == {"igd1", "operator"}
    for words in (("try", "tcp", "8095", "--from", pc), *(("explain", one["id"]) for one in busy)):
        assert f"holder   {in_the_way}" in home.daemon.cli(*words, check=False, columns=200).stdout
