"""The gateway's own listening ports, from the kernel's socket tables."""

import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address, ip_interface
from pathlib import Path

import pytest

from upnp_gw.model.mapping import Transport
from upnp_gw.model.network import Link, Network
from upnp_gw.system import listening_ports as module
from upnp_gw.system.listening_ports import ListeningPorts, find_bound, parse_bound, read_bound, read_ephemeral
from upnp_gw.system.sock_diag import BoundSocket, ask_bound, parse_answer

TCP, UDP = Transport.TCP, Transport.UDP
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
NETWORK = Network(
    Link("wan0", 1, True, (ip_interface("11.0.0.2/24"), ip_interface("2a22::2/64"))),
    (Link("lan0", 2, True, (ip_interface("192.168.1.1/24"),)),),
    external=(IPv4Address("11.9.9.9"),),
)


def word(packed: bytes) -> str:
    """As the kernel prints an address on this machine."""
    return "".join(f"{socket.ntohl(int.from_bytes(packed[i : i + 4])):08X}" for i in range(0, len(packed), 4))


def line(address: str, port: int, state: str, inode: int = 7) -> str:
    packed = ip_address(address).packed
    remote = word(bytes(len(packed)))
    queues = "00000000:00000000 00:00000000 00000000     0        0"
    return f"   0: {word(packed)}:{port:04X} {remote}:0000 {state} {queues} {inode} 1 0 100 0 0 10 0\n"


@pytest.mark.parametrize(
    ("transport", "address", "state", "counts"),
    [
        (TCP, "0.0.0.0", "0A", True),
        (TCP, "11.0.0.2", "0A", True),
        (TCP, "::", "0A", True),
        (TCP, "::ffff:11.0.0.2", "0A", True),
        (TCP, "2a22::2", "0A", True),
        (TCP, "11.9.9.9", "0A", True),
        (TCP, "192.168.1.1", "0A", False),
        (TCP, "127.0.0.1", "0A", False),
        (TCP, "::1", "0A", False),
        (TCP, "11.0.0.3", "0A", False),
        (TCP, "0.0.0.0", "01", False),
        (TCP, "0.0.0.0", "07", False),
        (UDP, "0.0.0.0", "07", True),
        (UDP, "::", "07", True),
        (UDP, "11.0.0.2", "07", True),
        (UDP, "0.0.0.0", "01", False),
        (UDP, "192.168.1.1", "07", False),
    ],
)
@pytest.mark.spec("SR-24")
def test_which_sockets_are_ports_of_the_gateway(
    transport: Transport, address: str, state: str, counts: bool
) -> None:
    lines = [HEAD, line(address, 443, state)]
    listeners = ListeningPorts(
        lambda: NETWORK,
        lambda: 0.0,
        read=lambda: parse_bound(iter(lines), transport),
        ephemeral=lambda: (32768, 60999),
    )
    assert listeners.ports() == (frozenset({(transport, 443)}) if counts else frozenset())


def test_udp_in_the_ephemeral_range_counts_once_it_lasts() -> None:
    """WireGuard listens on 51820; a resolver's query port is there for a second."""
    now, sockets = 1000.0, [BoundSocket(UDP, ip_address("0.0.0.0"), 40000, 1)]
    listeners = ListeningPorts(
        lambda: NETWORK, lambda: now, read=lambda: iter(sockets), ephemeral=lambda: (32768, 60999)
    )
    assert listeners.ports() == {(UDP, 40000)}  # it was there before us: nobody knows for how long
    sockets[:] = [
        BoundSocket(UDP, ip_address("0.0.0.0"), 51820, 2),
        BoundSocket(UDP, ip_address("0.0.0.0"), 61000, 3),
    ]
    now += 1
    assert listeners.ports() == {(UDP, 61000)}  # above the range nothing is ephemeral
    now += 29.9
    sockets.append(BoundSocket(UDP, ip_address("0.0.0.0"), 33000, 4))
    assert listeners.ports() == {(UDP, 61000)}
    now += 1
    assert listeners.ports() == {(UDP, 61000), (UDP, 51820)}
    sockets[0] = BoundSocket(UDP, ip_address("0.0.0.0"), 51820, 9)  # another socket on the same port
    now += 1
    assert listeners.ports() == {(UDP, 61000)}


def test_the_ports_are_read_once_a_second() -> None:
    times = iter((5.0, 5.9, 6.0, 6.9, 7.5))
    reads = 0

    def read() -> Iterator[BoundSocket]:
        nonlocal reads
        reads += 1
        return iter([BoundSocket(TCP, ip_address("::"), 22, 1)])

    listeners = ListeningPorts(lambda: NETWORK, lambda: next(times), read=read, ephemeral=lambda: (32768, 60999))
    for _ in range(5):
        assert listeners.ports() == {(TCP, 22)}
    assert reads == 3


def test_reading_stops_at_the_first_connection() -> None:
    def lines() -> Iterator[str]:
        yield HEAD
        yield line("0.0.0.0", 22, "0A")
        yield line("0.0.0.0", 23, "01")
        raise AssertionError("ten thousand connections were read")

    assert [bound.port for bound in parse_bound(lines(), TCP)] == [22]


@pytest.mark.parametrize("junk", ["\n", "garbage\n", "a b c d\n", "  0: ZZ 0A\n"])
def test_malformed_lines_are_skipped(junk: str) -> None:
    assert [b.port for b in parse_bound(iter([HEAD, junk, line("0.0.0.0", 500, "07")]), UDP)] == [500]


def test_this_machine_is_readable_and_a_real_listener_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        expected = {
            BoundSocket(TCP, ip_address("127.0.0.1"), server.getsockname()[1], os.fstat(server.fileno()).st_ino),
            BoundSocket(UDP, ip_address("127.0.0.1"), udp.getsockname()[1], os.fstat(udp.fileno()).st_ino),
        }
        assert expected <= set(find_bound())
        assert expected <= set(read_bound())


def test_a_kernel_without_inet_diag_is_read_from_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Iterator[BoundSocket]:
        raise FileNotFoundError
        yield

    monkeypatch.setattr(module, "ask_bound", missing)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert server.getsockname()[1] in {b.port for b in find_bound()}


def test_both_ways_of_reading_agree() -> None:
    with socket.create_server(("", 0)), socket.create_server(("::", 0), family=socket.AF_INET6):
        before = set(read_bound())
        bound = {b._replace(interface=0) for b in ask_bound()}
        after = set(read_bound())
    assert before & after <= bound <= before | after


def test_a_short_answer_of_the_kernel_is_ignored() -> None:
    assert parse_answer(bytes(71), TCP) is None


@pytest.mark.spec("SR-24")
@pytest.mark.parametrize(("interface", "counts"), [(0, True), (1, True), (2, False), (9, False)])
def test_a_socket_bound_to_another_interface_than_the_wan_does_not_count(interface: int, counts: bool) -> None:
    bound = BoundSocket(UDP, ip_address("0.0.0.0"), 67, 1, interface)
    listeners = ListeningPorts(lambda: NETWORK, lambda: 0.0, read=lambda: [bound], ephemeral=lambda: (32768, 60999))
    assert bool(listeners.ports()) is counts


def test_a_kernel_without_ipv6_and_without_a_readable_range(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(HEAD + line("0.0.0.0", 22, "0A"))
    assert [b.port for b in read_bound(tmp_path)] == [22]
    assert read_ephemeral(tmp_path / "none") == (32768, 60999)
    (tmp_path / "range").write_text("1024\t2048\n")
    assert read_ephemeral(tmp_path / "range") == (1024, 2048)
