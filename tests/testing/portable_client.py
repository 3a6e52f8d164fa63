"""A test of a client that uses the whole fixture. ``test_portability`` runs it in a process of its own."""

import asyncio
import http.client
import http.server
import socket
import struct
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:2"
NONCE = b"twelve bytes"


@pytest.mark.igd(multicast=True)
def test_a_client(igd) -> None:  # type: ignore[no-untyped-def]
    assert b"InternetGatewayDevice:2" in urllib.request.urlopen(igd.location, timeout=5).read()
    with subscriber(igd.control_url("WANIPConnection").replace("control", "event")) as events:
        assert events()
        add_port_mapping(igd.control_url("WANIPConnection"), 8080)
        assert "PortMappingNumberOfEntries" in events()
    natpmp = datagram(igd.pcp_address, struct.pack("!BBHHHI", 0, 2, 0, 7000, 7000, 600))
    assert struct.unpack("!BBH", natpmp[:4]) == (0, 130, 0)
    client = bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 1])
    head = struct.pack("!BBHI16s", 2, 1, 0, 1200, client)
    pcp = datagram(igd.pcp_address, head + struct.pack("!12sB3xHH16s", NONCE, 6, 7001, 7001, bytes(16)))
    assert pcp[:4] == bytes([2, 129, 0, 0])
    assert [held.internal_port for held in igd.mappings] == [7000, 7001, 8080]
    assert igd.requests.of("natpmp.map").one().sent == natpmp
    search = (
        "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"
        'MAN: "ssdp:discover"\r\nMX: 1\r\nST: upnp:rootdevice\r\n\r\n'
    )
    assert igd.location.rpartition("/")[0].encode() in datagram(igd.search_address, search.encode())
    igd.advance(minutes=15)
    assert [held.internal_port for held in igd.mappings] == [7001, 8080]
    before = igd.location, igd.pcp_address, igd.search_address
    igd.reboot(keep_mappings=True)
    assert (igd.location, igd.pcp_address, igd.search_address) == before
    igd.advance(hours=1)
    assert not igd.mappings
    igd.reboot()
    igd.change_wan(external_address="")
    assert not igd.external_address
    igd.reset()
    igd.personality("v1-only")
    igd.fault("error", "AddPortMapping", code=718, times=1)
    with pytest.raises(urllib.error.HTTPError):
        add_port_mapping(igd.control_url("WANIPConnection", version=1), 8080)
    assert igd.requests.of("AddPortMapping").one().error == 718


def test_an_asynchronous_client() -> None:
    """On the event loop of the test."""

    async def main() -> None:
        from upnp_gw.testing import Emulator

        async with Emulator() as igd:
            url = igd.control_url("WANIPConnection")
            await asyncio.to_thread(add_port_mapping, url, 8080)
            await igd.advance(minutes=59)
            assert igd.mappings.one(internal_port=8080)
            await igd.advance(minutes=1)
            assert not igd.mappings

    asyncio.run(main())


def add_port_mapping(url: str, port: int) -> None:
    arguments = {
        "NewRemoteHost": "",
        "NewExternalPort": port,
        "NewProtocol": "TCP",
        "NewInternalPort": port,
        "NewInternalClient": "127.0.0.1",
        "NewEnabled": 1,
        "NewPortMappingDescription": "portable",
        "NewLeaseDuration": 3600,
    }
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in arguments.items())
    body = (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f'<u:AddPortMapping xmlns:u="{SERVICE}">{inner}</u:AddPortMapping></s:Body></s:Envelope>'
    )
    headers = {"SOAPAction": f'"{SERVICE}#AddPortMapping"', "Content-Type": "text/xml"}
    urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers), timeout=5).read()


def datagram(to: tuple[str, int], data: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(data, to)
        return sock.recv(2048)


@contextmanager
def subscriber(url):  # type: ignore[no-untyped-def]
    """Subscribes to events. Gives a function that waits for the next body."""
    bodies, came = [], threading.Semaphore(0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_NOTIFY(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            came.release()

        def log_message(self, *_: object) -> None:
            pass

    def next_body() -> str:
        assert came.acquire(timeout=5), "no event came"
        return bodies.pop(0)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        place = urlsplit(url)
        connection = http.client.HTTPConnection(place.netloc, timeout=5)
        callback = f"<http://127.0.0.1:{server.server_address[1]}/>"
        connection.request("SUBSCRIBE", place.path, headers={"CALLBACK": callback, "NT": "upnp:event"})
        assert connection.getresponse().status == 200
        try:
            yield next_body
        finally:
            connection.close()
            server.shutdown()
            thread.join()
