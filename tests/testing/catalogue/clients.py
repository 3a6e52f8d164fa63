"""Clients of the catalogue's cases: async-upnp-client, and bytes over sockets."""

import asyncio
import http.client
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address
from typing import Any
from urllib.parse import urlsplit

import pytest
from async_upnp_client.aiohttp import AiohttpNotifyServer, AiohttpRequester
from async_upnp_client.client import UpnpService, UpnpStateVariable
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.exceptions import UpnpActionError, UpnpError
from async_upnp_client.profiles.igd import IgdDevice

from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp import codec as pcp
from upnp_gw.protocols.pcp.messages import MapData, Request, Response
from upnp_gw.testing import Emulator

CLIENT = "127.0.0.1"
NONCE = b"twelve bytes"


class ControlPoint:
    """async-upnp-client, at a router that it has read the descriptions of."""

    def __init__(self, services: Sequence[UpnpService]) -> None:
        self.services = services

    @classmethod
    async def at(cls, location: str, *, patience_s: float = 2) -> "ControlPoint":
        """Raises UpnpError."""
        requester = AiohttpRequester(timeout=patience_s)  # type: ignore[arg-type]  # parts of a second work, too
        device = await UpnpFactory(requester).async_create_device(location)
        return cls(tuple(device.all_services))

    def with_action(self, action: str) -> list[UpnpService]:
        return [service for service in self.services if service.has_action(action)]

    async def call(self, action: str, **arguments: Any) -> dict[str, Any]:
        """Calls the action of the service that has it. Raises UpnpError."""
        called = self.with_action(action)[0].action(action)
        return dict(await called.async_call(**arguments))

    async def add(self, external: int, internal: int | None = None, lease_s: int = 3600, **changed: Any) -> None:
        """AddPortMapping. Raises UpnpError."""
        await self.call("AddPortMapping", **self._mapping(external, internal or external, lease_s) | changed)

    async def add_any(self, external: int) -> dict[str, Any]:
        """AddAnyPortMapping. Raises UpnpError."""
        return await self.call("AddAnyPortMapping", **self._mapping(external, external, 3600))

    def _mapping(self, external: int, internal: int, lease_s: int) -> dict[str, Any]:
        return {
            "NewRemoteHost": "",
            "NewExternalPort": external,
            "NewProtocol": "TCP",
            "NewInternalPort": internal,
            "NewInternalClient": CLIENT,
            "NewEnabled": True,
            "NewPortMappingDescription": "catalogue",
            "NewLeaseDuration": lease_s,
        }

    async def delete(self, external: int) -> None:
        """DeletePortMapping. Raises UpnpError."""
        await self.call("DeletePortMapping", NewRemoteHost="", NewExternalPort=external, NewProtocol="TCP")

    async def entry(self, external: int) -> dict[str, Any]:
        """GetSpecificPortMappingEntry. Raises UpnpError."""
        named: dict[str, Any] = {"NewRemoteHost": "", "NewExternalPort": external, "NewProtocol": "TCP"}
        return await self.call("GetSpecificPortMappingEntry", **named)

    async def listed(self) -> list[int]:
        """The external ports of the list, in its order."""
        ports: list[int] = []
        with suppress(UpnpActionError):
            while True:
                found = await self.call("GetGenericPortMappingEntry", NewPortMappingIndex=len(ports))
                ports.append(found["NewExternalPort"])
        return ports

    async def external_address(self) -> str:
        return str((await self.call("GetExternalIPAddress"))["NewExternalIPAddress"])

    async def status(self) -> str:
        return str((await self.call("GetStatusInfo"))["NewConnectionStatus"])


async def code_of(refused: Any) -> int:
    """The error code that the client gets."""
    with pytest.raises(UpnpActionError) as error:
        await refused
    code = error.value.error_code
    assert code is not None
    return code


async def fails(call: Any) -> bool:
    """True if the client gives up."""
    try:
        await call
    except UpnpError:
        return True
    return False


async def get(url: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body. Raises OSError, HTTPException."""

    def ask() -> tuple[int, bytes]:
        where = urlsplit(url)
        connection = http.client.HTTPConnection(where.netloc, timeout=3)
        try:
            connection.request(method, where.path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


async def raw(igd: Emulator, action: str = "GetExternalIPAddress", version: int = 2, path: str = "") -> bytes:
    """Every byte of the answer to an action without arguments, until the connection ends. Raises OSError."""
    urn = f"urn:schemas-upnp-org:service:WANIPConnection:{version}"
    body = (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f'<u:{action} xmlns:u="{urn}"/></s:Body></s:Envelope>'
    )
    url = igd.control_url("WANIPConnection", version)
    url = f"http://{urlsplit(url).netloc}{path}" if path else url
    return await exchange(url, "POST", f'Content-Type: text/xml\r\nSOAPACTION: "{urn}#{action}"', body)


async def exchange(url: str, method: str = "GET", fields: str = "", body: str = "") -> bytes:
    """Every byte of the answer, until the connection ends. Raises OSError."""
    where = urlsplit(url)
    lines = [f"{method} {where.path} HTTP/1.1", f"Host: {where.netloc}", "Connection: close"]
    lines += [*filter(None, [fields]), f"Content-Length: {len(body)}", "", body]

    def ask() -> bytes:
        with socket.create_connection((where.hostname or "", where.port or 80), timeout=3) as connection:
            connection.sendall("\r\n".join(lines).encode())
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
            return received

    return await asyncio.to_thread(ask)


async def datagrams(to: tuple[str, int], data: bytes, wait_s: float = 5, most: int = 1) -> list[bytes]:
    """The answers that come in this time, at most so many."""

    def ask() -> list[bytes]:
        answers: list[bytes] = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(wait_s)
            sock.sendto(data, to)
            with suppress(TimeoutError):
                while len(answers) < most:
                    answers.append(sock.recv(2048))
        return answers

    return await asyncio.to_thread(ask)


async def search(
    igd: Emulator, target: str = "upnp:rootdevice", wait_s: float = 5, most: int = 1
) -> list[dict[str, str]]:
    """The answers to a search at the emulator's address: field, in capital letters -> value."""
    lines = [
        "M-SEARCH * HTTP/1.1",
        f"HOST: {igd.gateway_address}:1900",
        'MAN: "ssdp:discover"',
        f"ST: {target}",
        "",
        "",
    ]
    answers = await datagrams(igd.search_address, "\r\n".join(lines).encode(), wait_s, most)
    return [fields_of(answer) for answer in answers]


def fields_of(message: bytes) -> dict[str, str]:
    lines = message.decode().split("\r\n")[1:]
    return {name.upper(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}


async def natpmp_answer(igd: Emulator, internal: int | None = None, external: int = 0) -> bytes:
    """To a mapping request for TCP and an hour; None: to a request for the external address."""
    request = natpmp.AddressRequest() if internal is None else natpmp.MappingRequest(TCP, internal, external, 3600)
    [answer] = await datagrams(igd.pcp_address, natpmp.build_request(request))
    return answer


async def pcp_bytes(
    igd: Emulator, internal: int, external: int = 0, lifetime_s: int = 3600, nonce: bytes = NONCE
) -> bytes:
    """The answer to a PCP MAP request for TCP."""
    data = MapData(nonce, 6, internal, external, IPv4Address(0))
    [answer] = await datagrams(igd.pcp_address, pcp.build_request(Request(lifetime_s, IPv4Address(CLIENT), data)))
    return answer


async def pcp_answer(igd: Emulator, internal: int, external: int = 0, lifetime_s: int = 3600) -> Response:
    return pcp.parse_response(await pcp_bytes(igd, internal, external, lifetime_s))


TCP = natpmp.TRANSPORTS[2]


class Subscriber:
    """async-upnp-client's subscriber of WANIPConnection."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        """The external addresses that events brought, in the order of their arrival."""

    def on_event(self, service: UpnpService, variables: Sequence[UpnpStateVariable[object]]) -> None:
        self.addresses += [str(v.value) for v in variables if v.name == "ExternalIPAddress"]


@asynccontextmanager
async def subscribed(igd: Emulator) -> AsyncIterator[Subscriber]:
    requester, subscriber = AiohttpRequester(), Subscriber()
    server = AiohttpNotifyServer(requester, source=("127.0.0.1", 0))
    await server.async_start_server()
    try:
        device = await UpnpFactory(requester).async_create_device(igd.location)
        found = IgdDevice(device, server.event_handler)
        found.on_event = subscriber.on_event
        await found.async_subscribe_services()
        yield subscriber
    finally:
        await server.async_stop_server()
