"""Limits for HTTP clients: source addresses, connections at once, seconds and bytes (SR-23)."""

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Protocol

from upnp_gw.model.mapping import Instant
from upnp_gw.protocols.rate_limit import Rate, Throttle
from upnp_gw.servers.logged_counter import LoggedCounter

WASTED = Rate(burst=200, per_s=20)
"""Connections of one host that came to nothing: half a request, nonsense, one too many. While it has none left, its
connections end before a byte of them is read. Whoever gets an answer is not charged."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What a client can make the server spend. Times in seconds, sizes in bytes."""

    head: int = 8 * 1024
    received: int = 32 * 1024
    """Most bytes of one request on the wire: a head, a body of 16 KiB, and as much as a head for chunk sizes,
    extensions and trailers. A longer body is refused; where no body is read the connection is cut."""
    head_s: float = 5.0
    """From the connection, or the answer before, to a complete head; so this also ends idle keep-alive."""
    body_s: float = 5.0
    backend_s: float = 25.0
    """For the gateway's reply; then the action failed (IGD-089)."""
    answer_s: float = 30.0
    """For everything between head and the last byte of the answer."""
    per_host: int = 4
    waiting_per_host: int = 8
    """Connections of a host over its share that wait, unread, for one of its own to end: Home Assistant asks
    four things at once and the next four before the first connections are closed."""
    total: int = 64
    wasted: Rate = WASTED


class HttpRefusals(LoggedCounter):
    """Counts refused requests and connections by reason."""

    def refuse(self, reason: str, client: object) -> None:
        """``client``: an IP address, or None if it is not known."""
        self.note(reason, "HTTP: refused a request of %s: %s", client or "?", reason)


class WaitingConnection(Protocol):
    """A connection that asks for admission."""

    def begin(self) -> None:
        """Called when it is admitted."""

    def cut(self) -> None:
        """Ends the connection at once."""


@dataclass(slots=True)
class _Host:
    inside: int = 0
    waiting: deque[WaitingConnection] = field(default_factory=deque)


class Admission:
    """Which connections are served now, which wait, which are turned away."""

    def __init__(self, limits: HttpLimits, now: Callable[[], Instant]) -> None:
        self._limits = limits
        self._now = now
        self._wasted = Throttle[Hashable](limits.wasted)
        self._hosts: dict[Hashable, _Host] = {}
        self._all: set[WaitingConnection] = set()

    def knock(self, host: Hashable, connection: WaitingConnection) -> str | None:
        """Why it is turned away. None: ``connection.begin()`` was called, or will be when there is room."""
        if self._wasted.level(host, self._now().boot) < 1:
            return "wasted-connections"
        entry = self._hosts.get(host) or _Host()
        if len(self._all) >= self._limits.total or len(entry.waiting) >= self._limits.waiting_per_host:
            self.waste(host)
            return "too-many-connections"
        self._hosts[host] = entry
        self._all.add(connection)
        if entry.inside >= self._limits.per_host:
            entry.waiting.append(connection)
        else:
            entry.inside += 1
            connection.begin()
        return None

    def waste(self, host: Hashable) -> None:
        """A connection of this host came to nothing."""
        self._wasted.spend(host, 1, self._now().boot)

    def leave(self, host: Hashable, connection: WaitingConnection) -> None:
        if connection not in self._all:
            return
        self._all.discard(connection)
        entry = self._hosts[host]
        if connection in entry.waiting:
            entry.waiting.remove(connection)
        elif entry.waiting:
            entry.waiting.popleft().begin()
        else:
            entry.inside -= 1
        if not entry.inside:
            del self._hosts[host]

    def crowded(self, host: Hashable) -> bool:
        """True where connections of this host wait: the one in hand is then closed after its answer."""
        entry = self._hosts.get(host)
        return entry is not None and bool(entry.waiting)

    def turn_out_waiting(self) -> None:
        """The server stops: whoever was not begun will not be."""
        for entry in list(self._hosts.values()):
            for connection in list(entry.waiting):
                connection.cut()

    def __len__(self) -> int:
        return len(self._all)
