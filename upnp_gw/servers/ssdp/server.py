"""SSDP on the LAN interfaces. ``protocols.ssdp`` decides which messages are sent and when; this sends them."""

import logging
import platform
import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.network import Network
from upnp_gw.model.request import Source
from upnp_gw.protocols.igd.description import RootDevice
from upnp_gw.protocols.peer import Peer
from upnp_gw.protocols.rate_limit import Rate, Throttle
from upnp_gw.protocols.ssdp import (
    AnnouncementRound,
    Announcer,
    MessageIdentity,
    Nts,
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
from upnp_gw.servers.context import LanContext
from upnp_gw.servers.ssdp.socket import SsdpSocket
from upnp_gw.servers.timer import DeadlineTimer
from upnp_gw.servers.udp.socket import Datagram, SocketKey
from upnp_gw.servers.udp.sockets import LanSocket, LanSockets

log = logging.getLogger(__name__)

READ_RATE = Rate(256, 32)
"""Searches of one sender that are parsed. More are dropped unread, by the kernel too where it has our table. The
limit is above the rate of answers, since many searches are for other devices."""
QUIET = frozenset({"not-a-search", "unknown-target"})
"""Reasons that are counted and not logged: every LAN is full of such datagrams."""
ANY: dict[int, IPAddress] = {4: IPv4Address(0), 6: IPv6Address(0)}
"""IP version -> the address of a socket that is bound to every address."""


class Channel(NamedTuple):
    """One multicast group on one interface, and the gateway's address that announcements to it carry."""

    key: SocketKey
    group: Group
    own: IPAddress


class SsdpServer:
    """Announces the root devices on every LAN interface and answers searches there.

    ``next_boot_id`` returns a stored BOOTID greater than every earlier one. It is called at the start and at each
    change of an address. ``lan.network`` is read at the start; later changes come by ``network_changed``.
    """

    def __init__(
        self,
        roots: Sequence[RootDevice],
        lan: LanContext,
        next_boot_id: Callable[[], int],
        *,
        http_port: int,
        max_age_s: int = 1800,
        uniform: Uniform = random.uniform,
        open_socket: Callable[[SocketKey], LanSocket] = SsdpSocket,
    ) -> None:
        """``open_socket``: see ``servers.wire``."""
        ordered = tuple(sorted(roots, key=lambda root: root.igd_version.version))
        self.identity = MessageIdentity(ordered, server_token(platform.release()), max_age_s, http_port)
        self._lan = lan
        self._network: Network | None = None
        """None: not started, or stopped."""
        self._next_boot_id = next_boot_id
        self._reads = Throttle[Hashable](READ_RATE)
        self._uniform = uniform
        self._announcer = Announcer(max_age_s, uniform)
        self._sockets = LanSockets("SSDP", log, lan.clock, open_socket, self._on_datagram, QUIET)
        self._responders: dict[SocketKey, Responder] = {}
        self._channels: frozenset[Channel] = frozenset()
        self._unannounced: frozenset[Channel] = frozenset()
        """Channels that no complete set of alive messages was sent to yet."""
        self.timer = DeadlineTimer(lan.clock, self._on_timer)

    @property
    def boot_id(self) -> int:
        """BOOTID.UPNP.ORG as it is announced now."""
        return self._announcer.boot_id

    @property
    def interfaces(self) -> frozenset[str]:
        """The LAN interfaces that have an open socket."""
        return frozenset(key.interface for key in self._sockets.keys)

    @property
    def drops(self) -> Counter[str]:
        """Datagrams not answered, and messages not sent, by reason."""
        return self._sockets.drops

    @property
    def unread(self) -> int:
        """Datagrams that the kernel dropped: they were no searches, or a receive buffer was full."""
        return self._sockets.unread

    async def start(self) -> None:
        """Opens the sockets and begins to announce. A socket that cannot be opened yet is tried again."""
        self._network = self._lan.network()
        self._channels = self._unannounced = self._follow(self._network)
        self._announcer.start(self._lan.clock().boot, self._next_boot_id())
        self._on_timer()

    async def stop(self) -> None:
        """Sends byebye on every interface, then closes the sockets."""
        self.timer.cancel()
        self._announce(self._announcer.stop())
        self._sockets.close()
        self._responders.clear()
        self._channels = frozenset()
        self._network = None

    def network_changed(self, network: Network) -> None:
        """Follows the LAN's links and addresses. For a new or changed address: update (on the changed interface
        byebye), a new BOOTID, and alive everywhere. An address that only went away has no reader left."""
        if self._network is None:
            return
        self._network = network
        channels = self._follow(network)
        new = channels - self._channels
        if self._channels != channels:
            for responder in self._responders.values():
                responder.forget()
        self._unannounced = (self._unannounced | new) & channels
        self._channels = channels
        if new:
            self._announcer.moved(self._lan.clock().boot, self._next_boot_id())
        self._on_timer()

    def change_boot_id(self) -> None:
        """Sends update, then alive with a new BOOTID, everywhere, as for a new address."""
        self._announcer.moved(self._lan.clock().boot, self._next_boot_id())
        self._on_timer()

    def _follow(self, network: Network) -> frozenset[Channel]:
        """Opens and closes sockets; returns the channels of the open ones."""
        channels = {
            Channel(SocketKey(link.name, link.index, ANY[group.address.version]), group, own)
            for link in network.lans
            if link.up and link.index
            for group in GROUPS
            if (own := own_address(link, group.address)) is not None
        }
        self._sockets.follow({channel.key for channel in channels})
        before = self._responders
        self._responders = {
            key: before.get(key) or Responder(self.identity, self._uniform) for key in self._sockets.keys
        }
        return frozenset(channel for channel in channels if channel.key in self._responders)

    def _on_datagram(self, key: SocketKey, datagram: Datagram) -> None:
        """Checks source and destination (IGD section 2.7, SR-1) and the limit, then passes the search to the
        responder of the socket. Raises WireError."""
        peer, network = datagram.peer, self._network
        link = None if network is None else network.lan(key.interface)
        now, sender = self._lan.clock(), self._lan.share_of(Source(peer.address, key.interface))
        if not self._reads.spend(sender, 1, now.boot):
            self._sockets.over_share(key, peer.address)
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
        log.debug("SSDP: search from %s port %d on %s", peer.address, peer.port, key.interface)
        self._set_timer()

    def _on_timer(self) -> None:
        """Sends what is due, and sets the timer."""
        now = self._lan.clock().boot
        reopen_at = self._sockets.reopen_at
        if self._network is not None and reopen_at is not None and reopen_at <= now:
            self.network_changed(self._network)
        for round_ in self._announcer.on_deadline(now):
            self._announce(round_)
        for key, responder in self._responders.items():
            for answer in responder.on_deadline(now):
                self._sockets.send(key, answer.data, answer.peer, answer.own)
        self._set_timer()

    def _set_timer(self) -> None:
        answers = (responder.next_deadline() for responder in self._responders.values())
        self.timer.set(self._sockets.reopen_at, self._announcer.next_deadline(), *answers)

    def _announce(self, round_: AnnouncementRound) -> None:
        """Sends one complete set of messages of every root device to every channel."""
        for channel in self._channels:
            if channel.own.version == 6 and channel.own.is_loopback:
                continue  # the kernel has no route for IPv6 multicast over the loopback
            peer = Peer(channel.group.address, PORT)
            messages = [
                self._message(round_, channel, target)
                for root in self.identity.roots
                for target in notify_set(root)
            ]
            sent = all(self._sockets.send(channel.key, message, peer, channel.own) for message in messages)
            if round_.nts is Nts.ALIVE and sent:
                self._unannounced -= {channel}
            elif not sent:
                self._announcer.failed(self._lan.clock().boot)

    def _message(self, round_: AnnouncementRound, channel: Channel, target: SsdpTarget) -> bytes:
        group, own, boot_id = channel.group.host, channel.own, round_.boot_id
        if round_.nts is Nts.ALIVE:
            return build_alive(self.identity, target, group=group, own=own, boot_id=boot_id)
        if round_.nts is Nts.UPDATE and channel not in self._unannounced:
            next_id = round_.next_boot_id
            return build_update(self.identity, target, group=group, own=own, boot_id=boot_id, next_boot_id=next_id)
        return build_byebye(target, group=group, boot_id=boot_id)
