"""A control point that sends exactly the bytes of a test, one connection for each action; and a subscriber."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from html import unescape
from ipaddress import IPv4Address
from typing import Self
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import pytest
from lxml import etree

from tests.fixtures.waiting import EVENT_S
from upnp_gw.lab import Host
from upnp_gw.model.mapping import Transport
from upnp_gw.protocols.igd_services import IgdVersion, service_of

ANSWER_S = 10.0

Change = dict[str, str]


class Fault(Exception):
    """A SOAP fault."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def exchange(host: Host, address: IPv4Address, port: int, request: bytes, timeout: float = ANSWER_S) -> Answer:
    """Sends bytes from a host of the lab and reads the answer to the end of the connection."""
    with host.inside():
        link = socket.create_connection((str(address), port), timeout)
    with link:
        link.sendall(request)
        return read_answer(link)


def read_answer(link: socket.socket) -> Answer:
    """One answer with a Content-Length, or up to the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(link)
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    while len(body) < int(headers.get("content-length", 0)):
        body += _more(link)
    return Answer(int(line.split()[1]), headers, body)


def _more(link: socket.socket) -> bytes:
    chunk = link.recv(65536)
    if not chunk:
        raise ConnectionResetError("the gateway closed the connection before its answer was whole")
    return chunk


class ControlPoint:
    """A control point in a host that has read one description of the gateway."""

    def __init__(
        self, host: Host, gateway: IPv4Address, igd_version: IgdVersion = IgdVersion.IGD1, port: int = 5000
    ) -> None:
        self.host = host
        self.gateway = gateway
        self.igd_version = igd_version
        self.port = port
        self.description = self.get(f"/{igd_version.value}.xml").body.decode()
        self.control = self._urls("controlURL")
        self.events = self._urls("eventSubURL")
        self.udns = re.findall(r"<UDN>([^<]*)</UDN>", self.description)

    def _urls(self, element: str) -> dict[str, str]:
        found = re.findall(rf"<serviceType>([^<]*):\d</serviceType>.*?<{element}>([^<]*)<", self.description, re.S)
        return {kind.rpartition(":")[2]: urlsplit(url).path for kind, url in found}

    def get(self, path: str) -> Answer:
        request = f"GET {path} HTTP/1.1\r\nHost: {self.gateway}:{self.port}\r\nConnection: close\r\n\r\n"
        return exchange(self.host, self.gateway, self.port, request.encode())

    def call(self, action: str, service: str = "WANIPConnection", /, **arguments: object) -> dict[str, str]:
        """Carries out an action; the answer's arguments by name. Raises Fault."""
        answer = self.post(action, service, **arguments)
        body = etree.fromstring(answer.body)
        names = {etree.QName(element).localname: element.text or "" for element in body.iter("{*}*")}
        if answer.status != 200:
            raise Fault(int(names["errorCode"]), names["errorDescription"])
        response = next(body.iter("{*}" + action + "Response"))
        return {etree.QName(element).localname: element.text or "" for element in response}

    def post(self, action: str, service: str = "WANIPConnection", /, **arguments: object) -> Answer:
        known = service_of(self.igd_version, service)
        assert known is not None
        inner = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in arguments.items())
        body = (
            '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
            ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
            f'<u:{action} xmlns:u="{known.urn}">{inner}</u:{action}></s:Body></s:Envelope>'
        ).encode()
        head = (
            f"POST {self.control[service]} HTTP/1.1\r\nHost: {self.gateway}:{self.port}\r\n"
            f'Content-Type: text/xml; charset="utf-8"\r\nSOAPACTION: "{known.urn}#{action}"\r\n'
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return exchange(self.host, self.gateway, self.port, head.encode() + body)

    # -- the actions that tests call most

    def add(
        self, port: int, transport: Transport = Transport.TCP, *, action: str = "AddPortMapping", **changed: object
    ) -> dict[str, str]:
        """Maps a port of this host to itself. ``changed``: other values, by the names of the standard."""
        values: dict[str, object] = {
            "NewRemoteHost": "",
            "NewExternalPort": port,
            "NewProtocol": transport.value.upper(),
            "NewInternalPort": port,
            "NewInternalClient": self.host.address,
            "NewEnabled": 1,
            "NewPortMappingDescription": "test",
            "NewLeaseDuration": 3600,
        }
        return self.call(action, **(values | changed))

    def add_any(self, port: int, transport: Transport = Transport.TCP, **changed: object) -> int:
        return int(self.add(port, transport, action="AddAnyPortMapping", **changed)["NewReservedPort"])

    def delete(self, port: int, transport: Transport = Transport.TCP, remote: str = "") -> None:
        self.call("DeletePortMapping", **_key(port, transport, remote))

    def specific(self, port: int, transport: Transport = Transport.TCP, remote: str = "") -> dict[str, str]:
        return self.call("GetSpecificPortMappingEntry", **_key(port, transport, remote))

    def generic(self, index: object) -> dict[str, str]:
        return self.call("GetGenericPortMappingEntry", NewPortMappingIndex=index)

    def external_address(self) -> str:
        return self.call("GetExternalIPAddress")["NewExternalIPAddress"]


def _key(port: int, transport: Transport, remote: str) -> dict[str, object]:
    return {"NewRemoteHost": remote, "NewExternalPort": port, "NewProtocol": transport.value.upper()}


class Subscriber:
    """A subscription, and the messages that came, in order: ``(SEQ, variables)``."""

    def __init__(self, point: ControlPoint, service: str = "WANIPConnection") -> None:
        self.messages: list[tuple[int, Change]] = []
        self._arrived = threading.Condition()
        with point.host.inside():
            self._listener = socket.create_server(("", 0))
        port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._taken = 0
        self._point, self._path = point, point.events[service]
        self.answer = self.send(
            "SUBSCRIBE",
            f"CALLBACK: <http://{point.host.address}:{port}/events>",
            "NT: upnp:event",
            "TIMEOUT: Second-1800",
        )
        self.sid = self.answer.headers.get("sid", "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def send(self, method: str, *fields: str) -> Answer:
        point = self._point
        head = [f"{method} {self._path} HTTP/1.1", f"HOST: {point.gateway}:{point.port}", *fields]
        request = "\r\n".join([*head, "Connection: close", "", ""]).encode()
        return exchange(point.host, point.gateway, point.port, request)

    def next(self, timeout: float = EVENT_S) -> Change:
        """The variables of the message after those already taken; SEQ must follow on."""
        with self._arrived:
            before = self._taken
            assert self._arrived.wait_for(lambda: len(self.messages) > before, timeout), "no event came"
            seq, change = self.messages[before]
            assert seq == before, f"SEQ {seq} is message {before}"
            self._taken = before + 1
            return change

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            with closing(link):
                self._take(link)

    def _take(self, link: socket.socket) -> None:
        data = b""
        while b"</e:propertyset>" not in data and (chunk := link.recv(65536)):
            data += chunk
        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        text = data.decode()
        (seq,) = re.findall(r"(?mi)^SEQ:\s*(\d+)", text)
        found = re.findall(r"<e:property>\s*<(\w+)>([^<]*)</\1>\s*</e:property>", text)
        with self._arrived:
            self.messages.append((int(seq), {name: unescape(value) for name, value in found}))
            self._arrived.notify_all()


@contextmanager
def refused(*codes: int) -> Iterator[None]:
    """The block's action must be answered with one of these error codes."""
    with pytest.raises(Fault) as caught:
        yield
    assert caught.value.code in codes, f"expected {codes}, got {caught.value}"
