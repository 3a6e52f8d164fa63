"""NAT-PMP and PCP on the LAN: sockets, limits, announcements, mapping updates. Decides nothing: what a datagram
means is ``protocols.portcontrol``'s, what may be is the gateway's."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from ipaddress import IPv4Address, ip_address

from upnp_gw.ledger.events import Event, TableChanged
from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import Instant, Mapping, Via
from upnp_gw.model.network import Network
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
from upnp_gw.protocols.pending import PendingReply
from upnp_gw.protocols.port5351 import Port5351
from upnp_gw.protocols.retransmit import ANNOUNCEMENTS, Series
from upnp_gw.servers.port5351.limits import DatagramKind, DatagramLimits
from upnp_gw.servers.port5351.mapping_updates import ClientContact, MappingUpdates
from upnp_gw.servers.port5351.socket import Datagram, Port5351Socket, SocketAddress, SocketKey

log = logging.getLogger(__name__)

BATCH = 64
"""Datagrams read before the loop serves others again."""
REOPEN_S = 5.0
LOG_AGAIN_S = 60.0
OURS = frozenset({"open", "receive", "send"})
"""What the operator should look at: the kernel refused."""
TOLD = frozenset({"policy", "revoked", "quarantine"})
"""Ends that a PCP client is told of. Not where its address has another holder or has gone: who hears it there is
not who held it."""


class Port5351Server:
    """``start`` after the gateway. ``handle`` is ``Gateway.handle``; ``stands`` tells whether a request is about a
    mapping that stands; ``find`` gives a mapping by id; ``epoch_s`` the epoch's seconds now; ``left_s`` the seconds
    until a mapping's lease over PCP ends; ``sender_of`` whose share a datagram is counted against."""

    def __init__(
        self,
        dialogue: Port5351,
        network: Callable[[], Network],
        clock: Callable[[], Instant],
        handle: Callable[[ChangeRequest], Awaitable[Reply]],
        *,
        epoch_s: Callable[[], int],
        stands: Callable[[MapRequest | ReleaseRequest], bool],
        find: Callable[[str], Mapping | None],
        left_s: Callable[[Mapping, Via], int],
        sender_of: Callable[[Source], Hashable],
    ) -> None:
        self.drops: Counter[str] = Counter()
        """Datagrams not answered, and messages not sent, by reason."""
        self.answered: Counter[str] = Counter()
        """Datagrams answered, by protocol."""
        self._dialogue = dialogue
        self._read_network = network
        self._clock = clock
        self._handle = handle
        self._epoch_s = epoch_s
        self._stands = stands
        self._find = find
        self._left_s = left_s
        self._sender_of = sender_of
        self._running = False
        self._limits = DatagramLimits()
        self._announcements = Series(ANNOUNCEMENTS)
        self._updates = MappingUpdates()
        self._sockets: dict[SocketKey, Port5351Socket] = {}
        self._spoken: set[SocketKey] = set()
        """Sockets over which somebody asked: where announcements go beside link-local IPv6 (decision Q15)."""
        self._pending: set[tuple[SocketAddress, bytes]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._reopen_at: float | None = None
        self._logged: dict[str, float] = {}
        self._unread = 0
        """Datagrams that closed sockets dropped."""

    @property
    def addresses(self) -> tuple[SocketKey, ...]:
        """Where requests are heard now."""
        return tuple(self._sockets)

    @property
    def unread(self) -> int:
        """Datagrams that the kernel dropped since a receive buffer was full."""
        return self._unread + sum(opened.dropped for opened in self._sockets.values())

    # -- life

    async def start(self) -> None:
        """Opens the sockets and begins to announce. An address that is not ready yet joins later."""
        self._running = True
        self._rewire()
        self.announce()

    async def stop(self) -> None:
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for key in tuple(self._sockets):
            self._close(key)
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def network_changed(self) -> None:
        """Follows the LAN's links and addresses; who newly hears us is told that we are here."""
        if self._running and self._rewire():
            self.announce()

    def announce(self) -> None:
        """Begins the series of announcements: at a start, with a new external address, with a new epoch."""
        if self._running:
            self._announcements.begin(self._clock().boot)
            self._on_timer()

    def external_changed(self) -> None:
        """There is another external address, and the epoch is new: PCP clients are told their mappings' new one."""
        external = self._external()
        if not self._running or external is None:
            return
        for mapping_id, contact in self._updates.contacts().items():
            mapping = self._find(mapping_id)
            if mapping is None:
                self._updates.forget(mapping_id)
                continue
            if mapping.internal.address.version == 6:
                continue
            if contact.insists:
                self._tell_loss(mapping, contact, ResultCode.CANNOT_PROVIDE_EXTERNAL)
                self._spawn(self._release(mapping, contact))
            else:
                self._tell(mapping_id, contact)
        self.announce()

    def on_event(self, event: Event) -> None:
        """Tells PCP clients of what the policy or the operator did to their mappings."""
        if not isinstance(event, TableChanged) or not self._running:
            return
        for before, after in event.changed:
            contact = self._updates.contacts().get(after.id)
            if contact is not None and before.key != after.key:
                self._tell(after.id, contact)
        for mapping, why in event.removed:
            contact = self._updates.forget(mapping.id)
            if contact is not None and why in TOLD:
                self._tell_loss(mapping, contact, ResultCode.NOT_AUTHORIZED)
        self._on_timer()

    # -- sockets

    def _rewire(self) -> bool:
        """Opens and closes sockets to match the network; True where one is new."""
        network = self._read_network()
        wanted: set[SocketKey] = {
            SocketKey(link.name, link.index, address)
            for link in network.lans
            if link.up and link.index
            for address in link.ips
            if self._dialogue.serves(address.version)
        }
        for gone in self._sockets.keys() - wanted:
            self._close(gone)
        self._reopen_at = None
        opened = [self._open(key) for key in sorted(wanted - self._sockets.keys(), key=str)]
        return any(opened)

    def _open(self, key: SocketKey) -> bool:
        try:
            opened = Port5351Socket(key)
        except OSError as error:
            self._reopen_at = self._clock().boot + REOPEN_S
            self._drop("open", f"{key.address} on {key.interface}: {error.strerror}")
            return False
        self._sockets[key] = opened
        asyncio.get_running_loop().add_reader(opened, self._readable, key)
        return True

    def _close(self, key: SocketKey) -> None:
        closing = self._sockets.pop(key)
        self._unread += closing.dropped
        self._spoken.discard(key)
        asyncio.get_running_loop().remove_reader(closing)
        closing.close()

    # -- requests

    def _readable(self, key: SocketKey) -> None:
        for _ in range(BATCH):
            try:
                datagram = self._sockets[key].receive()
            except OSError as error:
                self._drop("receive", f"on {key.interface}: {error.strerror}")
                break
            if datagram is None:
                break
            try:
                self._take(key, datagram)
            except WireError as error:
                self._drop(error.reason, f"from {datagram.peer[0]} on {key.interface}")

    def _take(self, key: SocketKey, datagram: Datagram) -> None:
        """Checks where it came from (SR-1) and how much came before (SR-5), then answers or asks the gateway."""
        now = self._clock()
        source = Source(ip_address(datagram.peer[0].partition("%")[0]), key.interface)
        sender = self._sender_of(source)
        if not self._limits.hear(sender, now.boot):
            self._sockets[key].over_share(source.address)
            raise WireError("flood")
        if not self._read_network().on_link(source.address, key.interface):
            raise WireError("off-link")
        if datagram.peer[1] == 0:
            raise WireError("port-zero")
        found = self._dialogue.receive(datagram.data, source, self._external(), self._epoch_s())
        if isinstance(found, bytes):
            self._admit(DatagramKind.READ, sender, now)
            self._answer(key, found, datagram.peer)
            return
        self._admit(DatagramKind.STANDING if self._stands(found.request) else DatagramKind.NEW, sender, now)
        pending = (datagram.peer, datagram.data)
        if pending in self._pending:
            raise WireError("repeated")
        if not self._limits.begin(sender):
            raise WireError("busy")
        self._pending.add(pending)
        self._spawn(self._ask(key, datagram, found, sender))

    def _admit(self, sort: DatagramKind, sender: Hashable, now: Instant) -> None:
        if not self._limits.admit(sort, sender, now.boot):
            raise WireError(f"too-many-{sort.name.lower()}")

    async def _ask(self, key: SocketKey, datagram: Datagram, question: PendingReply, sender: Hashable) -> None:
        try:
            reply = await self._handle(question.request)
        finally:
            self._pending.discard((datagram.peer, datagram.data))
            self._limits.done(sender)
        if isinstance(reply, Refused) and reply.refusal is Refusal.ABSENT:
            # Its first try may have been carried out and its answer lost with the link: to the second one, "no"
            # would be a lie. It asks again.
            self._drop("absent", f"from {datagram.peer[0]} on {key.interface}")
            return
        pcp = question.request.via is Via.PCP
        if pcp and isinstance(reply, Granted) and self._find(reply.mapping.id) is not None:
            self._updates.answered(reply.mapping.id, ClientContact(key, datagram.peer, question.insists))
        self._answer(key, question.answer(reply, self._epoch_s()), datagram.peer)

    def _answer(self, key: SocketKey, data: bytes, peer: SocketAddress) -> None:
        self._spoken.add(key)
        if self._send(key, data, peer):
            self.answered["pcp" if data[0] else "nat-pmp"] += 1

    # -- unasked

    def _tell(self, mapping_id: str, contact: ClientContact) -> None:
        def build(epoch_s: int) -> bytes | None:
            mapping = self._find(mapping_id)
            if mapping is None:
                return None
            external = mapping.internal.address if mapping.internal.address.version == 6 else self._external()
            return pcp_mapping.build_update(mapping, self._left_s(mapping, Via.PCP), epoch_s, external)

        self._updates.tell(mapping_id, contact, build, self._clock().boot)

    def _tell_loss(self, mapping: Mapping, contact: ClientContact, result: ResultCode) -> None:
        self._updates.tell(
            mapping.id,
            contact,
            lambda epoch_s: pcp_mapping.build_loss(mapping, result, epoch_s, self._external()),
            self._clock().boot,
        )

    async def _release(self, mapping: Mapping, contact: ClientContact) -> None:
        """Ends the lease of a client that has been told that it has no mapping any more."""
        hold = mapping.hold_of(Via.PCP.protocol)
        if hold is not None:
            source = Source(ip_address(contact.peer[0].partition("%")[0]), contact.key.interface)
            internal = mapping.internal
            await self._handle(
                ReleaseRequest(Via.PCP, source, mapping.key.transport, internal.address, internal.port, hold.nonce)
            )

    def _on_timer(self) -> None:
        """Sends what is due, and sets the timer for what is next."""
        now = self._clock().boot
        if self._reopen_at is not None and self._reopen_at <= now and self._rewire():
            self._announcements.begin(now)
        if self._announcements.take_due(now):
            self._announce_once()
        for contact, message in self._updates.due(now, self._epoch_s()):
            self._send(contact.key, message, contact.peer)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = (self._reopen_at, self._announcements.next_deadline(), self._updates.next_deadline())
        deadlines = [at for at in waiting if at is not None]
        if deadlines and self._running:
            wait = max(0.0, min(deadlines) - self._clock().boot)
            self._timer = asyncio.get_running_loop().call_later(wait, self._on_timer)

    def _announce_once(self) -> None:
        for key, opened in tuple(self._sockets.items()):
            if key.version == 6 and not key.address.is_link_local and key not in self._spoken:
                continue
            for message in self._dialogue.announcements(key.version, self._external(), self._epoch_s()):
                try:
                    opened.announce(message)
                except OSError as error:
                    self._drop("send", f"to all hosts on {key.interface}: {error.strerror}")

    # -- how

    def _external(self) -> IPv4Address | None:
        return self._read_network().advertised

    def _send(self, key: SocketKey, data: bytes, peer: SocketAddress) -> bool:
        opened = self._sockets.get(key)
        if opened is None:
            return False
        try:
            opened.send(data, peer)
        except OSError as error:
            self._drop("send", f"to {peer[0]} on {key.interface}: {error.strerror}")
            return False
        return True

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _drop(self, reason: str, detail: str) -> None:
        """Counts it; tells the operator once a minute for each reason."""
        self.drops[reason] += 1
        now = self._clock().boot
        if now >= self._logged.get(reason, now):
            self._logged[reason] = now + LOG_AGAIN_S
            level = logging.WARNING if reason in OURS else logging.INFO
            log.log(level, "UDP port 5351: %s, %s (%d so far)", reason, detail, self.drops[reason])
