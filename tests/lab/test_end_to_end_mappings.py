"""The whole way of a port mapping: asked for over SOAP at the real daemon, proved by a packet from the internet."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.end_to_end import TCP, UDP, Home
from tests.lab.igd_control_point import Fault, refused
from upnp_gw.lab.probe import EchoServer
from upnp_gw.model.mapping import Transport
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

VERSIONS = pytest.mark.parametrize("igd_version", list(IgdVersion))


@VERSIONS
@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.spec("IGD-110", "IGD-111", "IGD-112", "IGD-113")
def test_a_mapping_is_found_and_its_port_reached_and_the_other_protocols_is_not(
    home: Home, igd_version: IgdVersion, transport: Transport
) -> None:
    point = home.point(igd_version=igd_version)
    other = UDP if transport is TCP else TCP
    with EchoServer(home.console, transport, 8000), EchoServer(home.console, other, 8000):
        assert home.shut(8080, transport)
        assert point.add(8080, transport, NewInternalPort=8000) == {}
        proof = home.reach(8080, transport)
        assert (proof.answered_by, proof.seen_from) == ("console", home.peer.address)
        assert home.shut(8080, other)
    found = point.specific(8080, transport)
    assert found["NewInternalPort"] == "8000"
    assert found["NewInternalClient"] == str(home.console.address)
    assert point.generic(0) == {
        "NewRemoteHost": "",
        "NewExternalPort": "8080",
        "NewProtocol": transport.value.upper(),
        **found,
    }


@VERSIONS
@pytest.mark.spec("IGD-114", "IGD-132")
def test_the_same_client_asks_again_and_the_values_are_replaced(home: Home, igd_version: IgdVersion) -> None:
    point = home.point(igd_version=igd_version)
    with EchoServer(home.console, TCP, 8000), EchoServer(home.console, TCP, 8001) as second:
        point.add(8080, NewInternalPort=8000, NewLeaseDuration=60, NewPortMappingDescription="first")
        assert home.reach(8080)
        point.add(8080, NewInternalPort=8001, NewLeaseDuration=1000, NewPortMappingDescription="second")
        assert home.reach(8080)
        assert [seen.address for seen in second.seen] == [home.peer.address]
    found = point.specific(8080)
    assert (found["NewPortMappingDescription"], found["NewInternalPort"]) == ("second", "8001")
    assert 900 < int(found["NewLeaseDuration"]) <= 1000
    assert len(home.rows()) == 1


@VERSIONS
@pytest.mark.spec("IGD-115", "IGD-117")
def test_a_port_that_another_client_holds_is_a_conflict(home: Home, igd_version: IgdVersion) -> None:
    with EchoServer(home.console, TCP, 8080), EchoServer(home.pc, TCP, 8080):
        home.point(igd_version=igd_version).add(8080)
        before = home.rows()
        for remote in ("", str(home.peer.address)):
            with refused(718):
                home.point("pc", igd_version).add(8080, NewRemoteHost=remote)
        assert [row["id"] for row in home.rows()] == [row["id"] for row in before]
        assert home.reach(8080).answered_by == "console"


@VERSIONS
@pytest.mark.spec("IGD-116", "IGD-118", "IGD-153", "IGD-157")
def test_two_remote_hosts_are_two_narrow_mappings(home: Home, igd_version: IgdVersion) -> None:
    point = home.point(igd_version=igd_version)
    first, second = (str(home.lab.hosts[peer].address) for peer in ("peer1", "peer2"))
    with EchoServer(home.console, UDP, 8000), EchoServer(home.console, UDP, 8001):
        point.add(8080, UDP, NewRemoteHost=first, NewInternalPort=8000)
        assert home.reach(8080, UDP, "peer1")
        assert home.shut(8080, UDP, "peer2")
        with refused(714):
            point.specific(8080, UDP)
        with refused(714):
            point.delete(8080, UDP)
        point.add(8080, UDP, NewRemoteHost=second, NewInternalPort=8001)
        assert home.reach(8080, UDP, "peer2")
        assert home.reach(8080, UDP, "peer1")
        with refused(714):
            point.delete(8080, TCP, first)
        assert point.specific(8080, UDP, first)["NewInternalPort"] == "8000"


@VERSIONS
@pytest.mark.spec("IGD-120")
def test_a_star_is_every_remote_host(home: Home, igd_version: IgdVersion) -> None:
    point = home.point(igd_version=igd_version)
    with EchoServer(home.console, TCP, 8080):
        point.add(8080, NewRemoteHost="*")
        assert home.reach(8080, peer="peer1")
        assert home.reach(8080, peer="peer2")
    assert point.specific(8080) == point.specific(8080, remote="*")


@VERSIONS
@pytest.mark.spec("IGD-131", "IGD-155")
def test_a_lease_of_two_seconds_ends(home: Home, igd_version: IgdVersion) -> None:
    point = home.point(igd_version=igd_version)
    with EchoServer(home.console, TCP, 8080), home.watch() as watch:
        point.add(8080, NewLeaseDuration=2)
        assert home.reach(8080)
        watch.wait("removed", external_port=8080, why="expired")
        with refused(714):
            point.specific(8080)
        assert home.shut(8080)


@VERSIONS
@pytest.mark.spec("IGD-134")
def test_a_disabled_mapping_is_listed_and_closed_until_it_is_enabled(home: Home, igd_version: IgdVersion) -> None:
    point = home.point(igd_version=igd_version)
    with EchoServer(home.console, TCP, 8080):
        point.add(8080, NewEnabled=0)
        assert point.generic(0)["NewEnabled"] == "0"
        assert int(point.specific(8080)["NewLeaseDuration"]) <= 3600
        assert home.shut(8080)
        point.add(8080, NewEnabled=1)
        assert home.reach(8080)
        assert len(home.rows()) == 1


@VERSIONS
@pytest.mark.spec("IGD-137", "IGD-158", "IGD-159")
def test_no_device_maps_for_another_or_deletes_its_mappings(home: Home, igd_version: IgdVersion) -> None:
    """Deviation: v1 says 606 too, with the reason, where the standard has 714 or 501."""
    home.point(igd_version=igd_version).add(8080)
    pc = home.point("pc", igd_version)
    with refused(606):
        pc.add(8081, NewInternalClient=home.console.address)
    with refused(606):
        pc.delete(8080)
    with refused(606):
        pc.specific(8080)
    with EchoServer(home.console, TCP, 8080), EchoServer(home.console, TCP, 8081):
        assert home.reach(8080)
        assert home.shut(8081)


@VERSIONS
@pytest.mark.spec("IGD-144")
def test_of_two_simultaneous_requests_one_gets_the_port(home: Home, igd_version: IgdVersion) -> None:
    points = [home.point(name, igd_version) for name in ("console", "pc")]
    with EchoServer(home.console, TCP, 9000), EchoServer(home.pc, TCP, 9000), ThreadPoolExecutor(2) as both:
        for port in range(8080, 8090):
            request = [both.submit(point.add, port, NewInternalPort=9000) for point in points]
            faults = [answer.exception() for answer in request]
            (lost,) = [fault for fault in faults if fault is not None]
            assert isinstance(lost, Fault)
            assert lost.code == 718
            winner = points[faults.index(None)].host
            assert home.reach(port).answered_by == winner.name


@VERSIONS
@pytest.mark.spec("IGD-150", "IGD-151", "IGD-152", "IGD-154", "IGD-156")
def test_entries_are_walked_deleted_and_gone(home: Home, igd_version: IgdVersion) -> None:
    point = home.point(igd_version=igd_version)
    ports = ["8001", "8002", "8003"]
    for port in ports:
        point.add(int(port))
    home.point("pc", igd_version).add(8004)
    assert [point.generic(i)["NewExternalPort"] for i in range(3)] == ports
    assert list(point.specific(8001)) == [
        "NewInternalPort",
        "NewInternalClient",
        "NewEnabled",
        "NewPortMappingDescription",
        "NewLeaseDuration",
    ]
    for index in (3, 65535, -1, "x"):
        with refused(713, 402):
            point.generic(index)
    with EchoServer(home.console, TCP, 8001):
        assert home.reach(8001)
        point.delete(8001)
        assert home.shut(8001)
    for again in (point.specific, point.delete):
        with refused(714):
            again(8001)
    assert {point.generic(i)["NewExternalPort"] for i in range(2)} == {"8002", "8003"}
    with refused(713):
        point.generic(2)


@pytest.mark.spec("IGD-160", "IGD-161", "IGD-162", "IGD-163")
@pytest.mark.parametrize("manage", [0, 1])
def test_a_range_delete_ends_the_callers_own_of_that_protocol(home: Home, manage: int) -> None:
    point = home.point(igd_version=IgdVersion.IGD2)
    for port in (8001, 8003):
        point.add(port)
    point.add(8002, UDP)
    home.point("pc", IgdVersion.IGD2).add(8004)

    def delete_range(start: int, end: int) -> None:
        point.call(
            "DeletePortMappingRange",
            NewStartPort=start,
            NewEndPort=end,
            NewProtocol="TCP",
            NewManage=manage,
        )

    with refused(733):
        delete_range(8003, 8001)
    with refused(730):
        delete_range(9000, 9100)
    with EchoServer(home.console, TCP, 8001), EchoServer(home.pc, TCP, 8004):
        assert home.reach(8001)
        delete_range(8000, 9000)
        assert home.shut(8001)
        assert home.reach(8004), "another client's"
    assert {(row["transport"], row["external_port"]) for row in home.rows()} == {("udp", 8002), ("tcp", 8004)}


@pytest.mark.spec("IGD-165", "IGD-166", "IGD-167", "IGD-168", "IGD-169")
def test_a_list_of_port_mappings(home: Home) -> None:
    point = home.point(igd_version=IgdVersion.IGD2)

    def listing(start: int = 8000, end: int = 9000, protocol: str = "TCP", most: int = 0) -> str:
        answer = point.call(
            "GetListOfPortMappings",
            NewStartPort=start,
            NewEndPort=end,
            NewProtocol=protocol,
            NewManage=0,
            NewNumberOfPorts=most,
        )
        return answer["NewPortListing"]

    with refused(730):
        listing()
    for port in (8001, 8002, 8003):
        point.add(port, NewPortMappingDescription="a ]]> & <b>", NewLeaseDuration=1000)
    document = listing()
    assert "a ]]&gt; &amp; &lt;b&gt;" in document.replace("]]>", "]]&gt;")
    first = re.findall(r"<p:(New\w+)>", document.split("</p:PortMappingEntry>")[0])
    assert first == [
        "NewRemoteHost",
        "NewExternalPort",
        "NewProtocol",
        "NewInternalPort",
        "NewInternalClient",
        "NewEnabled",
        "NewDescription",
        "NewLeaseTime",
    ]
    assert [document.count("<p:PortMappingEntry>"), listing(most=2).count("<p:PortMappingEntry>")] == [3, 2]
    assert all(900 < int(left) <= 1000 for left in re.findall(r"<p:NewLeaseTime>(\d+)<", document))
    with refused(733):
        listing(9000, 8000)
    with refused(402, 601):
        listing(protocol="SCTP")


@pytest.mark.spec("IGD-170", "IGD-171", "IGD-172", "IGD-173", "IGD-175")
def test_any_port(home: Home) -> None:
    console, pc = home.point(igd_version=IgdVersion.IGD2), home.point("pc", IgdVersion.IGD2)
    with EchoServer(home.console, UDP, 3074), EchoServer(home.pc, UDP, 3074):
        assert console.add_any(3074, UDP) == 3074
        other = pc.add_any(3074, UDP)
        assert other not in (0, 3074)
        assert pc.add_any(3074, TCP) == 3074, "the other protocol is unaffected"
        assert console.add_any(3074, UDP, NewPortMappingDescription="again") == 3074
        assert console.specific(3074, UDP)["NewPortMappingDescription"] == "again"
        wild = console.add_any(0, UDP, NewInternalPort=3074)
        assert wild >= 1024
        assert {port: home.reach(port, UDP).answered_by for port in (3074, other, wild)} == {
            3074: "console",
            other: "pc",
            wild: "console",
        }
    assert len(home.rows()) == 4
