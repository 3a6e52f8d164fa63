"""The load generator: sends requests from hosts of a lab and notes how long each answer takes.

One thread. A sequential client uses blocking sockets; many clients at once share one epoll. Sockets are made before
the clock runs, so that changing the namespace is not measured. A time is that from the call of connect() to the end
of the connection, which the server closes; for a datagram from its sending to its answer.
"""

import gc
import resource
import select
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.bench.messages import datagram_ok, http_ok
from upnp_gw.lab import Host

TIMEOUT_S = 5.0
"""Of one request over TCP. miniupnpd's backlog of 5 loses connections that their clients think are made."""
DATAGRAM_TIMEOUT_S = 1.0
SOCKETS = 800
"""Sockets that are made at once."""

Address = tuple[str, int]


class RequestRefused(Exception):
    """A gateway refused what the benchmark needs. The text has its answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of one host."""

    host: Host
    data: bytes


@dataclass(slots=True)
class Result:
    """Times in seconds, in the order of the answers."""

    times: list[float] = field(default_factory=list)
    unanswered: int = 0
    """Requests without an answer in time. Their time counts as well."""
    refused: list[bytes] = field(default_factory=list)
    """Answers that grant nothing."""
    spent_s: float = 0.0
    """From the first request to the last answer, pauses between batches left out."""

    def include(self, other: "Result") -> None:
        self.times += other.times
        self.unanswered += other.unanswered
        self.refused += other.refused
        self.spent_s += other.spent_s


def raise_descriptor_limit() -> None:
    """Raises the number of files that this process may open to what the system allows it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def collected() -> Iterator[None]:
    """No garbage collection of our own within a measurement."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def open_sockets(requests: Sequence[Request], kind: socket.SocketKind) -> list[socket.socket]:
    """A socket for each request, in the namespace of its host."""
    by_host: defaultdict[Host, list[int]] = defaultdict(list)
    for position, request in enumerate(requests):
        by_host[request.host].append(position)
    sockets: dict[int, socket.socket] = {}
    for host, positions in by_host.items():
        with host.inside():
            for position in positions:
                sockets[position] = socket.socket(socket.AF_INET, kind)
    return [sockets[position] for position in range(len(requests))]


def one_by_one(server: Address, requests: Sequence[Request]) -> Result:
    """One client: a connection for each request, the next one after the answer."""
    result = Result()
    with collected():
        for connection, request in zip(open_sockets(requests, socket.SOCK_STREAM), requests, strict=True):
            answer = b""
            connection.settimeout(TIMEOUT_S)
            started = time.perf_counter()
            try:
                connection.connect(server)
                connection.sendall(request.data)
                while chunk := connection.recv(65536):
                    answer += chunk
            except OSError:
                answer = b""
            result.times.append(time.perf_counter() - started)
            connection.close()
            _note(result, answer, http_ok)
    result.spent_s = sum(result.times)
    return result


def datagrams_one_by_one(server: Address, requests: Sequence[Request]) -> Result:
    """One client: a datagram, the next one after the answer. Never sent again: a lost one counts as unanswered."""
    result = Result()
    with collected():
        for asker, request in zip(open_sockets(requests, socket.SOCK_DGRAM), requests, strict=True):
            asker.settimeout(DATAGRAM_TIMEOUT_S)
            asker.connect(server)
            started = time.perf_counter()
            try:
                asker.send(request.data)
                answer = asker.recv(2048)
            except OSError:
                answer = b""
            result.times.append(time.perf_counter() - started)
            asker.close()
            _note(result, answer, datagram_ok)
    result.spent_s = sum(result.times)
    return result


def at_once(server: Address, clients: Sequence[Sequence[Request]], timeout_s: float = TIMEOUT_S) -> Result:
    """So many clients at once; each sends its next request after its last answer, over a new connection."""
    result = Result()
    each = max(1, SOCKETS // len(clients))
    longest = max(map(len, clients))
    for first in range(0, longest, each):
        with collected():
            result.include(_Crowd(server, [client[first : first + each] for client in clients], timeout_s).run())
    return result


def at_rate(server: Address, requests: Sequence[Request], per_s: float, timeout_s: float = TIMEOUT_S) -> Result:
    """So many requests a second, whether or not those before are answered. Each has a new connection.

    A time is that from the moment when the request was due: one that could not be sent in time has waited too.
    """
    result = Result()
    for first in range(0, len(requests), SOCKETS):
        with collected():
            result.include(_Paced(server, requests[first : first + SOCKETS], per_s, timeout_s).run())
    return result


def storm(server: Address, requests: Sequence[Request], retry_s: float, deadline_s: float) -> list[float]:
    """Every datagram at once, sent again after ``retry_s`` without an answer; seconds until each answer, sorted."""
    askers = open_sockets(requests, socket.SOCK_DGRAM)
    waiting = {asker.fileno(): (asker, request) for asker, request in zip(askers, requests, strict=True)}
    answered: list[float] = []
    with select.epoll() as epoll, collected():
        for asker in askers:
            asker.setblocking(False)
            asker.connect(server)
            epoll.register(asker, select.EPOLLIN)
        started = time.perf_counter()
        while waiting and (passed := time.perf_counter() - started) < deadline_s:
            for asker, request in list(waiting.values()):
                asker.send(request.data)
            round_end = min(passed + retry_s, deadline_s)
            while waiting and (left := round_end - (time.perf_counter() - started)) > 0:
                for number, _ in epoll.poll(left):
                    if datagram_ok(waiting[number][0].recv(2048)):
                        answered.append(time.perf_counter() - started)
                        epoll.unregister(number)
                        del waiting[number]
    for asker in askers:
        asker.close()
    return answered


@dataclass(slots=True)
class _Client:
    work: Iterator[tuple[socket.socket, Request]]
    connection: socket.socket
    request: Request
    started: float = 0.0
    answer: bytes = b""
    sent: bool = False


class _Crowd:
    """Clients at once on one epoll."""

    def __init__(self, server: Address, clients: Sequence[Sequence[Request]], timeout_s: float) -> None:
        self._server = server
        self._timeout_s = timeout_s
        self._result = Result()
        self._epoll = select.epoll()
        self._clients: dict[int, _Client] = {}
        self._work = [
            iter(list(zip(open_sockets(client, socket.SOCK_STREAM), client, strict=True))) for client in clients
        ]

    def run(self) -> Result:
        started = time.perf_counter()
        for work in self._work:
            self._next(work)
        with self._epoll:
            while self._clients:
                for number, events in self._epoll.poll(0.1):
                    self._advance(self._clients[number], events)
                self._end_late()
        self._result.spent_s = time.perf_counter() - started
        return self._result

    def _end_late(self) -> None:
        late = time.perf_counter() - self._timeout_s
        for client in [client for client in self._clients.values() if client.started < late]:
            self._end(client, b"")

    def _next(self, work: Iterator[tuple[socket.socket, Request]], due: float | None = None) -> None:
        """``due``: the moment from which the time counts; None: now."""
        for connection, request in work:
            client = _Client(work, connection, request, time.perf_counter() if due is None else due)
            connection.setblocking(False)
            connection.connect_ex(self._server)
            self._clients[connection.fileno()] = client
            self._epoll.register(connection, select.EPOLLOUT)
            return

    def _advance(self, client: _Client, events: int) -> None:
        try:
            if not client.sent:
                client.connection.send(client.request.data)
                client.sent = True
                self._epoll.modify(client.connection, select.EPOLLIN)
            elif chunk := client.connection.recv(65536):
                client.answer += chunk
            else:
                self._end(client, client.answer)
        except BlockingIOError:
            return
        except OSError:
            self._end(client, b"")

    def _end(self, client: _Client, answer: bytes) -> None:
        self._result.times.append(time.perf_counter() - client.started)
        _note(self._result, answer, http_ok)
        self._epoll.unregister(client.connection)
        del self._clients[client.connection.fileno()]
        client.connection.close()
        self._next(client.work)


class _Paced(_Crowd):
    """Requests at fixed moments on one epoll."""

    def __init__(self, server: Address, requests: Sequence[Request], per_s: float, timeout_s: float) -> None:
        super().__init__(server, [[request] for request in requests], timeout_s)
        self._per_s = per_s

    def run(self) -> Result:
        begun = time.perf_counter()
        due = [begun + number / self._per_s for number in range(len(self._work))]
        number = 0
        with self._epoll:
            while self._clients or number < len(due):
                while number < len(due) and due[number] <= time.perf_counter():
                    self._next(self._work[number], due[number])
                    number += 1
                wait_s = due[number] - time.perf_counter() if number < len(due) else 0.1
                for descriptor, events in self._epoll.poll(max(0.0, wait_s)):
                    self._advance(self._clients[descriptor], events)
                self._end_late()
        self._result.spent_s = time.perf_counter() - begun
        return self._result


def _note(result: Result, answer: bytes, granted: Callable[[bytes], bool]) -> None:
    if not answer:
        result.unanswered += 1
    elif not granted(answer):
        result.refused.append(answer)
