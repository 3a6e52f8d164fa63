"""Debian's miniupnpd and, after ``upnp-gw import`` of its configuration, our gateway in its place: each request
gets the same answer, over UPnP and NAT-PMP."""

import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.bench import messages
from tests.bench.gateways import Gateway, lab_of, miniupnpd, served
from tests.lab.igd_control_point import exchange
from tests.lab.test_asking_miniupnpd import PROGRAM
from upnp_gw.lab import HOME, Host, Lab
from upnp_gw.lab.daemon import LabDaemon
from upnp_gw.migration.first_match import Asked, allows
from upnp_gw.migration.miniupnpd_conf import read_miniupnpd
from upnp_gw.migration.original import Permission

pytestmark = pytest.mark.lab

ANSWER_S = 5.0
HOSTS = 4
"""192.168.77.20 to .23."""
LISTS = {
    "one host less, and one with a web server": """
allow 80 192.168.77.21/32 8080
deny 0-65535 192.168.77.20 0-65535
deny 0-65535 0.0.0.0/0 3389
allow 1024-65535 192.168.77.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
""",
    "no last line that denies": """
allow 1024-65535 192.168.77.20/31 1024-65535
deny 1024-8080 192.168.77.22/255.255.255.254 0-65535
deny 80 0/0 0-65535
""",
    "the order decides": """
deny 2000-3000 192.168.77.0/24 2500
allow 2000-65535 192.168.77.0/255.255.255.252 2000-9000
allow 80-81 192.168.077.23 22 # octal: it is another address
allow 1025 192.168.77.22 22
deny 0-65535 0.0.0.0/0 0-65535
""",
}
PAIRS = ((1030, 1030), (8080, 8080), (2500, 2500), (3000, 3389), (2950, 2500))
"""External and internal port; the external one is larger by the number of the host, for a port that another device
had a moment ago is refused. A device may be refused eleven ports before it is frozen."""
ONE_EACH = ((1, 80, 8080), (2, 81, 22), (2, 1025, 22), (3, 80, 22))
"""Number of the host, external and internal port."""


@dataclass(frozen=True)
class Answers:
    """The answers of a gateway: over UPnP whether it granted a request, over NAT-PMP the port that it gave."""

    upnp: dict[tuple[str, int, int], bool]
    natpmp: dict[tuple[str, int], int | None]


def asked(gateway: Gateway) -> Answers:
    hosts = gateway.hosts
    requests = [(number, ext + number, int_) for number in range(HOSTS) for ext, int_ in PAIRS]
    upnp = {
        (str(hosts[number].address), ext, int_): _adds(gateway, hosts[number], ext, int_)
        for number, ext, int_ in (*requests, *ONE_EACH)
    }
    natpmp = {(str(host.address), int_): _maps(gateway, host, int_) for host in hosts for int_ in (22, 2600)}
    return Answers(upnp, natpmp)


def _adds(gateway: Gateway, host: Host, ext: int, int_: int) -> bool:
    """AddPortMapping, and its deletion."""
    arguments = messages.entry(ext, host.address).replace(f"<NewInternalPort>{ext}<", f"<NewInternalPort>{int_}<")
    added = _posts(gateway, host, "AddPortMapping", arguments)
    if added:
        assert _posts(gateway, host, "DeletePortMapping", messages.key(ext))
    return added


def _posts(gateway: Gateway, host: Host, action: str, arguments: str) -> bool:
    address, port = gateway.http
    data = messages.post(f"{address}:{port}", gateway.path, action, arguments)
    return exchange(host, IPv4Address(address), port, data).status == 200


def _maps(gateway: Gateway, host: Host, int_: int) -> int | None:
    """The external port that NAT-PMP gives to a TCP port, and its deletion. The host suggests a port of its own."""
    with host.inside():
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with closing(link):
        link.settimeout(ANSWER_S)
        link.connect(gateway.datagrams)
        link.send(struct.pack("!BBHHHI", 0, 2, 0, int_, 2900 + gateway.hosts.index(host), 3600))
        answer = link.recv(64)
        if not messages.datagram_ok(answer):
            return None
        given: int = struct.unpack("!H", answer[10:12])[0]
        link.send(struct.pack("!BBHHHI", 0, 2, 0, int_, 0, 0))
        assert messages.datagram_ok(link.recv(64))
        return given


def configuration(permissions: str) -> str:
    return f"ext_ifname=wan0\nlistening_ip={HOME.network[1]}/24\nenable_natpmp=yes\nhttp_port=5000\n{permissions}"


@pytest.fixture(scope="module")
def lab(namespaces: None) -> Iterator[Lab]:
    assert PROGRAM.exists(), "miniupnpd is missing: run tests/run.sh --setup-only"
    with lab_of(HOSTS) as made:
        yield made


@pytest.mark.parametrize("name", LISTS)
def test_after_the_import_every_request_gets_the_answer_of_miniupnpd(lab: Lab, name: str, tmp_path: Path) -> None:
    permissions = LISTS[name]
    with miniupnpd(lab, tmp_path, PROGRAM, permissions=permissions) as gateway:
        theirs = asked(gateway)
    lab.gateway.nft("delete table inet filter")
    lines = read_miniupnpd(permissions.encode(), name).permissions
    for (client, ext, int_), granted in theirs.upnp.items():
        assert granted == allows(lines, Asked(IPv4Address(client), ext, int_)), (client, ext, int_)
    assert {*theirs.upnp.values()} == {True, False}

    file, etc = tmp_path / "theirs.conf", tmp_path / "etc"
    file.write_text(configuration(permissions))
    command = [sys.executable, "-m", "upnp_gw", "import", str(file), "--yes", "--config-dir", str(etc)]
    assert "Equal: the policy answers as" in lab.gateway.run(command).stdout
    with LabDaemon(lab.gateway, tmp_path, "--config", str(etc / "config.toml")) as daemon:
        ours = asked(served("ours", lab, daemon))
    assert ours.upnp == theirs.upnp
    for (client, int_), port in theirs.natpmp.items():
        given = ours.natpmp[client, int_]
        assert (given is None) == (port is None), (client, int_, given, port)
        assert all(_allowed(lines, client, each, int_) for each in (given, port) if each is not None)


def _allowed(lines: tuple[Permission, ...], client: str, ext: int, int_: int) -> bool:
    return allows(lines, Asked(IPv4Address(client), ext, int_))
