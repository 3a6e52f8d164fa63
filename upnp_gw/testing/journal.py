"""The requests and their answers: one ``Request`` for each message of a client."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from upnp_gw.testing.records import Records


@dataclass(slots=True)
class Request:
    """One message of a client, and its answer."""

    protocol: str
    """``igd1`` or ``igd2`` for an action, ``http`` for a document or an event subscription, ``ssdp``, ``natpmp``,
    ``pcp``."""
    action: str
    """The action; the method, as ``GET`` or ``SUBSCRIBE``; ``M-SEARCH``; ``natpmp.address``, ``natpmp.map``,
    ``pcp.map``, ``pcp.announce``; empty: it could not be read."""
    arguments: dict[str, str]
    """By name, as they came: arguments of an action, header fields, fields of a datagram."""
    client: str
    """The address it came from."""
    received: bytes
    """The message, as it came. Of two requests in one packet the first one may have bytes of the second."""
    at_s: float
    """Seconds since the emulator's start, by its own clock."""
    answers: list[bytes] = field(default_factory=list)
    """As they were sent. Only a search has several; empty: there was none, or none yet."""
    path: str = ""
    """Of an HTTP request, as the client sent it."""
    error: int | None = None
    """The error code of the answer, or its result code over UDP; None: there was no error, or no answer yet."""

    @property
    def sent(self) -> bytes:
        """The answer; empty: there was none, or none yet."""
        return b"".join(self.answers)

    def __str__(self) -> str:
        shown = ("path",) if self.protocol == "http" else self.arguments
        arguments = ", ".join(f"{name}={self.arguments[name]}" for name in shown if name in self.arguments)
        first = self.sent.partition(b"\r\n")[0] if self.sent[:5] == b"HTTP/" else self.sent
        answer = first.decode("ascii", "replace") if first[:5] == b"HTTP/" else f"{len(first)} bytes"
        return f"{self.protocol} {self.action}({arguments}) from {self.client}: {answer if first else 'no answer'}"


class Requests(Records[Request]):
    """The requests so far, in the order in which they came."""

    def __init__(self, requests: Iterable[Request], noun: str = "request", others: Iterable[Request] = ()) -> None:
        super().__init__(Request, noun, requests, others)

    def of(self, action: str) -> "Requests":
        """Those of one action."""
        return Requests([r for r in self if r.action == action], f"request of {action}", self)


class Journal:
    """Kept on the emulator's loop. ``now_s``: seconds since its start."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._requests: list[Request] = []

    def add(self, protocol: str, action: str, arguments: dict[str, str], client: str, received: bytes) -> Request:
        """Notes a message. Add its answers when they are sent."""
        request = Request(protocol, action, arguments, client, received, self._now_s())
        self._requests.append(request)
        return request

    def requests(self) -> Requests:
        """All of them so far."""
        return Requests(tuple(self._requests))

    def clear(self) -> None:
        """Forgets all of them."""
        self._requests.clear()
