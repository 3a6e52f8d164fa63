"""``upnp-gw request`` in a host of the lab against the daemon: every protocol, packets, kills while it holds."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import SHUT_S, TCP, UDP, Home
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.model.mapping import Transport

pytestmark = pytest.mark.lab

REQUEST = (sys.executable, "-m", "upnp_gw", "request")
VIAS = ("pcp", "natpmp", "igd")


@pytest.fixture
def home(module_home: Home) -> Iterator[Home]:
    yield module_home
    module_home.clear()


def env(directory: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(directory), "PYTHONUNBUFFERED": "1"}


def request(home: Home, directory: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return home.console.run([*REQUEST, *map(str, words)], check=False, env=env(directory), timeout=60)


@contextmanager
def holding(home: Home, directory: Path, *words: object) -> "Iterator[tuple[subprocess.Popen[str], str]]":
    """``--hold`` as a process, and the first line that it printed. It is ended, whatever happens."""
    held = home.console.popen([*REQUEST, *map(str, words), "--hold"], env=env(directory))
    try:
        assert held.stdout is not None
        yield held, held.stdout.readline().strip()
    finally:
        if held.poll() is None:
            held.kill()
        held.communicate()


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("transport", list(Transport))
def test_asks_and_lets_go_over_each_protocol(home: Home, tmp_path: Path, via: str, transport: Transport) -> None:
    with EchoServer(home.console, transport, 8080):
        done = request(home, tmp_path, transport, 8080, "--via", via, "--ttl", "10m")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{home.external}:8080 {transport} via {via} 600s\n"
        assert home.reach(8080, transport).answered_by == "console"
        (row,) = home.rows()
        assert row["via"].startswith(via)
        done = request(home, tmp_path, transport, 8080, "--via", via, "--release")
        assert (done.returncode, done.stdout) == (0, f"{transport} 8080 released via {via}\n")
        assert home.shut(8080, transport)


@pytest.mark.parametrize("via", ["pcp", "igd"])
def test_a_pinhole_over_ipv6(home: Home, tmp_path: Path, via: str) -> None:
    address = home.console.address6
    with EchoServer(home.console, TCP, 8080):
        done = request(home, tmp_path, "tcp", 8080, "--ipv6", "--via", via)
        assert done.stdout == f"[{address}]:8080 tcp via {via} 3600s\n"
        assert reach(home.peer, TCP, address, 8080).answered_by == "console"
        assert request(home, tmp_path, "tcp", 8080, "--ipv6", "--via", via, "--release").returncode == 0
        assert not reach(home.peer, TCP, address, 8080, timeout=SHUT_S)


def test_pcp_comes_first_and_every_lease_is_let_go(home: Home, tmp_path: Path) -> None:
    report = json.loads(request(home, tmp_path, "udp", 3074, "--json").stdout)
    assert (report["via"], report["external_port"], report["lifetime_s"]) == ("pcp", 3074, 3600)
    request(home, tmp_path, "udp", 3074, "--via", "igd")
    (row,) = home.rows()
    assert row["vias"] == ["pcp", "igd2"]
    done = request(home, tmp_path, "udp", 3074, "--release")
    assert done.stdout.splitlines() == [f"udp 3074 released via {via}" for via in ("pcp", "igd")]
    assert home.rows() == []


def test_a_taken_port_gives_another_and_says_which(home: Home, tmp_path: Path) -> None:
    home.point("pc").add(8099)
    for via in VIAS:
        words = request(home, tmp_path, "tcp", 8099, "--via", via).stdout.split()
        port = int(words[0].rpartition(":")[2])
        assert port != 8099
        with EchoServer(home.console, TCP, 8099):
            assert home.reach(port).answered_by == "console"
        request(home, tmp_path, "tcp", 8099, "--external", port, "--via", via, "--release")
    assert [row["device"] for row in home.rows()] == [home.pc.mac]


def test_a_refusal_ends_with_1_and_silence_with_3(home: Home, tmp_path: Path) -> None:
    done = request(home, tmp_path, "tcp", 22)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "tcp 22: refused: over pcp: the gateway does not allow it (NOT_AUTHORIZED)\n"
    done = request(home, tmp_path, "tcp", 8080, "--gateway", home.pc.address, "--timeout", "1")
    assert (done.returncode, done.stdout) == (3, "")
    assert "does not listen on UDP port 5351" in done.stderr, "the ICMP error ends it, not the time"


def test_listening_ports_are_requested(home: Home, tmp_path: Path) -> None:
    with EchoServer(home.console, TCP, 8080), EchoServer(home.console, UDP, 3074):
        done = request(home, tmp_path, "--listening", "--yes", "tcp/8080,udp/3074")
        assert done.stdout.splitlines() == [
            f"{home.external}:8080 tcp via pcp 3600s",
            f"{home.external}:3074 udp via pcp 3600s",
        ]
        answer = home.console.run([*REQUEST, "--listening"], check=False, env=env(tmp_path), text="n\ny\n")
        assert answer.stdout == f"{home.external}:3074 udp via pcp 3600s\n"
    done = request(home, tmp_path, "--listening", "--yes", "tcp/8080")
    assert done.returncode == 2
    assert "nothing listens on tcp/8080" in done.stderr


@pytest.mark.parametrize("via", VIAS)
def test_it_is_held_over_its_lease_a_kill_and_a_lost_state(home: Home, tmp_path: Path, via: str) -> None:
    """Renewals at half the lease; the gateway killed and back, then back without its state."""
    with EchoServer(home.console, TCP, 8080), home.watch() as watch:
        with holding(home, tmp_path, "tcp", 8080, "--ttl", "8s", "--via", via) as (held, line):
            assert line.startswith(f"{home.external}:8080 tcp via {via} ")
            if via != "pcp":  # whose shortest lease is two minutes
                watch.wait("changed", timeout=12, external_port=8080)
            assert home.reach(8080).answered_by == "console"
            home.daemon.kill()
            home.daemon.start()
            assert home.reach(8080).answered_by == "console"
            home.daemon.kill()
            shutil.rmtree(home.daemon.state_dir)
            home.daemon.state_dir.mkdir(0o700)
            home.daemon.start()
            home.points.clear()
            assert until(lambda: bool(home.reach(8080)), timeout=30)
            held.send_signal(signal.SIGTERM)
            assert held.wait(15) == 0
        assert home.shut(8080)
        assert home.rows() == []


def test_a_new_external_address_is_printed_while_it_holds(home: Home, tmp_path: Path) -> None:
    other = IPv4Address("11.22.33.99")
    with holding(home, tmp_path, "tcp", 8080, "--via", "pcp") as (held, line):
        assert line.startswith(f"{home.external}:8080 ")
        try:
            home.renumber_wan(other)
            assert held.stdout is not None
            assert held.stdout.readline().startswith(f"{other}:8080 tcp via pcp ")
        finally:
            home.renumber_wan(home.external)
        held.send_signal(signal.SIGINT)
        assert held.wait(15) == 0
