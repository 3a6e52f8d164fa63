"""NAT-PMP and PCP on the LAN: limits, announcements and mapping updates. ``protocols.port5351`` parses and builds
the datagrams, the gateway decides."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from ipaddress import IPv4Address
from typing import Protocol

from upnp_gw.ledger.events import Event, TableChanged
from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import Endpoint, Instant, Mapping, MappingKind, Via
from upnp_gw.model.request import (
    ChangeRequest,
    Granted,
    MapRequest,
    Refusal,
    Refused,
    ReleaseRequest,
    Reply,
    Source,
)
from upnp_gw.protocols.pcp import mapping as pcp_mapping
from upnp_gw.protocols.pcp.messages import ResultCode
from upnp_gw.protocols.peer import Peer
from upnp_gw.protocols.pending import PendingReply
from upnp_gw.protocols.port5351 import Port5351
from upnp_gw.protocols.retransmit import ANNOUNCEMENTS, Series
from upnp_gw.servers.context import LanContext
from upnp_gw.servers.port5351.limits import DatagramKind, DatagramLimits
from upnp_gw.servers.port5351.mapping_updates import ClientContact, MappingUpdates
from upnp_gw.servers.port5351.socket import ALL_CLIENTS, Port5351Socket
from upnp_gw.servers.timer import DeadlineTimer
from upnp_gw.servers.udp.socket import Datagram, SocketKey
from upnp_gw.servers.udp.sockets import LanSocket, LanSockets
from upnp_gw.system.tasks import BackgroundTasks

log = logging.getLogger(__name__)

REPORTED_ENDS = frozenset({"policy", "revoked", "quarantine"})
"""The ends of mappings that are reported to their PCP clients. Not where the address has another host now, or none:
the host that would read the message there is not the one that held the mapping."""


class LeaseView(Protocol):
    """The ledger, as the server reads it."""

    def epoch_s(self) -> int:
        """Seconds since the epoch of NAT-PMP and PCP began."""
        ...

    def names_lease(self, request: MapRequest | ReleaseRequest) -> bool:
        """True for a request that names an existing lease and its nonce."""
        ...

    def mapping(self, mapping_id: str) -> Mapping | None: ...

    def left_s(self, mapping: Mapping, via: Via) -> int:
        """Seconds until the lease over this protocol ends."""
        ...


class Port5351Server:
    """``start`` it after the gateway. ``handle``: ``Gateway.handle``."""

    def __init__(
        self,
        protocols: Port5351,
        lan: LanContext,
        leases: LeaseView,
        handle: Callable[[ChangeRequest], Awaitable[Reply]],
        open_socket: Callable[[SocketKey], LanSocket] = Port5351Socket,
    ) -> None:
        """``open_socket``: see ``servers.wire``."""
        self.answered: Counter[str] = Counter()
        """Datagrams answered, by protocol."""
        self._protocols = protocols
        self._lan = lan
        self._leases = leases
        self._handle = handle
        self._running = False
        self._limits = DatagramLimits()
        self._announcements = Series(ANNOUNCEMENTS)
        self._updates = MappingUpdates()
        self._sockets = LanSockets("UDP port 5351", log, lan.clock, open_socket, self._on_datagram)
        self._used: set[SocketKey] = set()
        """Sockets that have answered a request: announcements go out of these and of the link-local IPv6 ones
        (docs/spec/pcp.md, Q15)."""
        self._pending: set[tuple[SocketKey, Peer, bytes]] = set()
        """Requests that wait for the gateway: a retransmission of one is dropped."""
        self._tasks = BackgroundTasks()
        self.timer = DeadlineTimer(lan.clock, self._on_timer)

    @property
    def drops(self) -> Counter[str]:
        """Datagrams not answered, and messages not sent, by reason."""
        return self._sockets.drops

    @property
    def unread(self) -> int:
        """Datagrams that the kernel dropped because a receive buffer was full."""
        return self._sockets.unread

    @property
    def addresses(self) -> tuple[SocketKey, ...]:
        """The open sockets."""
        return self._sockets.keys

    # -- life

    async def start(self) -> None:
        """Opens the sockets and begins to announce. A socket that cannot be opened yet is tried again."""
        self._running = True
        self._follow_network()
        self.announce()

    async def stop(self) -> None:
        """Closes the sockets. Pending announcements are not sent."""
        self._running = False
        self.timer.cancel()
        self._sockets.close()
        await self._tasks.cancel()

    def network_changed(self) -> None:
        """Follows the LAN's links and addresses. Announces if there is a new socket."""
        if self._running and self._follow_network():
            self.announce()

    def announce(self) -> None:
        """Begins the series of announcements: at the start, for a new external address, for a new epoch."""
        if self._running:
            self._announcements.begin(self._lan.clock().boot)
            self._on_timer()

    def external_changed(self) -> None:
        """Sends PCP clients the new external address of their mappings. Call it after the new epoch began."""
        external = self._external()
        if not self._running or external is None:
            return
        for mapping_id, contact in self._updates.contacts().items():
            mapping = self._leases.mapping(mapping_id)
            if mapping is None:
                self._updates.forget(mapping_id)
                continue
            if mapping.kind is MappingKind.PINHOLE or mapping.above is not None:
                continue  # the address of a mapping with a lease above changes with that lease: see ``on_event``
            if contact.insists:
                self._update_ended(mapping, contact, ResultCode.CANNOT_PROVIDE_EXTERNAL)
                self._tasks.spawn(self._release(mapping, contact))
            else:
                self._update_changed(mapping_id, contact)
        self.announce()

    def on_event(self, event: Event) -> None:
        """Sends PCP clients mapping updates if the policy or the operator changed or ended their mappings."""
        if not isinstance(event, TableChanged) or not self._running:
            return
        for before, after in event.changed:
            contact = self._updates.contact(after.id)
            if contact is None or (before.key, _outermost(before)) == (after.key, _outermost(after)):
                continue
            if contact.insists and _outermost(after) is not None:
                self._update_ended(after, contact, ResultCode.CANNOT_PROVIDE_EXTERNAL)
                self._tasks.spawn(self._release(after, contact))
            else:
                self._update_changed(after.id, contact)
        for mapping, reason in event.removed:
            contact = self._updates.forget(mapping.id)
            if contact is not None and reason in REPORTED_ENDS:
                self._update_ended(mapping, contact, ResultCode.NOT_AUTHORIZED)
        self._on_timer()

    def _follow_network(self) -> bool:
        """Opens and closes sockets; True if one was opened."""
        keys = {
            SocketKey(link.name, link.index, address)
            for link in self._lan.network().lans
            if link.up and link.index
            for address in link.ips
            if self._protocols.serves(address.version)
        }
        opened = self._sockets.follow(keys)
        self._used &= keys
        return opened

    # -- requests

    def _on_datagram(self, key: SocketKey, datagram: Datagram) -> None:
        """Checks the source (SR-1) and the limits (SR-5), then answers or asks the gateway. Raises WireError."""
        now, peer = self._lan.clock(), datagram.peer
        source = Source(peer.address, key.interface)
        sender = self._lan.share_of(source)
        if not self._limits.may_parse(sender, now.boot):
            self._sockets.over_share(key, peer.address)
            raise WireError("flood")
        if not self._lan.network().on_link(peer.address, key.interface):
            raise WireError("off-link")
        if peer.port == 0:
            raise WireError("port-zero")
        log.debug("port 5351: %d bytes from %s on %s", len(datagram.data), peer.address, key.interface)
        outcome = self._protocols.receive(
            datagram.data, source, self._lan.network().external_of, self._leases.epoch_s()
        )
        if isinstance(outcome, bytes):
            self._admit(DatagramKind.READ, sender, now)
            self._answer(key, outcome, peer)
            return
        kind = DatagramKind.RENEWAL if self._leases.names_lease(outcome.request) else DatagramKind.NEW
        self._admit(kind, sender, now)
        if (key, peer, datagram.data) in self._pending:
            raise WireError("repeated")
        if not self._limits.begin(sender):
            raise WireError("busy")
        self._pending.add((key, peer, datagram.data))
        self._tasks.spawn(self._ask_gateway(key, datagram, outcome, sender))

    def _admit(self, kind: DatagramKind, sender: Hashable, now: Instant) -> None:
        if not self._limits.admit(kind, sender, now.boot):
            raise WireError(f"too-many-{kind.name.lower()}")

    async def _ask_gateway(
        self, key: SocketKey, datagram: Datagram, pending: PendingReply, sender: Hashable
    ) -> None:
        try:
            reply = await self._handle(pending.request)
        finally:
            self._pending.discard((key, datagram.peer, datagram.data))
            self._limits.done(sender)
        if isinstance(reply, Refused) and reply.refusal is Refusal.ABSENT:
            # An earlier copy of this request may have been granted, and its answer lost with the link. Then a
            # refusal would be wrong. Without an answer the client retransmits.
            self._sockets.drop("absent", f"from {datagram.peer.address} on {key.interface}")
            return
        pcp = pending.request.via is Via.PCP
        if pcp and isinstance(reply, Granted) and self._leases.mapping(reply.mapping.id) is not None:
            self._updates.answered(reply.mapping.id, ClientContact(key, datagram.peer, pending.insists))
        self._answer(key, pending.answer(reply, self._leases.epoch_s()), datagram.peer)

    def _answer(self, key: SocketKey, data: bytes, peer: Peer) -> None:
        if self._sockets.send(key, data, peer):
            self._used.add(key)
            protocol = "pcp" if data[0] else "nat-pmp"
            self.answered[protocol] += 1
            log.debug("port 5351: %s to %s: opcode %d, result %d", protocol, peer.address, data[1] & 0x7F, data[3])

    # -- announcements and mapping updates

    def _update_changed(self, mapping_id: str, contact: ClientContact) -> None:
        def build(epoch_s: int) -> bytes | None:
            mapping = self._leases.mapping(mapping_id)
            if mapping is None:
                return None
            if mapping.above is not None and not mapping.above.granted:
                return pcp_mapping.build_loss(mapping, ResultCode.NETWORK_FAILURE, epoch_s, self._external())
            left_s = self._leases.left_s(mapping, Via.PCP)
            return pcp_mapping.build_update(mapping, left_s, epoch_s, self._external())

        self._updates.begin(mapping_id, contact, build, self._lan.clock().boot)

    def _update_ended(self, mapping: Mapping, contact: ClientContact, result: ResultCode) -> None:
        def build(epoch_s: int) -> bytes | None:
            return pcp_mapping.build_loss(mapping, result, epoch_s, self._external())

        self._updates.begin(mapping.id, contact, build, self._lan.clock().boot)

    async def _release(self, mapping: Mapping, contact: ClientContact) -> None:
        """Ends the lease of a client that was sent the end of its mapping."""
        hold = mapping.hold_of(Via.PCP.protocol)
        if hold is not None:
            source = Source(contact.peer.address, contact.key.interface)
            internal = mapping.internal
            await self._handle(
                ReleaseRequest(Via.PCP, source, mapping.key.transport, internal.address, internal.port, hold.nonce)
            )

    def _on_timer(self) -> None:
        """Sends what is due, and sets the timer."""
        now = self._lan.clock().boot
        reopen_at = self._sockets.reopen_at
        if reopen_at is not None and reopen_at <= now and self._follow_network():
            self._announcements.begin(now)
        if self._announcements.take_due(now):
            self._send_announcements()
        for contact, message in self._updates.due(now, self._leases.epoch_s()):
            self._sockets.send(contact.key, message, contact.peer)
        if self._running:
            self.timer.set(
                self._sockets.reopen_at, self._announcements.next_deadline(), self._updates.next_deadline()
            )

    def _send_announcements(self) -> None:
        without_nat = self._lan.network().without_nat
        for key in self._sockets.keys:
            if key.version == 6 and not key.address.is_link_local and key not in self._used:
                continue
            external = None if key.interface in without_nat else self._external()
            for message in self._protocols.announcements(key.version, external, self._leases.epoch_s()):
                self._sockets.send(key, message, ALL_CLIENTS[key.version])

    def _external(self) -> IPv4Address | None:
        return self._lan.network().advertised


def _outermost(mapping: Mapping) -> Endpoint | None:
    """The outermost endpoint of a mapping, if the gateway above lets it through."""
    return mapping.above.external if mapping.above is not None and mapping.above.granted else None
