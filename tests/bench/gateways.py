"""The gateways under load, each in a lab of its own: upnp-gw, miniupnpd, and the server that does nothing."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from compileall import compile_dir
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests import ROOT
from tests.bench import messages
from tests.bench.load import Address, Request
from tests.bench.share import Shares
from upnp_gw.lab import HOME, Host, Lab, LanHost, Topology
from upnp_gw.lab.daemon import LabDaemon

HTTP_PORT = 5000
CONTROL_PORT = 5351
NOOP_PORT = 5999
PEER_HOST = "peer1"
"""The host of the internet."""
READY_S = 10.0
FIRST_PORT, PORTS_EACH = 1_100, 100
SPARE_PORTS = range(4_500, 5_000)
"""External ports of no host, with up to 34 hosts."""
POLICY = """
version = 1
default = "deny"
[limits]
total_mappings = 65535
per_device = 65535
requests_per_minute = 6000
[[grant]]
name = "bench"
who = "*"
max_mappings = 65535
owner = "bench"
reason = "as many as there are ports"
review_by = 2099-01-01
"""
CONFIG = """
[lan]
interfaces = ["lan0"]
[wan]
interface = "wan0"
[upnp]
http_port = 5000
[gate]
policy = "{policy}"
[store]
durability = "{durability}"
keep_decisions = {keep_decisions}
"""
TRACKED = """
table inet tracked {
  chain arriving { type filter hook input priority 0; ct state new counter; }
}
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
PEER_CONFIG = """
ext_ifname=wan0
listening_ip=lan0
http_port=5000
enable_natpmp=yes
enable_upnp=yes
secure_mode=yes
min_lifetime=120
max_lifetime=86400
uuid=3d1b8f1e-2a4c-4d6e-9f00-000000000001
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
"""
PEER_PERMISSIONS = """
allow 1024-65535 0.0.0.0/0 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
PEER_PACKAGE = "miniupnpd-nftables"


def topology(hosts: int) -> Topology:
    """A home with so many LAN hosts."""
    names = tuple(LanHost(f"host{n}", 20 + n, f"02:00:00:00:01:{n:02x}") for n in range(hosts))
    return Topology(lans=(replace(HOME, hosts=names),), peers=(PEER_HOST,))


@contextmanager
def lab_of(hosts: int) -> Iterator[Lab]:
    """A lab whose gateway forgets closed connections after a second: mappings pile up there, flows do not."""
    with Lab(topology(hosts)) as lab:
        lab.gateway.nft(TRACKED)  # the sysctl is there once something tracks
        lab.gateway.sysctl("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "1")
        lab.gateway.nft("delete table inet tracked")
        lab.gateway.sysctl("net/ipv4/ip_forward", "1")
        yield lab


class GatewayEnded(Exception):
    """A gateway ended while it was measured."""


@dataclass(slots=True)
class Gateway:
    """A gateway under load."""

    name: str
    lab: Lab
    pid: int
    http: Address
    datagrams: Address
    path: str
    """Of the control URL of WANIPConnection."""
    path_2: str
    """The same of version 2, which has GetListOfPortMappings."""
    shares: Shares = field(default_factory=lambda: Shares(limited=False))
    lists: bool = True
    """GetListOfPortMappings may be asked for."""
    daemon: LabDaemon | None = None
    """upnp-gw only."""

    @property
    def hosts(self) -> list[Host]:
        """Those of the LAN."""
        return [self.lab.hosts[host.name] for host in self.lab.topology.lans[0].hosts]

    def ports(self, host: Host) -> range:
        """External ports of a host alone: a port that another device had a moment ago is refused."""
        first = FIRST_PORT + self.hosts.index(host) * PORTS_EACH
        return range(first, first + PORTS_EACH)

    @property
    def is_noop(self) -> bool:
        return self.http[1] == NOOP_PORT

    def request(self, host: Host, action: str, arguments: str) -> Request:
        """A SOAP request of a host."""
        return Request(host, messages.post(f"{self.http[0]}:{self.http[1]}", self.path, action, arguments))

    def add(self, host: Host, port: int, lease_s: int = messages.LEASE_S) -> Request:
        return self.request(host, "AddPortMapping", messages.entry(port, host.address, lease_s))

    def delete(self, host: Host, port: int) -> Request:
        return self.request(host, "DeletePortMapping", messages.key(port))

    def get(self, host: Host, port: int) -> Request:
        return self.request(host, "GetSpecificPortMappingEntry", messages.key(port))

    def nth(self, host: Host, number: int) -> Request:
        return self.request(host, "GetGenericPortMappingEntry", messages.index(number))

    def listing(self, host: Host, most: int) -> Request:
        """All mappings in one answer, at most so many."""
        arguments = messages.port_range(most)
        host_header = f"{self.http[0]}:{self.http[1]}"
        return Request(host, messages.post(host_header, self.path_2, "GetListOfPortMappings", arguments, version=2))

    def memory_mib(self) -> float:
        """VmRSS. Raises GatewayEnded."""
        sizes = re.findall(r"VmRSS:\s+(\d+) kB", _text_of(Path(f"/proc/{self.pid}/status")))
        if not sizes:
            raise GatewayEnded(f"{self.name} ended by itself")
        return int(sizes[0]) / 1024

    def cpu_s(self) -> float:
        """Time on a processor of all its threads, exact: the sums of stat(5) come in steps of 10 ms."""
        texts = [_text_of(task / "schedstat") for task in Path(f"/proc/{self.pid}/task").iterdir()]
        return sum(int(text.split()[0]) for text in texts if text) / 1e9


class BenchDaemon(LabDaemon):
    """The daemon of this checkout, or of another one: ``checkout``."""

    def __init__(self, host: Host, directory: Path, *options: str, checkout: Path | None = None) -> None:
        super().__init__(host, directory, *options)
        self.checkout = checkout
        self.module = "upnp_gw"
        """The one that is run in place of the program."""
        self.environment: dict[str, str] = {}

    @property
    def argv(self) -> list[str]:
        python, _, _, *rest = super().argv
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return [*self._in_checkout, *(["env", *variables] if variables else []), python, "-m", self.module, *rest]

    @property
    def command(self) -> list[str]:
        return [*self._in_checkout, *super().command]

    @property
    def _in_checkout(self) -> list[str]:
        if self.checkout is None:
            return []
        return ["env", "-C", str(self.checkout), f"PYTHONPATH={self.checkout}"]


def daemon_of(
    lab: Lab, directory: Path, durability: str, checkout: Path | None = None, keep_decisions: int = 100_000
) -> BenchDaemon:
    """A daemon that is not started yet, with the audit log on. Its bytecode is written, as pip does it."""
    compile_dir((checkout or ROOT) / "upnp_gw", quiet=1)
    policy, config = directory / "policy.toml", directory / "upnp-gw.toml"
    policy.write_text(POLICY, "utf-8")
    config.write_text(CONFIG.format(policy=policy, durability=durability, keep_decisions=keep_decisions), "utf-8")
    return BenchDaemon(lab.gateway, directory, "--config", str(config), checkout=checkout)


def served(name: str, lab: Lab, daemon: LabDaemon) -> Gateway:
    """A started upnp-gw as a gateway under load."""
    address = str(HOME.network[1])
    first = lab.hosts[lab.topology.lans[0].hosts[0].name]
    paths = [_control_path(fetch(first, (address, HTTP_PORT), f"/igd{version}.xml")) for version in (1, 2)]
    return Gateway(
        name,
        lab,
        daemon.pid,
        (address, HTTP_PORT),
        (address, CONTROL_PORT),
        paths[0],
        paths[1],
        Shares(limited=True),
        daemon=daemon,
    )


@contextmanager
def noop(lab: Lab) -> Iterator[Gateway]:
    """The server that does nothing, on the gateway of a lab."""
    address = str(HOME.network[1])
    server = lab.gateway.popen([sys.executable, "-m", "tests.bench.noop_server", address, str(NOOP_PORT)])
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n", "the no-op server did not start"
        both = (address, NOOP_PORT)
        yield Gateway("no-op", lab, server.pid, both, both, "/", "/")
    finally:
        lab.gateway.stop(server)


@contextmanager
def miniupnpd(
    lab: Lab, directory: Path, program: Path, more: str = "", permissions: str = PEER_PERMISSIONS
) -> Iterator[Gateway]:
    """miniupnpd with its nftables backend, on the gateway of a lab. ``more``: lines of its configuration."""
    lab.gateway.nft(PEER_TABLE)
    config, pid_file = directory / "miniupnpd.conf", directory / "miniupnpd.pid"
    config.write_text(PEER_CONFIG + permissions + more, "ascii")
    # Not with -d: it then prints each rule, which takes most of its time. So it forks, and its pid is in a file.
    argv = [str(program), "-f", str(config), "-P", str(pid_file)]
    lab.gateway.popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait(READY_S)
    address = str(HOME.network[1])
    first = lab.hosts[lab.topology.lans[0].hosts[0].name]
    deadline = time.monotonic() + READY_S
    while True:
        try:
            description = fetch(first, (address, HTTP_PORT), "/rootDesc.xml")
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)  # it has no event for readiness
    path = _control_path(description)
    pid = int(pid_file.read_text("ascii"))
    http, datagrams = (address, HTTP_PORT), (address, CONTROL_PORT)
    lists = lists_safely(peer_version(program))
    gateway = Gateway("miniupnpd", lab, pid, http, datagrams, path, path, lists=lists)
    try:
        yield gateway
    finally:
        with suppress(ProcessLookupError):  # a test may have stopped it
            os.kill(gateway.pid, signal.SIGKILL)  # it can miss a SIGTERM until the next packet


def find_peer(cache: Path) -> Path | None:
    """The program of Debian's package, downloaded and unpacked below ``cache``, never installed; None: not here."""
    program = cache / "unpacked/usr/sbin/miniupnpd"
    if not program.exists():
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            return None
        cache.mkdir(parents=True, exist_ok=True)
        quiet = {"cwd": cache, "capture_output": True, "check": False}
        subprocess.run(["apt-get", "download", PEER_PACKAGE], **quiet)  # type: ignore[call-overload]
        for package in cache.glob(f"{PEER_PACKAGE}_*.deb"):
            subprocess.run(["dpkg-deb", "-x", package.name, "unpacked"], **quiet)  # type: ignore[call-overload]
    return program if program.exists() and peer_version(program) else None


def peer_version(program: Path) -> str:
    """The version that the program prints; empty where it does not run here, for want of a library."""
    words = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout.split()
    return words[1] if len(words) > 1 else ""


def lists_safely(version: str) -> bool:
    """False for a miniupnpd that crashes in GetListOfPortMappings with some 200 mappings (before 2.3.11)."""
    return [int(number) for number in re.findall(r"\d+", version)] >= [2, 3, 11]


def _text_of(path: Path) -> str:
    """A file of proc(5); empty where the process or thread ended."""
    try:
        return path.read_text("ascii")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def fetch(host: Host, server: Address, path: str) -> str:
    """The answer to a GET of a host, head included. Raises OSError."""
    with host.inside():
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with connection:
        connection.settimeout(5)
        connection.connect(server)
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {server[0]}:{server[1]}\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer.decode()


def _control_path(description: str) -> str:
    services = re.findall(r"<service>.*?</service>", description, re.S)
    (service,) = [text for text in services if ":service:WANIPConnection:" in text]
    (path,) = re.findall(r"<controlURL>([^<]*)</controlURL>", service)
    return str(path)
