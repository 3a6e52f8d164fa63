"""SSDP on the LAN interfaces: sockets, one timer, and counts of what was dropped. Decides nothing: what is said and
when is ``protocols.ssdp``'s."""

import asyncio
import logging
import os
import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import Instant, IPAddress
from upnp_gw.model.network import Network
from upnp_gw.model.request import Source
from upnp_gw.protocols.igd.description import RootDevice
from upnp_gw.protocols.rate_limit import Rate, Throttle
from upnp_gw.protocols.ssdp import (
    AnnouncementRound,
    Announcer,
    MessageIdentity,
    Nts,
    Peer,
    Responder,
    SsdpTarget,
    build_alive,
    build_byebye,
    build_update,
    notify_set,
    server_token,
)
from upnp_gw.protocols.ssdp.announcer import Uniform
from upnp_gw.protocols.ssdp.groups import GROUPS, PORT, Group, own_address
from upnp_gw.servers.ssdp.socket import Datagram, SsdpSocket

log = logging.getLogger(__name__)

BATCH = 64
"""Datagrams read before the loop serves others again."""
HEARD = Rate(256, 32)
"""Searches of one sender that are looked at: more than are answered, since many are for what we are not. What is
over it is dropped before it is parsed; so does the kernel, where it has our table."""
REOPEN_S = 5.0
"""When a socket that could not be opened is tried again."""
LOG_AGAIN_S = 60.0
NOISE = frozenset({"not-a-search", "unknown-target"})
"""What every LAN is full of: counted, not logged."""
OURS = frozenset({"open", "receive", "send"})
"""What the operator should look at: the kernel refused."""


class SocketKey(NamedTuple):
    """One socket: an interface by name and kernel index (another one may come back under the name), 4 or 6."""

    interface: str
    ifindex: int
    version: int


class Channel(NamedTuple):
    """One group on one interface, and our address that announcements to it carry."""

    key: SocketKey
    group: Group
    own: IPAddress


class Ssdp:
    """Announces the root devices on every LAN interface and answers searches there.

    ``next_boot_id`` gives a BOOTID greater than every earlier one, already stored; it is called at the start and
    at each change of address. ``network`` is read once, at the start; then ``network_changed`` tells. ``sender_of``
    says whose share a search is counted against.
    """

    def __init__(
        self,
        roots: Sequence[RootDevice],
        network: Callable[[], Network],
        clock: Callable[[], Instant],
        next_boot_id: Callable[[], int],
        *,
        http_port: int,
        max_age_s: int = 1800,
        sender_of: Callable[[Source], Hashable],
        uniform: Uniform = random.uniform,
    ) -> None:
        ordered = tuple(sorted(roots, key=lambda root: root.igd_version.version))
        self.voice = MessageIdentity(ordered, server_token(os.uname().release), max_age_s, http_port)
        self.drops: Counter[str] = Counter()
        """Datagrams not answered, and messages not sent, by reason."""
        self._read_network = network
        self._network: Network | None = None
        """None: not started, or stopped."""
        self._clock = clock
        self._next_boot_id = next_boot_id
        self._sender_of = sender_of
        self._heard = Throttle[Hashable](HEARD)
        self._uniform = uniform
        self._announcer = Announcer(max_age_s, uniform)
        self._sockets: dict[SocketKey, SsdpSocket] = {}
        self._responders: dict[SocketKey, Responder] = {}
        self._channels: frozenset[Channel] = frozenset()
        self._fresh: frozenset[Channel] = frozenset()
        """Channels that no alive set has gone out on yet."""
        self._timer: asyncio.TimerHandle | None = None
        self._reopen_at: float | None = None
        self._logged: dict[str, float] = {}
        self._unread = 0
        """Datagrams that closed sockets dropped."""

    @property
    def boot_id(self) -> int:
        """BOOTID.UPNP.ORG as it is announced now."""
        return self._announcer.boot_id

    @property
    def interfaces(self) -> frozenset[str]:
        """The LAN interfaces on which SSDP is heard now."""
        return frozenset(key.interface for key in self._sockets)

    @property
    def unread(self) -> int:
        """Datagrams that the kernel dropped: no searches, or a receive buffer was full."""
        return self._unread + sum(opened.dropped for opened in self._sockets.values())

    async def start(self) -> None:
        """Open the sockets and begin the first burst. An interface that is not ready yet joins later."""
        self._network = self._read_network()
        self._channels = self._fresh = self._rewire(self._network)
        self._announcer.start(self._clock().boot, self._next_boot_id())
        self._on_timer()

    async def stop(self) -> None:
        """Say byebye on every interface, then close."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._announce(self._announcer.stop())
        for key in tuple(self._sockets):
            self._close(key)
        self._channels = frozenset()
        self._network = None

    def network_changed(self, network: Network) -> None:
        """Follow the LAN's links and addresses. Where one is new or another: update (byebye on the changed
        interface), a new BOOTID and alive everywhere; where one only went away there is nobody left to tell."""
        if self._network is None:
            return
        self._network = network
        channels = self._rewire(network)
        new = channels - self._channels
        if self._channels != channels:
            for responder in self._responders.values():
                responder.forget()
        self._fresh = (self._fresh | new) & channels
        self._channels = channels
        if new:
            self._announcer.moved(self._clock().boot, self._next_boot_id())
        self._on_timer()

    def _rewire(self, network: Network) -> frozenset[Channel]:
        """Open and close sockets to match the network; the answer is what can be announced on."""
        wanted = {
            Channel(SocketKey(link.name, link.index, group.address.version), group, own)
            for link in network.lans
            if link.up and link.index
            for group in GROUPS
            if (own := own_address(link, group.address)) is not None
        }
        keys = {channel.key for channel in wanted}
        for gone in self._sockets.keys() - keys:
            self._close(gone)
        self._reopen_at = None
        for key in keys - self._sockets.keys():
            self._open(key, network)
        return frozenset(channel for channel in wanted if channel.key in self._sockets)

    def _open(self, key: SocketKey, network: Network) -> None:
        link = network.lan(key.interface)
        if link is None:
            return
        try:
            opened = SsdpSocket(link, key.version)
        except OSError as error:
            self._reopen_at = self._clock().boot + REOPEN_S
            self._drop("open", f"{key.interface} IPv{key.version}: {error.strerror}")
            return
        self._sockets[key] = opened
        self._responders[key] = Responder(self.voice, self._uniform)
        asyncio.get_running_loop().add_reader(opened, self._readable, key)

    def _close(self, key: SocketKey) -> None:
        closing = self._sockets.pop(key)
        self._unread += closing.dropped
        del self._responders[key]
        asyncio.get_running_loop().remove_reader(closing)
        closing.close()

    def _readable(self, key: SocketKey) -> None:
        for _ in range(BATCH):
            try:
                datagram = self._sockets[key].receive()
            except OSError as error:
                self._drop("receive", f"{key.interface}: {error.strerror}")
                break
            if datagram is None:
                break
            try:
                self._take(key, datagram)
            except WireError as error:
                self._drop(error.reason, f"from {datagram.peer.address} on {key.interface}")
        self._arm()

    def _take(self, key: SocketKey, datagram: Datagram) -> None:
        """Check where it came from and went to (IGD section 2.7, SR-1), then let the responder answer."""
        peer, network = datagram.peer, self._network
        link = None if network is None else network.lan(key.interface)
        now, sender = self._clock(), self._sender_of(Source(peer.address, key.interface))
        if not self._heard.spend(sender, 1, now.boot):
            self._sockets[key].over_share(peer.address)
            raise WireError("flood")
        if network is None or link is None or datagram.ifindex != key.ifindex:
            raise WireError("not-for-us")
        if not network.on_link(peer.address, link.name):
            raise WireError("off-link")
        if peer.port == 0:
            raise WireError("port-zero")
        own = own_address(link, datagram.destination, peer.address)
        if own is None:
            raise WireError("not-for-us")
        self._responders[key].receive(
            datagram.data,
            peer,
            sender=sender,
            own=own,
            multicast=datagram.destination.is_multicast,
            boot_id=self.boot_id,
            now=now,
        )

    def _on_timer(self) -> None:
        """Send what is due, and set the timer for what is next."""
        now = self._clock().boot
        if self._network is not None and self._reopen_at is not None and self._reopen_at <= now:
            self.network_changed(self._network)
        for round_ in self._announcer.on_deadline(now):
            self._announce(round_)
        for key, responder in self._responders.items():
            for answer in responder.on_deadline(now):
                self._send(key, answer.data, answer.peer, answer.own)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        answers = (responder.next_deadline() for responder in self._responders.values())
        all_ = (self._reopen_at, self._announcer.next_deadline(), *answers)
        deadlines = [at for at in all_ if at is not None]
        if deadlines:
            wait = max(0.0, min(deadlines) - self._clock().boot)
            self._timer = asyncio.get_running_loop().call_later(wait, self._on_timer)

    def _announce(self, round_: AnnouncementRound) -> None:
        """One complete set of every root device on every channel."""
        for channel in self._channels:
            peer = Peer(channel.group.address, PORT)
            messages = [
                self._message(round_, channel, target) for root in self.voice.roots for target in notify_set(root)
            ]
            sent = all(self._send(channel.key, message, peer, channel.own) for message in messages)
            if round_.nts is Nts.ALIVE and sent:
                self._fresh -= {channel}
            elif not sent:
                self._announcer.failed(self._clock().boot)

    def _message(self, round_: AnnouncementRound, channel: Channel, target: SsdpTarget) -> bytes:
        group, own, boot_id = channel.group.host, channel.own, round_.boot_id
        if round_.nts is Nts.ALIVE:
            return build_alive(self.voice, target, group=group, own=own, boot_id=boot_id)
        if round_.nts is Nts.UPDATE and channel not in self._fresh:
            next_id = round_.next_boot_id
            return build_update(self.voice, target, group=group, own=own, boot_id=boot_id, next_boot_id=next_id)
        return build_byebye(target, group=group, boot_id=boot_id)

    def _send(self, key: SocketKey, data: bytes, peer: Peer, own: IPAddress) -> bool:
        try:
            self._sockets[key].send(data, peer, own)
        except OSError as error:
            self._drop("send", f"to {peer.address} on {key.interface}: {error.strerror}")
            return False
        return True

    def _drop(self, reason: str, detail: str) -> None:
        """Count it; tell the operator once a minute for each reason."""
        self.drops[reason] += 1
        now = self._clock().boot
        if reason not in NOISE and now >= self._logged.get(reason, now):
            self._logged[reason] = now + LOG_AGAIN_S
            level = logging.WARNING if reason in OURS else logging.INFO
            log.log(level, "SSDP: %s, %s (%d so far)", reason, detail, self.drops[reason])
