"""Proofs by packets: whether a packet reaches a host of the lab, from which address, or how it was refused.

An ``EchoServer`` listens in one host, and ``reach`` sends a random token from another. The answer has the token,
the name of the server's host, and the source address and port that it saw. So a proof also shows which host
answered.
"""

import errno
import secrets
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from upnp_gw.lab.host import Host
from upnp_gw.model.mapping import Endpoint, IPAddress, Transport

ANSWER_S = 5.0
"""Seconds for an answer that is expected. Inside a lab it takes less than 10 ms, on a busy machine now and then a
second."""
REFUSED_S = 0.5
"""Seconds without an answer that count as a drop, where a drop is expected."""

HOW = {
    errno.ECONNREFUSED: "reset",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EACCES: "unreachable",
    errno.EPERM: "blocked at the client",
}
"""errno -> ``Proof.how``. For UDP a port unreachable is ECONNREFUSED, so it is ``reset`` too."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The outcome of one probe."""

    arrived: bool
    """The server received the token and its answer came back."""
    how: str
    """``echoed``; else ``timeout``, ``reset``, ``unreachable``, ``closed`` or ``blocked at the client``."""
    answered_by: str = ""
    """The name of the host that answered."""
    seen_from: IPAddress | None = None
    """The source address that the server saw."""
    seen_port: int = 0

    def __bool__(self) -> bool:
        return self.arrived


def reach(
    client: Host,
    transport: Transport,
    address: IPAddress,
    port: int,
    *,
    timeout: float = ANSWER_S,
    source_port: int = 0,
) -> Proof:
    """Probes an address and port from a host, by one TCP connection or UDP datagram, within ``timeout`` seconds:
    ``REFUSED_S`` where no answer is expected.

    ``source_port`` may be one on which a TCP EchoServer of the same host listens.
    """
    with dial(client, transport, address, port, timeout=timeout, source_port=source_port) as call:
        return call.ask()


@dataclass(frozen=True, slots=True)
class OpenConnection:
    """A TCP connection or connected UDP socket that stays open, for several proofs on one flow."""

    socket: socket.socket | None
    refused: str

    def ask(self) -> Proof:
        """Sends a new token and waits for its answer."""
        if self.socket is None:
            return Proof(False, self.refused)
        token = secrets.token_hex(8)
        try:
            self.socket.send(f"? {token}\n".encode())
            while answer := self.socket.recv(512).decode("ascii", "replace").split():
                if len(answer) == 5 and answer[:2] == ["!", token]:
                    return Proof(True, "echoed", answer[2], ip_address(answer[3]), int(answer[4]))
        except OSError as error:
            return Proof(False, _how(error))
        return Proof(False, "closed")


@contextmanager
def dial(
    client: Host,
    transport: Transport,
    address: IPAddress,
    port: int,
    *,
    timeout: float = REFUSED_S,
    source_port: int = 0,
) -> Iterator[OpenConnection]:
    """Connects, and keeps the flow open in the block. If the connection is refused, ``ask()`` returns that."""
    with _socket(client, transport, address) as sock:
        sock.settimeout(timeout)
        try:
            if source_port:
                sock.bind(("", source_port))
            sock.connect((str(address), port))
        except OSError as error:
            yield OpenConnection(None, _how(error))
        else:
            yield OpenConnection(sock, "")


class EchoServer:
    """Listens on a port of every address of a host, and answers tokens until it is closed.

    ``seen``: the sources of all tokens, in order. A UDP server can also probe from its own port (``reach``).
    """

    def __init__(self, host: Host, transport: Transport, port: int = 0) -> None:
        self.host = host
        self.transport = transport
        self.seen: list[Endpoint] = []
        self._answers: dict[str, Proof] = {}
        self._answered = threading.Condition()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._socket = _socket(host, transport, None)
        self._socket.bind(("", port))
        self.port: int = self._socket.getsockname()[1]
        if transport is Transport.TCP:
            self._socket.listen(64)
        self._socket.setblocking(False)
        for sock in (self._socket, self._woken):
            self._selector.register(sock, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name=f"echo-{host.name}-{self.port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wake.close()
        self._thread.join()
        for key in tuple(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def reach(self, address: IPAddress, port: int, *, timeout: float = ANSWER_S) -> Proof:
        """Probes from the listening UDP port, as games do. A port unreachable counts as ``timeout``."""
        assert self.transport is Transport.UDP, "a listening TCP socket cannot connect: use reach(source_port=)"
        token = secrets.token_hex(8)
        target = str(address) if address.version == 6 else f"::ffff:{address}"
        self._socket.sendto(f"? {token}\n".encode(), (target, port))
        with self._answered:
            if self._answered.wait_for(lambda: token in self._answers, timeout):
                return self._answers.pop(token)
        return Proof(False, "timeout")

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._woken:
                    return
                with suppress(BlockingIOError, ConnectionError):
                    self._readable(sock)

    def _readable(self, sock: socket.socket) -> None:
        if self.transport is Transport.UDP:
            data, peer = sock.recvfrom(512)
            reply = self._message(data, peer)
            if reply:
                sock.sendto(reply, peer)
        elif sock is self._socket:
            connection, _ = sock.accept()
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ)
        else:
            self._connection_readable(sock)

    def _connection_readable(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(512)
            peer = sock.getpeername()
        except OSError:
            data, peer = b"", None
        if data:
            sock.sendall(self._message(data, peer))
        else:
            self._selector.unregister(sock)
            sock.close()

    def _message(self, data: bytes, peer: tuple[str, int]) -> bytes:
        """The answer to a token. Keeps answers to own tokens for ``reach``."""
        words = data.decode("ascii", "replace").split()
        address = ip_address(peer[0])
        source = Endpoint(getattr(address, "ipv4_mapped", None) or address, peer[1])
        match words:
            case ["?", token]:
                self.seen.append(source)
                return f"! {token} {self.host.name} {source.address} {source.port}\n".encode()
            case ["!", token, name, seen, port]:
                with self._answered:
                    self._answers[token] = Proof(True, "echoed", name, ip_address(seen), int(port))
                    self._answered.notify_all()
        return b""


def _socket(host: Host, transport: Transport, towards: IPAddress | None) -> socket.socket:
    """A socket in the host; ``towards`` None: for every address of both families."""
    family = socket.AF_INET if towards is not None and towards.version == 4 else socket.AF_INET6
    kind = socket.SOCK_STREAM if transport is Transport.TCP else socket.SOCK_DGRAM
    with host.inside():
        sock = socket.socket(family, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if transport is Transport.TCP:
        # so that a client can use a source port on which its host listens
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if towards is None:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return sock


def _how(error: OSError) -> str:
    return "timeout" if isinstance(error, TimeoutError) else HOW.get(error.errno or 0, str(error))
