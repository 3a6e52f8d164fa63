"""The doctor's view of the machine: other gateways, holders of ports, directories. Loopback and test files only."""

import asyncio
import contextlib
import os
import pwd
import socket
import struct
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from upnp_gw.config.settings import Config
from upnp_gw.doctor import examine
from upnp_gw.doctor.holders import _name, holders
from upnp_gw.doctor.inspection import _become_by_root, _multicast, _state_problem, page_ports
from upnp_gw.doctor.machine_state import PortHolder
from upnp_gw.doctor.search import GROUP, MOST, Answers, answer_headers, other_gateways
from upnp_gw.model.mapping import Endpoint, Transport
from upnp_gw.model.network import Link

LOOPBACK = Link("lo", socket.if_nametoindex("lo"), True, (ip_interface("127.0.0.1/8"),))
ANSWER = (
    b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nEXT:\r\nLOCATION: http://127.0.0.1:49000/igddesc.xml\r\n"
    b"SERVER: box UPnP/1.0 AVM/7.5\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nUSN: u\r\n\r\n"
)


def test_the_headers_of_an_answer() -> None:
    headers = answer_headers(ANSWER)
    assert headers is not None
    assert (headers["server"], headers["location"]) == (
        "box UPnP/1.0 AVM/7.5",
        "http://127.0.0.1:49000/igddesc.xml",
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 9000,
        b"NOTIFY * HTTP/1.1\r\nST: InternetGatewayDevice\r\n\r\n",
        b"HTTP/1.1 404 No\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n",
        ANSWER.replace(b"InternetGatewayDevice", b"MediaServer"),
    ],
)
def test_answers_of_other_hosts_are_ignored(data: bytes) -> None:
    assert answer_headers(data) is None


def test_only_the_lans_own_hosts_count_each_once_and_never_ourselves() -> None:
    answers = Answers(LOOPBACK, frozenset({"127.0.0.1"}))
    for source in ("127.0.0.1", "198.51.100.1", "127.0.0.2", "127.0.0.2"):
        answers.datagram_received(ANSWER, (source, 1900))
    assert [str(gateway.address) for gateway in answers.found.values()] == ["127.0.0.2"]
    for number in range(3, 100):
        answers.datagram_received(ANSWER, (f"127.0.0.{number}", 1900))
    assert len(answers.found) == MOST


class Responder(asyncio.DatagramProtocol):
    """Another gateway, on loopback."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if b'MAN: "ssdp:discover"' in data:
            self.transport.sendto(ANSWER, addr)


async def test_another_gateway_is_found() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setblocking(False)
        listening.bind(GROUP)
        membership = struct.pack("=4s4si", socket.inet_aton(GROUP[0]), bytes(4), LOOPBACK.index)
        listening.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Responder, sock=listening)
        with contextlib.closing(transport):
            (found,) = await other_gateways([LOOPBACK], own=frozenset())
    assert (found.interface, str(found.address), found.server) == ("lo", "127.0.0.1", "box UPnP/1.0 AVM/7.5")


async def test_a_lan_that_cannot_be_asked_has_no_other_gateway() -> None:
    assert await other_gateways([Link("gone", 9999, True, (ip_interface("203.0.113.1/24"),))], frozenset()) == ()


def test_another_process_on_a_port_is_named(tmp_path: Path) -> None:
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    row = "   0: {local} 00000000:0000 {st} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1\n"
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(head + row.format(local="0100007F:1388", st="0A", inode=77))
    rows = [("00000000:076C", 88), ("0100007F:076C", 89), ("00000000:14E7", 90), ("00000000:0035", 91)]
    (tmp_path / "net" / "udp").write_text(
        head + "".join(row.format(local=local, st="07", inode=inode) for local, inode in rows)
    )
    for pid, name, inodes in (("10", "minidlnad", (88, 89)), ("20", "upnp-gw", (77,))):
        (tmp_path / pid / "fd").mkdir(parents=True)
        (tmp_path / pid / "comm").write_text(name + "\n")
        for inode in inodes:
            (tmp_path / pid / "fd" / str(inode)).symlink_to(f"socket:[{inode}]")
    expected = {(Transport.TCP, 5000), (Transport.UDP, 1900), (Transport.UDP, 5351)}
    assert holders(expected, proc=tmp_path) == (
        PortHolder(Transport.TCP, 5000, "127.0.0.1", "upnp-gw", 20),
        PortHolder(Transport.UDP, 1900, "0.0.0.0", "minidlnad", 10),
        PortHolder(Transport.UDP, 5351, "0.0.0.0", None, None),
    )


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("/usr/bin/python3\0-m\0upnp_gw\0run\0", "upnp-gw"),
        ("/opt/venv/bin/python\0/usr/local/bin/upnp-gw\0run\0--wan\0eth0\0", "upnp-gw"),
        ("/usr/bin/python3\0-m\0http.server\0", "python3"),
        ("/usr/bin/python3\0-m\0upnp_gw\0doctor\0", "python3"),
    ],
)
def test_a_daemon_that_an_interpreter_runs_has_its_own_name(tmp_path: Path, line: str, name: str) -> None:
    (tmp_path / "comm").write_text("python3\n")
    (tmp_path / "cmdline").write_text(line)
    assert _name(tmp_path) == name


def test_a_real_listener_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        (found,) = holders({(Transport.TCP, port)})
        assert (found.address, found.port) == ("127.0.0.1", port)
        assert found.process == Path("/proc/self/comm").read_text("utf-8").strip()
        assert found.pid == os.getpid()


def test_the_state_directory(tmp_path: Path) -> None:
    assert _state_problem(tmp_path) is None
    assert _state_problem(tmp_path / "not" / "yet") is None
    assert list(tmp_path.iterdir()) == []
    assert "cannot be written" in str(_state_problem(Path("/proc/sys")))


def test_the_multicast_flag() -> None:
    assert _multicast(["lo", "upnpgw-none"]).keys() == {"lo"}


async def test_it_examines_this_machine(tmp_path: Path) -> None:
    checks = await examine(Config(wan="upnpgw-none", lan=("lo",), state_dir=tmp_path))
    found = {(check.name, check.outcome) for check in checks}
    assert {("state", "ok"), ("lan and wan", "ok"), ("interface", "fail"), ("interface", "ok")} <= found


def test_root_finds_the_state_directory_of_the_user_that_the_daemon_becomes(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root of a machine can give a directory away")
    nobody = pwd.getpwnam("nobody").pw_uid
    try:
        os.chown(tmp_path, nobody, -1)
    except OSError:
        pytest.skip("this user namespace has root alone")
    assert "belongs to nobody" in str(_state_problem(tmp_path, _become_by_root("")))
    assert _state_problem(tmp_path, _become_by_root("nobody")) is None


def test_a_state_directory_that_others_can_change_is_found(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    assert "every user of this machine may write there" in str(_state_problem(tmp_path))


@pytest.mark.parametrize(
    ("lan", "listen", "ports"),
    [
        ("own", "127.0.0.1", [5080]),
        ("own", "192.168.1.1", [5080, 5081]),
        ("off", "127.0.0.1", []),
        ("off", "::1", []),
    ],
)
def test_the_ports_of_the_page_matter_while_it_runs_or_will(
    tmp_path: Path, lan: str, listen: str, ports: list[int]
) -> None:
    config = Config(
        wan="eth0",
        lan=("br0",),
        page_lan=lan,
        page_listen=Endpoint(ip_address(listen), 5081),
        page_runtime_dir=tmp_path,
    )
    assert page_ports(config, wanted=False) == []
    assert [port for _, port in page_ports(config, wanted=True)] == ports
    (tmp_path / "page.sock").touch()
    assert [port for _, port in page_ports(config, wanted=False)] == ports
