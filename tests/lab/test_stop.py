"""Stop: what is in flight is answered, neighbours hear goodbye, leases go on, or end where it is so configured."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fixtures.lab_firewall import masquerading
from tests.fixtures.waiting import until
from tests.lab.end_to_end import TCP, UDP, ended, served_home
from tests.lab.ssdp_listener import GROUP, listener_on
from tests.soak.household import Household, household
from tests.soak.load import Load
from upnp_gw.cli.client import DaemonClient
from upnp_gw.firewall.nftables import uninstall
from upnp_gw.lab.probe import REFUSED_S, EchoServer, dial, reach

pytestmark = pytest.mark.lab


@pytest.fixture
def home(namespaces: None, tmp_path: Path) -> Iterator[Household]:
    with household(tmp_path) as home:
        yield home


def test_a_stop_answers_requests_in_flight(home: Household) -> None:
    """The disk is slow; the requests wait for it when the signal comes."""
    points = [home.point(host) for host in ("console", "pc", "tv", "nas")]
    with (
        ThreadPoolExecutor(8) as threads,
        listener_on(home.console, group=GROUP, bind=GROUP, port=1900) as listener,
    ):
        with home.daemon.faulty("slow", "0.5"):
            answers = [threads.submit(points[n % 4].add, 8080 + n) for n in range(8)]
            assert until(lambda: len(home.installed()) > 0), "in the kernel, and not yet answered"
            assert not any(answer.done() for answer in answers)
            assert home.daemon.stop() == 0
            for answer in answers:
                answer.result(5)
        assert until(lambda: not listener.silent() and listener.received[-1].headers["NTS"] == "ssdp:byebye")
    home.daemon.start()
    assert sorted(row["external_port"] for row in home.rows()) == list(range(8080, 8088))
    assert home.disagreement() == ""


def test_a_stop_under_load_loses_no_acknowledged_change(home: Household) -> None:
    load = Load(home, rest_s=0.01)
    try:
        for _ in range(3):
            load.open()
            load.await_answers(60)
            assert home.daemon.stop() == 0
            load.shut()
            home.daemon.start()
            assert load.judge() == []
    finally:
        load.close()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_while_it_starts_is_attended_to(home: Household, number: signal.Signals) -> None:
    """By default either would end it in the middle. The claim on the control socket is the first thing it makes."""
    daemon = home.daemon
    assert daemon.stop() == 0
    with daemon.faulty("slow", "0.5"), ThreadPoolExecutor(1) as threads:
        starting = threads.submit(daemon.start)
        assert until((daemon.runtime_dir / "control.sock").exists)
        os.kill(daemon.pid, number)
        starting.result()
    if number is signal.SIGHUP:
        assert until(lambda: any(" in force" in line for line in daemon.output))
        assert daemon.running
    assert daemon.stop() == 0


@pytest.mark.spec("SR-3")
def test_a_stop_completes_under_further_signals(namespaces: None, tmp_path: Path) -> None:
    with household(tmp_path, "--flush") as home:
        home.point().add(8080)
        pid = home.daemon.pid
        with home.daemon.faulty("slow", "0.5"), ThreadPoolExecutor(2) as threads:
            adding = threads.submit(home.point("pc").add, 8081)
            assert until(lambda: len(home.installed()) == 2)
            stopping = threads.submit(home.daemon.stop)
            assert until(lambda: not DaemonClient(home.daemon.runtime_dir).running()), (
                "the first thing that it shuts"
            )
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                with suppress(ProcessLookupError):  # it can have ended before the last of them
                    os.kill(pid, number)
            assert stopping.result() == 0
            adding.result()
        assert home.installed() == {}


@pytest.mark.spec("SR-3")
@pytest.mark.parametrize("where", ["option", "file"])
def test_leases_go_on_without_the_daemon_and_end_with_it_where_configured(
    namespaces: None, tmp_path: Path, where: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[firewall]\nflush_on_stop = true\n")
    given = {"option": ("--flush",), "file": ("--config", str(file))}[where]
    with household(tmp_path, *given) as home:
        home.point().add(8080)
        home.point().add(3074, UDP)
        with (
            EchoServer(home.console, TCP, 8080),
            EchoServer(home.console, UDP, 3074),
            EchoServer(home.gateway, TCP, 22),
            dial(home.peer, TCP, home.external, 8080) as call,
        ):
            assert call.ask()
            home.daemon.kill()
            assert call.ask(), "a kill is no stop"
            home.daemon.start()
            assert call.ask()
            assert home.daemon.stop() == 0
            assert ended(call)
            assert home.installed() == {}
            assert home.shut(8080)
            assert home.shut(3074, UDP)
            assert home.shut(22)
            assert not reach(home.peer, TCP, home.console.address6, 8080, timeout=REFUSED_S)
            home.daemon.start()
            assert home.reach(8080), "the lease has time left, and its client still believes in it"


@pytest.mark.spec("SR-3")
def test_uninstall_ends_the_flows_of_the_mappings_and_no_other(namespaces: None, tmp_path: Path) -> None:
    with served_home(tmp_path, before=masquerading) as home:
        home.point().add(8080)
        home.point().add(3074, UDP)
        with (
            EchoServer(home.console, TCP, 8080),
            EchoServer(home.console, UDP, 3074),
            EchoServer(home.peer, TCP, 443),
            dial(home.peer, TCP, home.external, 8080) as call,
            dial(home.peer, UDP, home.external, 3074) as game,
            dial(home.pc, TCP, home.peer.address, 443) as outgoing,
        ):
            assert call.ask()
            assert game.ask()
            assert outgoing.ask()
            assert home.daemon.stop() == 0
            assert call.ask(), "leases go on in the kernel"
            assert home.gateway.call(uninstall)
            assert ended(call)
            assert not game.ask()
            assert outgoing.ask(), "begun from inside"
            assert home.shut(8080)
