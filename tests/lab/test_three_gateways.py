"""Three of our gateways in series: the client asks the bottom one alone. Packets prove that a port is open through
all three, and shut in all three. The top and the middle lose their state, and are gone for a while."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import TCP
from tests.lab.gateways_in_series import MIDDLE, Series, lose_state, three_gateways
from tests.lab.igd_control_point import Fault, refused
from tests.lab.office import natpmpc, pcp
from tests.lab.packets import Packet, captured
from upnp_gw.lab import HOME
from upnp_gw.lab.daemon import LabDaemon
from upnp_gw.lab.probe import EchoServer
from upnp_gw.protocols.pcp.messages import ResultCode

pytestmark = pytest.mark.lab

HEALED_S = 1.0
"""From the announcement of a gateway above that lost its state until the port is open again."""
ANSWER_S = 15.0
"""Of a refusal, on a busy machine: four seconds for each of the two gateways that wait."""
PORT_CONTROL, ANNOUNCED, SSDP = 5351, 5350, 1900


@pytest.fixture(scope="module")
def running(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Series]:
    with three_gateways(tmp_path_factory.mktemp("d")) as series:
        yield series


@pytest.fixture
def series(running: Series) -> Iterator[Series]:
    yield running
    running.clear()
    assert until(lambda: not any(running.tables)), running.tables


@pytest.mark.spec("CAS-007")
def test_a_packet_from_outside_passes_three_gateways(series: Series) -> None:
    port, external = 8080, str(series.home.external)
    with EchoServer(series.rack, TCP, port):
        series.point().add(port)
        assert series.arrives(port)
        assert series.point().external_address() == external
        top, middle, bottom = series.tables
        assert [row["internal_client"] for (row,) in (top, middle, bottom)] == [
            str(series.middle.own),
            str(series.bottom.own),
            str(series.rack.address),
        ]
        assert {row["above"]["gateway"] for (row,) in (middle, bottom)} == {
            str(series.middle.above),
            str(series.bottom.above),
        }
        series.point().delete(port)
        assert series.shut(port)
        assert until(lambda: not any(series.tables))

        answer = pcp(series.rack, port, server=series.gateway, suggested=port)
        assert answer.map is not None
        assert (str(answer.map.external_address), answer.map.external_port) == (external, port)
        assert series.arrives(port)
        assert pcp(series.rack, port, 0, server=series.gateway).result == 0
        assert series.shut(port)
        assert until(lambda: not any(series.tables))

        said = natpmpc(series.rack, "-a", port, port, "tcp", 600, server=series.gateway)
        assert f"Public IP address : {external}" in said
        assert series.arrives(port)


@pytest.mark.spec("CAS-003")
def test_a_refused_request_sends_nothing_above(series: Series) -> None:
    """A capture of the bottom's WAN link. The gate refuses another internal client than the sender."""

    def sends_above(packet: Packet) -> bool:
        ports = {PORT_CONTROL, SSDP}
        return packet.outgoing and packet.interface == "wan0" and (packet.ports[1] in ports or packet.protocol == 6)

    other = series.home.lab.hosts["shelf"].address
    with captured(series.bottom.host) as capture, refused(606):
        series.point().add(8081, NewInternalClient=other)
    assert not list(filter(sends_above, capture.packets))
    with captured(series.bottom.host) as capture:
        series.point().add(8081)
    assert list(filter(sends_above, capture.packets)), "the capture sees what is asked above"


def test_a_refusal_of_the_top_is_told_with_who_refused(series: Series) -> None:
    """The port is another device's there: 718, with the gateway that refused, and a decision that explains it."""
    port = 8082
    series.home.point("console").add(port)
    with pytest.raises(Fault) as refusal:
        series.point().add(port)
    assert refusal.value.code == 718
    text = str(refusal.value)
    assert f"the gateway above at {series.bottom.above} refused" in text
    decision = text.rpartition("[")[2].partition("]")[0]
    assert str(series.bottom.above) in series.bottom.daemon.cli("explain", decision, columns=200).stdout
    assert [len(rows) for rows in series.tables] == [1, 0, 0]
    answer = pcp(series.rack, port, server=series.gateway, suggested=port)
    assert answer.result is ResultCode.SUCCESS
    assert answer.map is not None
    assert answer.map.external_port != port


@pytest.mark.parametrize("lost", ["top", "middle"])
def test_a_gateway_that_lost_its_state_is_asked_again_within_a_second(series: Series, lost: str) -> None:
    """It announces itself over PCP, NAT-PMP and SSDP. Packets pass again within a second of the first announcement,
    and nobody asked for anything."""
    port = 8083
    above, host = (
        (series.home.daemon, series.home.gateway) if lost == "top" else (series.middle.daemon, series.middle.host)
    )
    below = series.middle.host if lost == "top" else series.bottom.host
    announced: list[float] = []

    def announces(packet: Packet) -> bool:
        return not packet.outgoing and packet.interface == "wan0" and packet.ports[1] in (ANNOUNCED, SSDP)

    with EchoServer(series.rack, TCP, port):
        series.point().add(port)
        assert series.arrives(port)
        lose_state(above, host)
        assert series.shut(port)
        with captured(below) as capture:
            above.start()
            assert capture.wait(announces)
            announced.append(time.monotonic())
            assert until(lambda: series.arrives(port, 0.2))
            healed = time.monotonic()
    assert healed - announced[0] < HEALED_S
    assert [len(rows) for rows in series.tables] == [1, 1, 1]


def test_the_chain_is_told_at_each_hop(series: Series) -> None:
    port = 8084
    series.point().add(port)
    said = [below.daemon.cli("status", columns=200).stdout for below in (series.middle, series.bottom)]
    assert f"{HOME.network[1]} answers over pcp; outside is {series.home.external}" in said[0]
    assert f"{MIDDLE.lan.network[1]} answers over pcp; outside is {series.home.external}" in said[1]


def test_a_top_that_is_silent_for_a_while(series: Series) -> None:
    """Its process stands still. A new request is refused in time, with the reason; what was granted stays open, and
    the next request after it goes on is granted."""
    port = 8085
    with EchoServer(series.rack, TCP, port):
        series.point().add(port)
        with standing_still(series.home.daemon):
            began = time.monotonic()
            with pytest.raises(Fault) as refusal:
                series.point().add(8086)
            assert time.monotonic() - began < ANSWER_S
            assert refusal.value.code == 501
            assert f"the gateway above at {series.bottom.above}" in str(refusal.value)
            assert series.arrives(port), "its lease has not ended"
            assert [len(rows) for rows in (series.middle.rows(), series.bottom.rows())] == [1, 1]
            assert series.middle.status()["above"]["answers"] is False
        assert until(lambda: series.middle.status()["above"]["answers"])
        series.point().add(8086)
        assert series.arrives(port)


@contextmanager
def standing_still(daemon: LabDaemon) -> Iterator[None]:
    """Its kernel goes on."""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
