"""Raw bytes in, raw bytes out over loopback, and the server under test with a fake gateway behind it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from lxml import etree

from tests.fake_gateway import LOOPBACK, ROOT, TOKEN, FakeGateway, served_documents, service_models
from upnp_gw.network import Network
from upnp_gw.protocols.description import udns
from upnp_gw.protocols.faces import Face, Service, control_path, event_path, service_of
from upnp_gw.protocols.gena import EventAnswer
from upnp_gw.request import Source
from upnp_gw.servers.http import HttpServer
from upnp_gw.servers.http_limits import HttpLimits

SERVER = "Linux/6.1 UPnP/1.1 upnp-gw/0.1.0"
ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"


@dataclass
class FakeEventing:
    """Grants everything; remembers in which order it was called."""

    calls: list[str] = field(default_factory=list)

    def serve(
        self, method: str, face: Face, service: Service, headers: Mapping[str, str], source: Source
    ) -> EventAnswer:
        self.calls.append(f"{method} {face.value} {service.name} {source.address}")
        if method == "UNSUBSCRIBE" or "SID" in headers:
            return EventAnswer(200)
        return EventAnswer(200, {"SID": "uuid:1", "TIMEOUT": "Second-1800"}, sid="uuid:1")

    def delivered(self, sid: str) -> None:
        self.calls.append(f"delivered {sid}")


@dataclass
class World:
    server: HttpServer
    gateway: FakeGateway
    eventing: FakeEventing
    port: int
    network: Network

    async def send(self, data: bytes, host: str = "127.0.0.1", source: str | None = None) -> bytes:
        """Everything the server sends to these bytes until it closes, or has answered one request."""
        reader, writer = await self.connect(host, source)
        try:
            writer.write(data)
            return await answer(reader)
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async def connect(
        self, host: str = "127.0.0.1", source: str | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        local = (source, 0) if source else None
        return await asyncio.open_connection(host, self.port, local_addr=local)

    def head(self, line: str, *headers: str, version: str = "1.1", host: str | None = None) -> bytes:
        host = f"127.0.0.1:{self.port}" if host is None else host
        lines = [f"{line} HTTP/{version}", *([f"Host: {host}"] if host else []), *headers, "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def post(
        self,
        action: str = "GetExternalIPAddress",
        arguments: str = "",
        *headers: str,
        face: Face = Face.IGD2,
        urn: str = "",
    ) -> bytes:
        """A POST to WANIPConnection of the face."""
        urn = urn or connection(face).urn
        body = (
            f'<?xml version="1.0"?><s:Envelope xmlns:s="{ENVELOPE}"><s:Body><u:{action} xmlns:u="{urn}">'
            f"{arguments}</u:{action}></s:Body></s:Envelope>"
        ).encode()
        return (
            self.head(
                f"POST {control_path(TOKEN, face, connection(face))}",
                f"Content-Length: {len(body)}",
                'Content-Type: text/xml; charset="utf-8"',
                f'SOAPACTION: "{urn}#{action}"',
                *headers,
            )
            + body
        )


def connection(face: Face) -> Service:
    service = service_of(face, "WANIPConnection")
    assert service is not None
    return service


CONTROL = control_path(TOKEN, Face.IGD2, connection(Face.IGD2))
EVENTS = event_path(TOKEN, Face.IGD2, connection(Face.IGD2))


@asynccontextmanager
async def serving(limits: HttpLimits | None = None, network: Network = LOOPBACK) -> AsyncIterator[World]:
    gateway, eventing = FakeGateway(), FakeEventing()
    current = network
    server = HttpServer(
        documents=served_documents(),
        token=TOKEN,
        udns={face: udns(ROOT, face) for face in Face},
        models=service_models(),
        view=gateway,
        handle=gateway.handle,
        eventing=eventing,
        network=lambda: world.network,
        now=lambda: gateway.now,
        server=SERVER,
        limits=limits,
    )
    world = World(server, gateway, eventing, 0, current)
    world.port = await server.start(network, 0)
    try:
        yield world
    finally:
        await server.stop()


async def answer(reader: asyncio.StreamReader, head_only: bool = False) -> bytes:
    """One HTTP answer, interim ones among it; what came until then where the connection ends."""
    received = b""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            received += head
            if status_of(head) >= 200:
                break
        if not head_only:
            received += await reader.readexactly(int(header(head, "Content-Length") or "0"))
    except asyncio.IncompleteReadError as error:
        return received + error.partial
    except ConnectionResetError:
        pass
    return received


def status_of(data: bytes) -> int:
    """The status of the first answer in these bytes, 0 where there is none."""
    return int(data[9:12]) if data.startswith(b"HTTP/1.") else 0


def header(data: bytes, name: str) -> str | None:
    for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.decode().lower() == name.lower():
            return value.decode().strip()
    return None


def body_of(data: bytes) -> bytes:
    return data.partition(b"\r\n\r\n")[2]


def fault_code(data: bytes) -> int | None:
    code = etree.fromstring(body_of(data)).findtext(".//{urn:schemas-upnp-org:control-1-0}errorCode")
    return int(code) if code else None
