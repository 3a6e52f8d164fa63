"""Callbacks at the real daemon, as a hostile host of the LAN writes them: no packet goes to anybody but itself."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import ROUTER, Home, served_home
from tests.lab.igd_control_point import exchange
from tests.lab.packets import TCP, Packet, captured
from upnp_gw.lab import Host
from upnp_gw.model.mapping import IPAddress

pytestmark = pytest.mark.lab

SYN, ACK = 0x02, 0x10
PORT = 49200
"""The port on which every possible target listens."""
REFUSED = {
    "another host of the LAN": "<http://{other}:49200/a>",
    "the gateway on the LAN": "<http://{gateway}:49200/a>",
    "the gateway on the WAN": "<http://{external}:49200/a>",
    "the gateway's loopback": "<http://127.0.0.1:49200/a>",
    "every address of the gateway": "<http://0.0.0.0:49200/a>",
    "a host of the internet": "<http://{peer}:49200/a>",
    "a multicast group": "<http://239.255.255.250:49200/a>",
    "the LAN's broadcast address": "<http://192.168.77.255:49200/a>",
    "everybody": "<http://255.255.255.255:49200/a>",
    "a name": "<http://localhost:49200/a>",
    "another host, v4-mapped": "<http://[::ffff:{other}]:49200/a>",
    "oneself, v4-mapped": "<http://[::ffff:{own}]:49200/a>",
    "another host over IPv6": "<http://[{other6}]:49200/a>",
    "oneself over IPv6, asked over IPv4": "<http://[{own6}]:49200/a>",
    "the gateway's loopback over IPv6": "<http://[::1]:49200/a>",
    "all nodes of the link": "<http://[ff02::1%25lan0]:49200/a>",
    "a number": "<http://3232255242:49200/a>",
    "octal": "<http://0300.0250.0115.012:49200/a>",
    "hexadecimal": "<http://0xc0a84d0a:49200/a>",
    "a short form": "<http://192.168.19722:49200/a>",
    "oneself as a user, another as host": "<http://{own}@{other}:49200/a>",
    "oneself with a password, another as host": "<http://{own}:49200@{other}:49200/a>",
    "another behind a fragment": "<http://{own}:49200#@{other}:49200/a>",
    "another behind a backslash": "<http://{own}:49200\\@{other}:49200/a>",
    "another behind a query": "<http://{own}:49200?@{other}:49200/a>",
    "port 80": "<http://{own}/a>",
    "port 22": "<http://{own}:22/a>",
    "a port that wraps to 22": "<http://{own}:65558/a>",
    "port 0": "<http://{own}:0/a>",
    "https": "<https://{own}:49200/a>",
    "another scheme": "<gopher://{own}:49200/a>",
    "no brackets": "http://{own}:49200/a",
    "two openings": "<<http://{other}:49200/a>",
    "an opening inside": "<http://{own}:49200/<http://{other}:49200/a>",
    "a space in the path": "<http://{own}:49200/a HTTP/1.1>",
    "an endless path": "<http://{own}:49200/" + "a" * 3000 + ">",
    "a thousand others": "<http://{other}:49200/a>" * 60,
}


@pytest.fixture(scope="module")
def home(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with served_home(tmp_path_factory.mktemp("d"), *ROUTER) as home:
        yield home


def filled(home: Home, callback: str) -> str:
    return callback.format(
        own=home.pc.address,
        own6=home.pc.address6,
        other=home.console.address,
        other6=home.console.address6,
        gateway=home.gateway.address,
        external=home.external,
        peer=home.peer.address,
    )


def subscribe(home: Home, callback: str) -> int:
    """The status of the answer to a SUBSCRIBE of the pc."""
    point = home.point("pc")
    head = (
        f"SUBSCRIBE {point.events['WANIPConnection']} HTTP/1.1",
        f"HOST: {point.gateway}:{point.port}",
        f"CALLBACK: {callback}",
        "NT: upnp:event",
        "TIMEOUT: Second-1800",
        "Connection: close",
    )
    request = "\r\n".join([*head, "", ""]).encode("latin-1")
    return exchange(home.pc, point.gateway, point.port, request).status


def called(packets: list[Packet]) -> set[tuple[IPAddress, int]]:
    """The addresses and ports to which the gateway began a TCP connection."""
    return {
        (packet.target, packet.ports[1])
        for packet in packets
        if packet.outgoing and packet.protocol == TCP and packet.payload[13] & (SYN | ACK) == SYN
    }


def listening(host: Host) -> socket.socket:
    with host.inside():
        made = socket.create_server(("", PORT))
    made.settimeout(5)
    return made


@pytest.mark.spec("SR-8", "IGD-189", "IGD-190")
def test_no_callback_reaches_another_host(home: Home) -> None:
    with captured(home.gateway) as seen:
        for name, callback in REFUSED.items():
            assert (name, subscribe(home, filled(home, callback))) == (name, 412)
        home.point("pc").add(8080)  # an event for whoever has a subscription
        with closing(listening(home.pc)) as own:
            url = f"<http://{home.pc.address}:{PORT}/a>"
            mixed = filled(home, "<http://{other}:49200/a><http://{peer}:49200/a>") + url
            assert subscribe(home, mixed) == 200
            taken, _ = own.accept()
            with taken:
                assert taken.recv(2048).startswith(b"NOTIFY /a HTTP/1.1\r\n")
                taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            home.point("pc").delete(8080)
            own.accept()[0].close()
    assert called(seen.packets) == {(home.pc.address, PORT)}


@pytest.mark.spec("SR-8")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(home: Home, status: int) -> None:
    with captured(home.gateway) as seen, closing(listening(home.pc)) as own:
        assert subscribe(home, f"<http://{home.pc.address}:{PORT}/a>") == 200
        taken, _ = own.accept()
        with taken:
            taken.recv(2048)
            where = f"http://{home.console.address}:{PORT}/a"
            taken.sendall(f"HTTP/1.1 {status} Moved\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())
            assert taken.recv(2048).partition(b"\r\n\r\n")[2] == b"" or until(lambda: taken.recv(2048) == b"")
        home.point().external_address()  # the gateway has done something else since
    assert called(seen.packets) == {(home.pc.address, PORT)}
