"""A router is taken over from Debian's miniupnpd while its leases run: they go on in our gateway, over the protocol
of each client, and packets from outside show it."""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.bench.gateways import Gateway, miniupnpd
from tests.fixtures.waiting import EVENT_S, until
from tests.lab.end_to_end import REACHED_S, ROUTER, SHUT_S, TCP, UDP, Home
from tests.lab.home_hosts import HomeHosts
from tests.lab.test_asking_miniupnpd import PROGRAM, has_ended
from upnp_gw.lab import HOME, Host, Lab
from upnp_gw.lab.daemon import LabDaemon
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.lab.topology import GATEWAY_WAN, WAN_NETWORK
from upnp_gw.model.mapping import Transport

pytestmark = pytest.mark.lab

GATEWAY = HOME.network[1]
EXTERNAL = WAN_NETWORK[GATEWAY_WAN]
GAME, CALL, SEED, HOLE, SHORT, DESKTOP = 8080, 9000, 9100, 9200, 9300, 3389
"""Ports: over IGD, NAT-PMP and PCP, an IPv6 pinhole, a short lease, and one that the new policy forbids."""
SHORT_S = 12
FORBID = """
[[forbid]]
name = "never-remote-desktop"
int_ports = [3389]
"""
ROOMY = """
version = 1
default = "deny"
[limits]
total_mappings = 2000
per_device = 2000
[[grant]]
name = "everyone"
who = "*"
int_ports = ["1024-65535"]
owner = "the test"
reason = "a thousand leases"
review_by = 2099-01-01
"""
LEASES = "lease_file={0}/upnp.leases\nlease_file6={0}/upnp.leases6\next_ifname6=wan0\nipv6_disable=no\n"


@dataclass
class Router(HomeHosts):
    """The gateway of a lab, with miniupnpd first and our daemon after it."""

    lab: Lab
    directory: Path
    before: Gateway
    echoes: ExitStack

    @property
    def leases(self) -> Path:
        return self.directory / "upnp.leases"

    @property
    def leases6(self) -> Path:
        return self.directory / "upnp.leases6"

    def ends(self) -> dict[int, int]:
        """External port -> seconds since 1970, by the file."""
        lines = [line.split(":") for line in self.leases.read_text("utf-8").splitlines()]
        return {int(line[1]): int(line[4]) for line in lines}

    def shorten(self, port: int, before: int, end: int) -> None:
        """Another end of a lease in the file: a test cannot wait for that of miniupnpd."""
        text = self.leases.read_text("utf-8")
        [line] = [line for line in text.splitlines() if line.split(":")[1] == str(port)]
        self.leases.write_text(text.replace(line, line.replace(str(before), str(end))), "utf-8")

    def listen(self, host: Host, transport: Transport, *ports: int) -> None:
        for port in ports:
            self.echoes.enter_context(EchoServer(host, transport, port))

    def arrives(self, port: int, transport: Transport = TCP, timeout: float = REACHED_S) -> str:
        """The name of the host that a packet from outside reaches."""
        return reach(self.peer, transport, self.external, port, timeout=timeout).answered_by

    def arrives6(self, port: int, timeout: float = REACHED_S) -> str:
        return reach(self.peer, TCP, self.pc.address6, port, timeout=timeout).answered_by

    def shut(self, port: int, transport: Transport = TCP) -> bool:
        return not self.arrives(port, transport, SHUT_S)

    @contextmanager
    def served(self) -> Iterator[Home]:
        """Our daemon in place of miniupnpd, on the same ports, with the files that the import makes of its
        configuration. The operator adds a rule."""
        etc = self.directory / "etc"
        argv = [sys.executable, "-m", "upnp_gw", "import", str(self.directory / "miniupnpd.conf")]
        said = self.lab.gateway.run([*argv, "--config-dir", str(etc), "--yes"]).stdout
        assert "Equal: the policy answers as the 2 permission lines do" in said
        assert f"upnp-gw import --leases {self.leases}" in said.replace("\n    ", " ")
        with (etc / "policy.toml").open("a", encoding="utf-8") as policy:
            policy.write(FORBID)
        with LabDaemon(self.lab.gateway, self.directory, "--config", str(etc / "config.toml"), *ROUTER) as daemon:
            yield Home(self.lab, daemon)

    def stop_miniupnpd(self) -> None:
        """As systemd does; a datagram wakes it, it can miss the signal until then."""
        os.kill(self.before.pid, signal.SIGTERM)
        with self.console.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wake:
            wake.sendto(b"\0\0", (str(GATEWAY), 5351))
        assert until(lambda: has_ended(self.before.pid))


def natpmp(host: Host, port: int, transport: Transport, lease_s: int) -> None:
    words = ["-a", str(port), str(port), transport.value, str(lease_s)]
    answer = host.run(["natpmpc", "-g", str(GATEWAY), *words]).stdout
    assert f"Mapped public port {port} " in answer, answer


def pcp(router: Router, host: Host, port: int, lease: str, *words: str) -> None:
    """A PCP client whose nonces are made of a secret of its own, as those of a program that goes on running."""
    argv = [sys.executable, "-m", "upnp_gw", "request", "tcp", str(port), "--via", "pcp", "--ttl", lease]
    host.run([*argv, *words], env={"XDG_STATE_HOME": str(router.directory / host.name)})


def igd(host: Host, port: int, lease_s: int, path: str) -> None:
    """upnpc, of miniupnp itself."""
    url = f"http://{GATEWAY}:5000{path}"
    words = ["-e", "the game: a", "-a", str(host.address), str(port), str(port), "TCP", str(lease_s)]
    answer = host.run(["upnpc", "-u", url, *words]).stdout
    assert f"external {EXTERNAL}:{port} TCP is redirected" in answer, answer


@pytest.fixture
def router(namespaces: None, tmp_path: Path) -> Iterator[Router]:
    assert PROGRAM.exists(), "miniupnpd is missing: run tests/run.sh --setup-only"
    with Lab() as lab, ExitStack() as echoes:
        lab.gateway.sysctl("net/ipv4/ip_forward", "1")
        lab.gateway.sysctl("net/ipv6/conf/all/forwarding", "1")
        with miniupnpd(lab, tmp_path, PROGRAM, LEASES.format(tmp_path)) as before:
            yield Router(lab, tmp_path, before, echoes)


def test_leases_go_on_and_their_clients_renew_them(router: Router) -> None:
    console, pc = router.console, router.pc
    router.listen(console, TCP, GAME, SHORT, DESKTOP)
    router.listen(console, UDP, CALL)
    router.listen(pc, TCP, SEED, HOLE)
    igd(console, GAME, 600, "/rootDesc.xml")
    igd(console, DESKTOP, 600, "/rootDesc.xml")
    natpmp(console, CALL, UDP, 700)
    pcp(router, pc, SEED, "800s")
    pcp(router, pc, HOLE, "800s", "--ipv6")
    igd(console, SHORT, 600, "/rootDesc.xml")
    for port in (GAME, SHORT, DESKTOP):
        assert router.arrives(port) == "console"
    router.stop_miniupnpd()
    assert router.arrives(DESKTOP) == "console", "its rules are left behind"
    ends = router.ends()
    assert sorted(ends) == [DESKTOP, GAME, CALL, SEED, SHORT]

    with router.served() as home:
        found = {check["finding"]: check for check in home.daemon.json("doctor") if check["name"] == "miniupnpd"}
        assert len(found) == 2
        assert any("chain inet filter prerouting_miniupnpd has 5 rules of miniupnpd" in each for each in found)
        taken = take(home, router.leases)
        assert {lease["answer"]["refusal"] for lease in taken["leases"]} == {"conflict-other"}
        for check in found.values():
            for command in check["commands"]:
                router.lab.gateway.run(command.split())
        assert not [check for check in home.daemon.json("doctor") if check["name"] == "miniupnpd"]
        assert all(router.shut(port) for port in (GAME, SEED, SHORT, DESKTOP))
        assert until(lambda: take(home, router.leases, "--dry-run")["leases"][0]["answer"]["outcome"] == "taken")

        router.shorten(SHORT, ends[SHORT], int(time.time()) + SHORT_S)
        shown, taken = take(home, router.leases, "--dry-run"), take(home, router.leases)
        assert outcomes(shown) == outcomes(taken)
        assert outcomes(taken) == {GAME: "taken", DESKTOP: "refused", CALL: "taken", SEED: "taken", SHORT: "taken"}
        [refused] = [lease["answer"] for lease in taken["leases"] if lease["external_port"] == DESKTOP]
        assert refused["rule"] == "never-remote-desktop"
        assert "never-remote-desktop" in home.daemon.cli("explain", refused["decision"]).stdout
        assert outcomes(take(home, router.leases6)) == {HOLE: "taken"}
        home.agree()
        # a connection from before goes on; new ones find its port shut
        findings = home.ask("GET", "/v1/policy/kernel")["findings"]
        assert [one for one in findings if f":{DESKTOP} reaches" not in one["sentence"]] == []

        with home.watch() as watch:
            for port, host in ((GAME, "console"), (SEED, "pc"), (SHORT, "console")):
                assert router.arrives(port) == host
            assert router.arrives(CALL, UDP) == "console"
            assert router.arrives6(HOLE) == "pc"
            assert router.shut(DESKTOP)
            rows = {row["external_port"]: row for row in home.rows()}
            assert {port: row["via"] for port, row in rows.items()} == {
                GAME: "igd1",
                CALL: "natpmp",
                SEED: "pcp",
                HOLE: "pcp",
                SHORT: "igd1",
            }
            assert (rows[GAME]["description"], rows[SEED]["description"]) == ("the game: a", "")
            for port, end in router.ends().items():
                if port != DESKTOP:
                    assert abs(datetime.fromisoformat(rows[port]["expires_at"]).timestamp() - end) <= 2

            igd(console, GAME, 3600, "/igd1.xml")
            natpmp(console, CALL, UDP, 3600)
            pcp(router, pc, SEED, "3600s")
            pcp(router, pc, HOLE, "3600s", "--ipv6")
            again = {row["external_port"]: row for row in home.rows() if row["external_port"] != SHORT}
            assert {p: row["id"] for p, row in again.items()} == {
                p: rows[p]["id"] for p in (GAME, CALL, SEED, HOLE)
            }
            for port, row in again.items():
                assert row["lease_left_s"] > rows[port]["lease_left_s"] + 2000
                assert len(row["vias"]) == 1
            removed = watch.wait("removed", timeout=SHORT_S + EVENT_S, external_port=SHORT)
            assert removed["why"] == "expired"
            assert router.shut(SHORT)
            assert router.arrives(GAME) == "console"
        home.agree()


def test_a_thousand_leases_go_on(lab: Lab, tmp_path: Path) -> None:
    hosts = [lab.hosts[name].address for name in ("console", "pc")]
    end, ports = int(time.time()) + 3600, range(20_000, 21_000)
    lines = [f"{'TCP' if port % 3 else 'UDP'}:{port}:{hosts[port % 2]}:{port}:{end}:game\n" for port in ports]
    leases, policy = tmp_path / "upnp.leases", tmp_path / "policy.toml"
    leases.write_text("".join(lines), "utf-8")
    policy.write_text(ROOMY, "utf-8")
    words = ("--lan", "lan0", "--wan", "wan0", "--policy", str(policy))
    with LabDaemon(lab.gateway, tmp_path, *words) as daemon:
        home = Home(lab, daemon)
        assert set(outcomes(take(home, leases)).values()) == {"taken"}
        home.agree()
        assert len(home.rows()) == 1000
        assert set(outcomes(take(home, leases)).values()) == {"stands"}


def take(home: Home, leases: Path, *words: str) -> Any:
    """The answers of ``import --leases``."""
    return json.loads(home.daemon.cli("import", "--leases", str(leases), "--json", *words, check=False).stdout)


def outcomes(answers: Any) -> dict[int, str]:
    return {lease["external_port"]: lease["answer"]["outcome"] for lease in answers["leases"]}
