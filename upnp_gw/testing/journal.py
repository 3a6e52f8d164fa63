"""The requests and their answers: one ``Request`` for each message of a client."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from upnp_gw.testing.changes import TIMEOUT_S, Changes, Live
from upnp_gw.testing.outcomes import REQUESTS, check_action, error_name
from upnp_gw.testing.records import NEWEST, Records, near


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
    real_s: float = 0.0
    """Seconds since the emulator's start, by the machine's clock: for the pauses between retransmissions."""
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
        return f"{self.protocol} {self.action}({arguments}) from {self.client} at {self.at_s:g} s: {self._answer}"

    @property
    def _answer(self) -> str:
        if not self.answers:
            return "no answer"
        if self.error is not None:
            return f"{self.error} {error_name(self.action, self.error)}".rstrip()
        if self.sent.startswith(b"HTTP/"):
            return self.sent.partition(b"\r\n")[0].partition(b" ")[2].decode("ascii", "replace")
        return f"{len(self.answers)} answers" if len(self.answers) > 1 else f"{len(self.sent)} bytes"


class Requests(Records[Request]):
    """The requests so far, in the order in which they came."""

    def __init__(
        self,
        requests: Iterable[Request],
        noun: str = "request",
        others: Iterable[Request] = (),
        live: Live[Request] | None = None,
        clear: Callable[[], None] | None = None,
    ) -> None:
        """Without ``live`` and ``clear`` it is a part of the whole list."""
        super().__init__(Request, noun, requests, others)
        self._live = live
        self._clear = clear

    def of(self, action: str, **arguments: object) -> "Requests":
        """Those of one action, with these arguments. Raises ValueError for a word that is no action, TypeError for
        an argument that no such request has."""
        mine = [request for request in self if request.action == action]
        if not mine:
            check_action(action, REQUESTS)
        _check_arguments(mine, arguments)
        found = [r for r in mine if all(r.arguments.get(name) == str(value) for name, value in arguments.items())]
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return Requests(found, f"request of {action}{' with ' if shown else ''}{shown}", mine or self)

    def clear(self) -> None:
        """Forgets the requests so far. This list stays as it is."""
        if self._clear is None:
            raise RuntimeError("this list is a part of another one; accepted: igd.requests.clear()")
        self._clear()

    def wait_for(
        self,
        action: str = "",
        *,
        count: int = 1,
        timeout_s: float = TIMEOUT_S,
        answered: bool = True,
        **arguments: object,
    ) -> Request:
        """Waits until ``count`` requests of an action have come and were answered, and returns the last of these.

        One that has come already counts. ``answered=False``: it may be without an answer. ``arguments``: as for
        ``of``. Raises AssertionError after ``timeout_s`` seconds; it says what came. Raises RuntimeError on the
        thread of an event loop, whose clients it would stop: there is ``async_wait_for``.
        """
        return self._whole.wait(_wanted(action, answered, arguments), count, timeout_s)

    async def async_wait_for(
        self,
        action: str = "",
        *,
        count: int = 1,
        timeout_s: float = TIMEOUT_S,
        answered: bool = True,
        **arguments: object,
    ) -> Request:
        """``wait_for``, in an asynchronous test."""
        return await self._whole.async_wait(_wanted(action, answered, arguments), count, timeout_s)

    @property
    def _whole(self) -> Live[Request]:
        if self._live is None:
            raise RuntimeError("this list is a part of another one; accepted: igd.requests.wait_for(...)")
        return self._live


def _wanted(
    action: str, answered: bool, arguments: dict[str, object]
) -> Callable[[Records[Request]], Records[Request]]:
    def narrowed(records: Records[Request]) -> Records[Request]:
        assert isinstance(records, Requests)
        found = records.of(action, **arguments) if action else records
        done = [request for request in found if request.answers or not answered]
        return found if len(done) == len(found) else Requests(done, "answered request", found)

    return narrowed


def _check_arguments(requests: Sequence[Request], arguments: Iterable[str]) -> None:
    names = list(dict.fromkeys(name for request in requests for name in request.arguments))
    for name in arguments:
        if requests and name not in names:
            raise TypeError(
                f"no such request has an argument {name}{near(name, names)} they have {', '.join(names)}"
            )


class Journal:
    """Kept on the emulator's loop. ``now_s``: seconds since its start."""

    def __init__(self, now_s: Callable[[], float], changes: Changes | None = None) -> None:
        self.now_s = now_s
        self._began = monotonic()
        self._changes = changes or Changes()
        self._requests: deque[Request] = deque(maxlen=NEWEST)

    def add(self, protocol: str, action: str, arguments: dict[str, str], client: str, received: bytes) -> Request:
        """Notes a message. ``answered`` adds its answers."""
        real_s = monotonic() - self._began
        request = Request(protocol, action, arguments, client, received, self.now_s(), real_s)
        self._requests.append(request)
        self._changes.changed()
        return request

    def answered(self, request: Request, data: bytes, error: int | None) -> None:
        """Adds an answer to a message."""
        request.error = error
        request.answers.append(data)
        self._changes.changed()

    def requests(self) -> tuple[Request, ...]:
        """All of them so far."""
        return tuple(self._requests)

    def clear(self) -> None:
        """Forgets all of them."""
        self._requests.clear()
