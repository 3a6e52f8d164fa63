"""Broken and late answers with `answer`, as the page has it. ``catalogue`` has every fault."""

import asyncio
import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import IPv4Address
from urllib.parse import urlsplit

import pytest
from async_upnp_client.aiohttp import AiohttpRequester
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.exceptions import UpnpError
from async_upnp_client.profiles.igd import IgdDevice

from upnp_gw.testing import Emulator

READ = "GetExternalIPAddress"


@pytest.fixture
def igd() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


async def external_address(location: str, patience_s: int = 2) -> str | None:
    device = await UpnpFactory(AiohttpRequester(timeout=patience_s)).async_create_device(location)
    return await IgdDevice(device, None).async_get_external_ip_address()


def raw_answer(igd: Emulator, action: str = READ) -> bytes:
    """Every byte that comes before the connection ends. Raises ConnectionResetError."""
    url = urlsplit(igd.control_url("WANIPConnection"))
    urn = "urn:schemas-upnp-org:service:WANIPConnection:2"
    body = (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f'<u:{action} xmlns:u="{urn}"/></s:Body></s:Envelope>'
    )
    head = (
        f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n"
        f'Content-Type: text/xml\r\nSOAPACTION: "{urn}#{action}"\r\nContent-Length: {len(body)}\r\n\r\n'
    )
    assert url.hostname is not None
    with socket.create_connection((url.hostname, url.port or 80), timeout=5) as connection:
        connection.sendall((head + body).encode())
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def test_lengths_and_shapes(igd: Emulator) -> None:
    usual = raw_answer(igd).partition(b"\r\n\r\n")[2]
    igd.answer(READ, wire="byte-order-mark", times=1)
    assert raw_answer(igd).endswith(b"\r\n\r\n\xef\xbb\xbf" + usual)
    igd.answer(READ, wire="truncated-body", times=1)
    head, _, body = raw_answer(igd).partition(b"\r\n\r\n")
    assert body == usual[: len(usual) // 2]
    assert f"Content-Length: {len(usual)}".encode() in head
    igd.answer(READ, wire="short-content-length", times=1)
    head, _, body = raw_answer(igd).partition(b"\r\n\r\n")
    assert (body, f"Content-Length: {len(usual) // 2}\r\n".encode() in head) == (usual, True)
    igd.answer(READ, wire="other-prefixes", times=1)
    body = raw_answer(igd).partition(b"\r\n\r\n")[2]
    assert b"<SOAP-ENV:Body><m:GetExternalIPAddressResponse xmlns:m=" in body
    assert b"<s:" not in body
    igd.answer(READ, wire="other-prefixes", error=501, times=1)
    assert b"<faultcode>SOAP-ENV:Client</faultcode>" in raw_answer(igd)
    igd.answer(READ, wire="chunked", times=1)
    chunked = raw_answer(igd)
    assert b"Transfer-Encoding: chunked\r\n" in chunked
    assert b"Content-Length" not in chunked
    sizes = re.findall(rb"\r\n([0-9a-f]+)\r\n", b"\r\n" + chunked.partition(b"\r\n\r\n")[2])
    assert sum(int(size, 16) for size in sizes) == len(usual)
    assert chunked.endswith(b"\r\n0\r\n\r\n")


async def map_port(location: str) -> None:
    device = IgdDevice(await UpnpFactory(AiohttpRequester(timeout=2)).async_create_device(location), None)
    anyone, client = IPv4Address("0.0.0.0"), IPv4Address("127.0.0.1")
    await device.async_add_port_mapping(anyone, 8080, "TCP", 8080, client, True, "", timedelta(hours=1))


def test_a_change_is_not_made_where_the_rule_has_an_answer_of_its_own(igd: Emulator) -> None:
    igd.answer("AddPortMapping", values={}, wire="reset")
    with pytest.raises(UpnpError):
        asyncio.run(map_port(igd.location))
    assert not igd.mappings
    assert igd.requests.of("AddPortMapping").one().sent == b""


def test_silence_does_not_delay_the_stop() -> None:
    with Emulator() as igd:
        igd.answer(READ, wire="silent")
        with pytest.raises(UpnpError):
            asyncio.run(external_address(igd.location))
        began = time.monotonic()
    assert time.monotonic() - began < 3


def test_a_late_answer_comes_after_its_delay(igd: Emulator) -> None:
    igd.answer(READ, delay_s=0.3, times=1)
    began = time.monotonic()
    assert asyncio.run(external_address(igd.location)) == igd.external_address
    assert time.monotonic() - began >= 0.3
    igd.answer(READ, delay_s=0.3, error=501, times=1)
    with pytest.raises(UpnpError):
        asyncio.run(external_address(igd.location))


def test_silence_over_udp(igd: Emulator) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        with igd.answer("natpmp.address", wire="silent"):
            sock.sendto(b"\0\0", igd.pcp_address)
            with pytest.raises(TimeoutError):
                sock.recv(100)
        sock.settimeout(5)
        sock.sendto(b"\0\0", igd.pcp_address)
        assert sock.recv(100)[:2] == b"\0\x80"
    [silent, answered] = igd.requests.of("natpmp.address")
    assert (silent.sent, len(answered.sent)) == (b"", 12)


def test_mistakes_are_errors_at_once(igd: Emulator) -> None:
    with pytest.raises(
        ValueError, match="no wire fault 'rest' for GetExternalIPAddress; accepted: silent, reset, "
    ):
        igd.answer(READ, wire="rest")
    with pytest.raises(ValueError, match=r"no wire fault 'reset' for pcp\.map; accepted: silent"):
        igd.answer("pcp.map", wire="reset")
    with pytest.raises(ValueError, match="seconds must be 0 to 25"):
        igd.answer(READ, delay_s=26)
    assert urllib.request.urlopen(igd.location).status == 200
