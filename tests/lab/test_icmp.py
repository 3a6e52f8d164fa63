"""ICMP around mappings: the errors that a peer gets for a mapped port, and those that reach a LAN host."""

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.lab.end_to_end import ROUTER, Home, served_home
from upnp_gw.lab import Host

pytestmark = pytest.mark.lab

PORT = 8080
ANSWER_S, SILENCE_S = 5.0, 0.4
DONT_FRAGMENT = 2
UNREACHABLE, PORT_UNREACHABLE, FRAGMENTATION_NEEDED = 3, 3, 4


@contextmanager
def sockets(host: Host) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A raw socket for ICMP and a UDP socket that does not fragment."""
    with ExitStack() as stack:
        with host.inside():
            icmp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.setsockopt(socket.IPPROTO_IP, 10, DONT_FRAGMENT)  # IP_MTU_DISCOVER
        yield icmp, udp


def icmp_error(home: Home, size: int, wait_s: float = ANSWER_S) -> tuple[str, int, int, str, int] | None:
    """A datagram to the mapped port; the ICMP error that comes back: its sender, type and code, and the destination
    and port in the packet that it quotes. None: silence."""
    with sockets(home.peer) as (icmp, udp):
        icmp.settimeout(wait_s)
        udp.sendto(bytes(size), (str(home.external), PORT))
        try:
            data, (sender, _) = icmp.recvfrom(2000)
        except TimeoutError:
            return None
        kind, code, quoted = data[20], data[21], data[28:]
        return sender, kind, code, socket.inet_ntoa(quoted[16:20]), int.from_bytes(quoted[22:24], "big")


def error(kind: int, code: int, source: bytes, target: bytes) -> bytes:
    """An ICMP error about a UDP datagram that was never sent."""
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 48, 1, 0, 64, 17, 0, source, target)
    body = header + struct.pack("!HHHH", PORT, 9999, 28, 0)
    words = struct.unpack("!18H", struct.pack("!BBHI", kind, code, 0, 0) + body)
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBHI", kind, code, ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF, 0) + body


def test_icmp_errors_pass_with_external_addresses_and_open_nothing(namespaces: None, tmp_path: Path) -> None:
    """A LAN address is shown to nobody, an error about no flow reaches nobody."""
    with served_home(tmp_path, *ROUTER) as home:
        external = str(home.external)
        home.point().add(PORT, NewProtocol="UDP")
        assert icmp_error(home, 20) == (external, UNREACHABLE, PORT_UNREACHABLE, external, PORT), (
            "nobody listens there"
        )
        home.gateway.ip("link set lan0 mtu 1300")
        assert icmp_error(home, 1400) == (external, UNREACHABLE, FRAGMENTATION_NEEDED, external, PORT)
        home.gateway.ip("link set lan0 mtu 1500")
        home.clear()
        assert icmp_error(home, 20, SILENCE_S) is None, "the mapping is gone"

        target = home.console.address
        home.lab.internet.ip(f"route add {home.lab.topology.lans[0].network} via {home.external}")
        with sockets(home.lab.internet) as (outside, _), sockets(home.console) as (inside, probe):
            for kind, code in ((3, 3), (3, 4), (4, 0), (5, 1), (11, 0), (12, 0), (8, 0), (13, 0)):
                outside.sendto(error(kind, code, target.packed, home.peer.address.packed), (str(target), 0))
            outside.sendto(error(8, 0, b"1234", b"5678"), (external, 0))  # the gateway answers this one
            outside.settimeout(ANSWER_S)
            while outside.recvfrom(2000)[0][20] != 0:
                pass
            probe.sendto(b"?", (str(target), 9))  # the console itself answers, after all that came before
            inside.settimeout(ANSWER_S)
            data, (sender, _) = inside.recvfrom(2000)
            assert (sender, data[20]) == (str(target), UNREACHABLE)
