"""Somebody on the internet with a web server and a name server, and a gateway that carries out whatever it is sent.

What a page can do is seen at the careless gateway; what it gets done at ours is what the browser tests look at.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

from upnp_gw.lab import Host

PAGES = Path(__file__).parent / "pages"
OWN = 299
"""The status by which a page knows the attacker's own server."""
TYPE_A, IN = 1, 1


class Site:
    """The attacker's web server on one port of its host: ``pages``, ``/hop`` (307 to ``hop``), ``/report``."""

    def __init__(self, host: Host, port: int, pages: dict[str, bytes], hop: str = "") -> None:
        self.reports: list[str] = []
        self.alive: list[str] = []
        self._reported = threading.Condition()
        self._links: set[socket.socket] = set()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                site._links.add(self.connection)

            def do_GET(self) -> None:
                page = pages.get(self.path)
                self.respond(200 if page is not None else 404, page or b"")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                if self.path == "/hop":
                    self.respond(307, b"", ("Location", hop))
                elif self.path in ("/report", "/alive"):
                    with site._reported:
                        (site.reports if self.path == "/report" else site.alive).append(body)
                        site._reported.notify_all()
                    self.respond(204, b"")
                else:
                    self.respond(OWN, b"the attacker's own server")

            def respond(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
                self.send_response(status, "-")
                kind = ("Content-Type", "text/html; charset=utf-8")
                for name, value in (kind, ("Content-Length", str(len(body))), *headers):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = _serve(host, port, Handler)

    def wait(self, which: Callable[["Site"], list[str]], timeout: float) -> str:
        """The first report of this kind, come or to come."""
        with self._reported:
            came = self._reported.wait_for(lambda: bool(which(self)), timeout)
            assert came, f"the page reported nothing; alive: {self.alive[-3:]}"
            return which(self)[0]

    def close(self) -> None:
        """Nobody listens any more, and every connection ends: the browser has to find the name's address anew."""
        self._server.shutdown()
        self._server.server_close()
        for link in self._links:
            link.close()


class Careless:
    """A gateway that carries out whatever a POST holds; ``carried_out`` are the bodies with an AddPortMapping."""

    def __init__(self, host: Host, port: int) -> None:
        self.carried_out: list[str] = []
        careless = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                if "AddPortMapping" in body:
                    careless.carried_out.append(body)
                self.do_GET()

            def log_message(self, *_: object) -> None: ...

        self._server = _serve(host, port, Handler)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _serve(host: Host, port: int, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("", port), handler, bind_and_activate=False)
    server.socket.close()
    with host.inside():
        server.socket = socket.create_server(("", port), backlog=64)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


class NameServer:
    """Answers for ``names`` with their present address, for no time; of other types there are none."""

    def __init__(self, host: Host, names: dict[str, IPv4Address]) -> None:
        self.names = names
        self.asked: list[str] = []
        with host.inside():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.bind(("", 53))
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                question, peer = self._socket.recvfrom(512)
            except OSError:
                return
            self._socket.sendto(self._answer(question), peer)

    def _answer(self, question: bytes) -> bytes:
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        name, kind = ".".join(labels).lower(), int.from_bytes(question[at + 1 : at + 3])
        self.asked.append(name)
        address = self.names.get(name) if kind == TYPE_A else None
        known = 0 if name in self.names else 3
        head = question[:2] + bytes((0x85, 0x80 | known)) + bytes((0, 1, 0, int(address is not None), 0, 0, 0, 0))
        record = b""
        if address is not None:
            record = b"\xc0\x0c" + bytes((0, TYPE_A, 0, IN, 0, 0, 0, 0, 0, 4)) + address.packed
        return head + question[12 : at + 5] + record


def page(name: str, **values: object) -> bytes:
    """A page with these values in it, as JavaScript."""
    text = (PAGES / name).read_text("utf-8")
    for key, value in values.items():
        text = text.replace("{{" + key + "}}", json.dumps(value).replace("</", "<\\/"))
    assert "{{" not in text
    return text.encode()


@contextmanager
def closing_all(*closed: Site | Careless | NameServer) -> Iterator[None]:
    try:
        yield
    finally:
        for each in closed:
            each.close()
