"""The sockets of one UDP server: opened and closed with the LAN's addresses, read in batches; drops are counted."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Set
from typing import Protocol

from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import Instant, IPAddress
from upnp_gw.protocols.peer import Peer
from upnp_gw.servers.logged_counter import LoggedCounter
from upnp_gw.servers.udp.socket import Datagram, SocketKey

BATCH = 64
"""Datagrams of one socket that are read before the event loop serves others."""
REOPEN_S = 5.0
"""Seconds until a socket that could not be opened is tried again."""
OUR_FAULT = frozenset({"open", "receive", "send"})
"""Reasons that are logged as warnings: the kernel refused a system call."""


class LanSocket(Protocol):
    """``udp.socket.UdpSocket``, as ``LanSockets`` uses it."""

    @property
    def dropped(self) -> int: ...
    def filenos(self) -> tuple[int, ...]:
        """Those that become readable when a datagram has come."""
        ...

    def over_share(self, sender: IPAddress) -> None: ...
    def receive(self) -> Datagram | None: ...
    def send(self, data: bytes, peer: Peer, own: IPAddress | None = None) -> None: ...
    def close(self) -> None: ...


class LanSockets:
    """``name``: the server in the log. ``open_socket`` may raise OSError: then ``reopen_at`` says when to call
    ``follow`` again. ``on_datagram`` may raise WireError: the datagram is dropped. Drops for one of the ``quiet``
    reasons are counted and not logged."""

    def __init__(
        self,
        name: str,
        log: logging.Logger,
        clock: Callable[[], Instant],
        open_socket: Callable[[SocketKey], LanSocket],
        on_datagram: Callable[[SocketKey, Datagram], None],
        quiet: Set[str] = frozenset(),
    ) -> None:
        self.reopen_at: float | None = None
        """BOOTTIME seconds; None: every socket is open."""
        self._name = name
        self._clock = clock
        self._open_socket = open_socket
        self._on_datagram = on_datagram
        self._quiet = quiet
        self._drops = LoggedCounter(log, clock)
        self._sockets: dict[SocketKey, LanSocket] = {}
        self._dropped_before = 0
        """Datagrams that the kernel dropped at sockets which are closed now."""

    @property
    def drops(self) -> Counter[str]:
        """Datagrams not answered, and messages not sent, by reason."""
        return self._drops.counts

    @property
    def unread(self) -> int:
        """Datagrams that the kernel dropped."""
        return self._dropped_before + sum(opened.dropped for opened in self._sockets.values())

    @property
    def keys(self) -> tuple[SocketKey, ...]:
        """The open sockets."""
        return tuple(self._sockets)

    def follow(self, keys: Set[SocketKey]) -> bool:
        """Closes and opens sockets until exactly these are open; True if one was opened."""
        for key in self._sockets.keys() - keys:
            self._close(key)
        self.reopen_at = None
        opened = [self._open(key) for key in sorted(keys - self._sockets.keys(), key=str)]
        return any(opened)

    def close(self) -> None:
        """Closes every socket."""
        for key in self.keys:
            self._close(key)

    def send(self, key: SocketKey, data: bytes, peer: Peer, own: IPAddress | None = None) -> bool:
        """False where the socket is closed, or the kernel refused: that is counted and logged."""
        opened = self._sockets.get(key)
        if opened is None:
            return False
        try:
            opened.send(data, peer, own)
        except OSError as error:
            self.drop("send", f"to {peer.address} on {key.interface}: {error.strerror}")
            return False
        return True

    def over_share(self, key: SocketKey, sender: IPAddress) -> None:
        """Counts a datagram over this address's share. After many, the kernel drops the sender for a second."""
        self._sockets[key].over_share(sender)

    def drop(self, reason: str, detail: str) -> None:
        """Counts a drop. ``detail``: words of our own and addresses, never the client's text."""
        if reason in self._quiet:
            self.drops[reason] += 1
            return
        if reason in OUR_FAULT:
            self._drops.note(reason, "%s: cannot %s %s", self._name, reason, detail, level=logging.WARNING)
        else:
            self._drops.note(reason, "%s: dropped a datagram %s: %s", self._name, detail, reason)

    def _open(self, key: SocketKey) -> bool:
        try:
            opened = self._open_socket(key)
        except OSError as error:
            self.reopen_at = self._clock().boot + REOPEN_S
            self.drop("open", f"{key.address} on {key.interface}: {error.strerror}")
            return False
        self._sockets[key] = opened
        for descriptor in opened.filenos():
            asyncio.get_running_loop().add_reader(descriptor, self._readable, key)
        return True

    def _close(self, key: SocketKey) -> None:
        closing = self._sockets.pop(key)
        self._dropped_before += closing.dropped
        for descriptor in closing.filenos():
            asyncio.get_running_loop().remove_reader(descriptor)
        closing.close()

    def _readable(self, key: SocketKey) -> None:
        for _ in range(BATCH):
            try:
                datagram = self._sockets[key].receive()
            except OSError as error:
                self.drop("receive", f"on {key.interface}: {error.strerror}")
                return
            if datagram is None:
                return
            try:
                self._on_datagram(key, datagram)
            except WireError as error:
                self.drop(error.reason, f"from {datagram.peer.address} on {key.interface}")
