"""upnp-gw and miniupnpd side by side in one run: the rows of the peer's table, as ratios.

    python -m tests.bench.bench_peer PATH-TO-MINIUPNPD [COUNT ...]

The peer is Debian's miniupnpd-nftables, unpacked, not installed: ``apt-get download`` and ``dpkg -x``. Each gateway
runs in a lab of its own; the load comes from one LAN host, a new TCP connection for each request, as clients do.
COUNT: how many mappings are there already (default 0 100 1000).
"""

import contextlib
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from upnp_gw.lab import CONSOLE, HOME, Host, Lab, LanHost, Topology, acquire
from upnp_gw.lab.daemon import LabDaemon

TIMED = 50
TIMEOUT_S = 5.0
"""Of one request. The peer's backlog of 5 loses connections that their clients think are made."""
THREADS = 4
"""Connections of one host at once: what upnp-gw gives a host (SR-23)."""
HOSTS = tuple(LanHost(f"client{n}", 20 + n, f"02:00:00:00:01:{n:02x}") for n in range(4))
LOAD = Topology(lans=(replace(HOME, hosts=(CONSOLE, *HOSTS)),))
POLICY = """
version = 1
default = "deny"
[limits]
total_mappings = 60000
per_device = 60000
requests_per_minute = 6000
[[grant]]
name = "bench"
who = "*"
max_mappings = 60000
owner = "bench"
reason = "as many as there are ports"
review_by = 2099-01-01
"""
PEER_TABLE = """
table inet filter {
  chain forward { type filter hook forward priority 0; policy accept; jump miniupnpd; }
  chain miniupnpd { }
  chain prerouting { type nat hook prerouting priority dstnat; jump prerouting_miniupnpd; }
  chain prerouting_miniupnpd { }
  chain postrouting { type nat hook postrouting priority srcnat; jump postrouting_miniupnpd; }
  chain postrouting_miniupnpd { }
}
"""
SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"


@dataclass(slots=True)
class Target:
    """A gateway under load: where its control URL is, and the process that serves it."""

    console: Host
    """Who asks."""
    crowd: tuple[Host, ...]
    """Who asks when many do."""
    host: str
    port: int
    path: str
    pid: int

    def call(self, action: str, arguments: str) -> bytes:
        """One request over a connection of its own; the answer, whole."""
        body = (
            '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
            's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
            f'<u:{action} xmlns:u="{SERVICE}">{arguments}</u:{action}></s:Body></s:Envelope>'
        )
        request = (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nContent-Type: text/xml\r\n"
            f'SOAPAction: "{SERVICE}#{action}"\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}'
        ).encode()
        with socket.create_connection((self.host, self.port), timeout=TIMEOUT_S) as connection:
            connection.sendall(request)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return answer

    def add(self, port: int, lease: int = 86400) -> None:
        answer = self.call("AddPortMapping", entry(port, str(self.console.address), lease))
        if b" 200 " not in answer[:20]:
            raise RuntimeError(answer.decode("utf-8", "replace"))

    def delete(self, port: int) -> None:
        self.call("DeletePortMapping", key(port))

    def specific(self, port: int) -> None:
        self.call("GetSpecificPortMappingEntry", key(port))

    def at(self, index: int) -> bool:
        arguments = f"<NewPortMappingIndex>{index}</NewPortMappingIndex>"
        return b" 200 " in self.call("GetGenericPortMappingEntry", arguments)[:20]

    def memory_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text("ascii")
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024  # type: ignore[union-attr]

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


def key(port: int) -> str:
    return f"<NewRemoteHost></NewRemoteHost><NewExternalPort>{port}</NewExternalPort><NewProtocol>TCP</NewProtocol>"


def entry(port: int, client: str, lease: int) -> str:
    return (
        f"{key(port)}<NewInternalPort>{port}</NewInternalPort><NewInternalClient>{client}</NewInternalClient>"
        "<NewEnabled>1</NewEnabled><NewPortMappingDescription>bench</NewPortMappingDescription>"
        f"<NewLeaseDuration>{lease}</NewLeaseDuration>"
    )


def timed(call: Callable[[int], object], values: range) -> float:
    """The median in milliseconds."""
    taken = []
    for value in values:
        started = time.perf_counter()
        call(value)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1000


def crowd(target: Target, start: int) -> tuple[float, float, int]:
    """16 clients at once, 4 on each of 4 hosts: answers a second, the p99 in milliseconds, how many had none."""
    work = [(replace(target, console=host), range(start + n * TIMED, start + (n + 1) * TIMED))
            for n, host in enumerate(target.crowd)]  # fmt: skip

    unanswered: list[int] = []

    def one(job: tuple[Target, int]) -> float:
        client, port = job
        with client.console.inside():
            started = time.perf_counter()
            try:
                client.add(port)
            except OSError:  # the time counts
                unanswered.append(port)
            return time.perf_counter() - started

    started = time.perf_counter()
    pools = [ThreadPoolExecutor(THREADS) for _ in work]
    runs = [p.map(one, [(client, port) for port in ports]) for p, (client, ports) in zip(pools, work, strict=True)]
    taken = sorted(figure for run in runs for figure in run)
    for pool in pools:
        pool.shutdown()
    spent = time.perf_counter() - started
    for client, ports in work:
        with client.console.inside():
            for port in ports:
                with contextlib.suppress(OSError):
                    client.delete(port)
    return (len(taken) - len(unanswered)) / spent, taken[int(len(taken) * 0.99)] * 1000, len(unanswered)


def measure(target: Target, counts: list[int]) -> dict[str, dict[int, float]]:
    """Row -> number of mappings present -> figure."""
    rows: dict[str, dict[int, float]] = {}

    def note(row: str, count: int, figure: float) -> None:
        rows.setdefault(row, {})[count] = figure
        print(f"  {count:6} {row}: {figure:.2f}", file=sys.stderr, flush=True)

    filled = 0
    with target.console.inside():
        for count in counts:
            before = target.cpu_s()
            for port in range(10_000 + filled, 10_000 + count):
                target.add(port)
            if count - filled >= 100:
                note("CPU s for 1,000 adds up to there", count, (target.cpu_s() - before) / (count - filled) * 1000)
            filled = count
            fresh = range(2000, 2000 + TIMED)
            note("AddPortMapping, ms", count, timed(target.add, fresh))
            note("refresh, ms", count, timed(target.add, fresh))
            note("GetSpecificPortMappingEntry, ms", count, timed(target.specific, fresh))
            note("DeletePortMapping, ms", count, timed(target.delete, fresh))
            rate, p99, unanswered = crowd(target, 3000)
            note("AddPortMapping, 16 clients, answers/s", count, rate)
            note("... p99, ms", count, p99)
            note("... of 200 without an answer", count, unanswered)
            if count:
                started = time.perf_counter()
                for index in range(count):
                    target.at(index)
                note("listing all by index, s", count, time.perf_counter() - started)
            note("resident memory, MiB", count, target.memory_mib())
    return rows


def ours(lab: Lab, directory: Path, counts: list[int]) -> dict[str, dict[int, float]]:
    policy = directory / "policy.toml"
    policy.write_text(POLICY, "utf-8")
    options = ("--lan", "lan0", "--wan", "wan0", "--policy", str(policy), "--http-port", "5000")
    with LabDaemon(lab.gateway, directory, *options) as daemon:
        console = lab.hosts["console"]
        host = "192.168.77.1"
        with console.inside():
            description = fetch(host, 5000, "/igd1.xml")
        path = re.search(r"<controlURL>([^<]*WANIPConnection)</controlURL>", description)
        assert path is not None
        return measure(
            Target(console, tuple(lab.hosts[h.name] for h in HOSTS), host, 5000, path.group(1), daemon.pid), counts
        )


def peers(lab: Lab, directory: Path, program: Path, counts: list[int]) -> dict[str, dict[int, float]]:
    lab.gateway.nft(PEER_TABLE)
    config = directory / "peer.conf"
    config.write_text(
        "ext_ifname=wan0\nlistening_ip=lan0\nhttp_port=5000\nenable_natpmp=no\nenable_upnp=yes\nsecure_mode=yes\n"
        "uuid=3d1b8f1e-2a4c-4d6e-9f00-000000000001\nupnp_table_name=filter\nupnp_nat_table_name=filter\n"
        "upnp_forward_chain=miniupnpd\nupnp_nat_chain=prerouting_miniupnpd\n"
        "upnp_nat_postrouting_chain=postrouting_miniupnpd\n"
        "allow 1024-65535 0.0.0.0/0 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n",
        "ascii",
    )
    pid_file = directory / "peer.pid"
    # Not with -d: what it prints there for each rule takes most of its time. So it forks, and its pid is in a file.
    argv = [str(program), "-f", str(config), "-P", str(pid_file)]
    started = lab.gateway.popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    started.wait(10)
    host, console = "192.168.77.1", lab.hosts["console"]
    with console.inside():
        deadline = time.monotonic() + 10
        while True:
            try:
                description = fetch(host, 5000, "/rootDesc.xml")
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
    path = re.search(r"<controlURL>(/ctl/IPConn)</controlURL>", description)
    assert path is not None
    pid = int(pid_file.read_text("ascii"))
    try:
        return measure(
            Target(console, tuple(lab.hosts[h.name] for h in HOSTS), host, 5000, path.group(1), pid), counts
        )
    finally:
        os.kill(pid, signal.SIGKILL)  # it can miss a SIGTERM until the next packet


def fetch(host: str, port: int, path: str) -> str:
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer.decode()


def main() -> None:
    program = Path(sys.argv[1])
    counts = [int(text) for text in sys.argv[2:]] or [0, 100, 1000]
    acquire()
    results = {}
    for name in ("upnp-gw", "miniupnpd"):
        with Lab(LOAD) as lab, tempfile.TemporaryDirectory() as directory:
            print(f"{name} ...", file=sys.stderr, flush=True)
            if name == "upnp-gw":
                results[name] = ours(lab, Path(directory), counts)
            else:
                results[name] = peers(lab, Path(directory), program, counts)
    print(f"| mappings present | {' | '.join(f'{count:,}' for count in counts)} |")
    print("| --- |" + " ---: |" * len(counts))
    for row, figures in results["upnp-gw"].items():
        cells = []
        for count in counts:
            mine, other = figures.get(count), results["miniupnpd"][row].get(count)
            cells.append(
                ""
                if mine is None or other is None
                else f"{mine:.2f} / {other:.2f}" + (f" = {mine / other:.2f}" if other else "")
            )
        print(f"| {row} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
