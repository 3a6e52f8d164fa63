"""Asks the gateway above: ``model.above.GatewayAbove`` over PCP, NAT-PMP and UPnP IGD."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address

from upnp_gw.model.above import (
    AboveEvents,
    AboveGranted,
    AboveKey,
    AboveRefused,
    AboveReply,
    AboveRequest,
    AboveSilent,
    AboveState,
)
from upnp_gw.model.mapping import Endpoint, Instant, IPAddress, Via
from upnp_gw.model.network import Network
from upnp_gw.model.request import Refusal
from upnp_gw.system.rtnetlink_socket import Rtnetlink
from upnp_gw.system.tasks import BackgroundTasks
from upnp_gw.upstream.announcements import Announcements
from upnp_gw.upstream.igd_link import IgdLink
from upnp_gw.upstream.links import IGD, GatewayLinks
from upnp_gw.upstream.outcome import Denial, Lease, NotServed, Outcome, checked, refused_by
from upnp_gw.upstream.standing import Standing
from upnp_gw.upstream.watch import LossWatch
from upnp_gw.upstream.way import NoWay, Way, find_way, own_source

log = logging.getLogger(__name__)

POLL_S = 30.0
"""Seconds between two questions while it answers and something is open there: a firewall of this machine may keep
its announcements out."""
SILENT_POLL_S = (2.0, 30.0)
"""The same while it is silent: at first, and the longest."""
ANSWER_S = 2.0
"""Seconds that it has for such a question. Two in a row without an answer are silence."""
NOT_STARTED = NoWay("the gateway above is not asked now")
GRANTED_MAX = 65_536 * 2


class GatewayAboveClient:
    """``interface`` of the network: its WAN link. ``vias``: the order. ``configured``: the gateway above, None: the
    router of the default route. All on the event loop."""

    def __init__(
        self,
        vias: Sequence[Via],
        configured: IPv4Address | None,
        network: Callable[[], Network],
        clock: Callable[[], Instant],
    ) -> None:
        self._vias = tuple(IGD if via.protocol == IGD.protocol else via for via in vias)
        self._configured = configured
        self._network = network
        self._clock = clock
        self._standing = Standing()
        self._links: dict[IPAddress, GatewayLinks] = {}
        """Our own address -> the links from it."""
        self._announcements: dict[int, Announcements] = {}
        """By IP version."""
        self._granted: dict[AboveKey, tuple[AboveRequest, Endpoint, float]] = {}
        """The request, its external endpoint, and BOOTTIME seconds of its end."""
        self._refuses_until: dict[IPAddress, tuple[float, Denial]] = {}
        """Our own address -> the refusal of everything from it (CAS-033)."""
        self._watch = LossWatch(self._lost, self._told, self._now)
        self._started = asyncio.Event()
        self._closed = False
        self._silence = asyncio.Event()
        """Set where it becomes silent."""
        self._background = BackgroundTasks()

    async def start(self, events: AboveEvents) -> None:
        """Opens the sockets of IPv4, and begins to look after the gateway above."""
        self._events = events
        self._kernel = Rtnetlink()
        self._started.set()
        self.network_changed()
        self._background.spawn(self._look_after())

    async def close(self) -> None:
        """Requests that wait end as silence, and so do later ones. Nothing is deleted above: leases are short."""
        self._closed = True
        await self._background.cancel()
        self._watch.close()
        for links in self._links.values():
            links.close()
        for announcements in self._announcements.values():
            announcements.close()
        self._links.clear()
        self._announcements.clear()
        if self._started.is_set():
            self._kernel.close()

    def network_changed(self) -> None:
        """The WAN's addresses or routes are others now: what is gone is closed."""
        if self._closed or not self._started.is_set():
            return
        network = self._network()
        for source in [source for source in self._links if not network.is_gateway(source)]:
            self._links.pop(source).close()
        if network.external:
            self._links_from(network.external[0])
        elif not isinstance(self._standing.way, NoWay):
            self._standing.begin_anew(NoWay("the WAN has no IPv4 address"))

    # -- GatewayAbove

    async def ask(self, request: AboveRequest, timeout_s: float) -> AboveReply:
        """Requests or renews a mapping. Before the start it waits."""
        began = self._now()
        links: GatewayLinks | NoWay = NOT_STARTED
        try:
            async with asyncio.timeout(timeout_s):
                await self._started.wait()
                links = self._links_of(request)
                if isinstance(links, NoWay):
                    return AboveSilent(links.gateway, links.problem)
                source, gateway = links.way.source, links.way.gateway
                until, denial = self._refuses_until.get(source, (0.0, None))
                if denial is not None and began < until:
                    return refused_by(Via.PCP, gateway, denial, int(until - began) + 1)
                via, outcome = await links.ask(request)
        except TimeoutError:
            return self._silent(links, began)
        if isinstance(outcome, NotServed):
            return self._not_served(links, via, outcome, began)
        self._answered(via)
        return self._reply(via, request, outcome, links)

    async def release(self, request: AboveRequest, timeout_s: float) -> AboveRefused | AboveSilent | None:
        """Deletes a mapping; None: it is gone, or there was none. Before the start it waits."""
        began = self._now()
        self._granted.pop(request.key, None)
        links: GatewayLinks | NoWay = NOT_STARTED
        try:
            async with asyncio.timeout(timeout_s):
                await self._started.wait()
                links = self._links_of(request)
                if isinstance(links, NoWay):
                    return AboveSilent(links.gateway, links.problem)
                via, outcome = await links.release(request)
        except TimeoutError:
            return self._silent(links, began)
        if isinstance(outcome, NotServed):
            return self._not_served(links, via, outcome, began)
        self._answered(via)
        if isinstance(outcome, Denial):
            return refused_by(via, links.way.gateway, outcome)
        return None

    def leads_back(self) -> None:
        """Only noted: a host of the LAN could forge such a request, and must not end the questions of others."""
        if isinstance(self._standing.way, Way):
            self._note_loop(self._standing.way.gateway)

    def state(self) -> AboveState:
        """For IPv4."""
        return self._standing.state(self._watch.external, self._watch.without_address)

    # -- replies

    def _reply(
        self, via: Via, request: AboveRequest, outcome: Outcome, links: GatewayLinks
    ) -> AboveGranted | AboveRefused:
        gateway = links.way.gateway
        if isinstance(outcome, Lease):
            self._remember(request, outcome)
            self._standing.loop = self._watch.without_address = False
            if links.way.version == 4 and via is Via.PCP:
                self._watch.external = outcome.external.address
            return AboveGranted(via, gateway, outcome.external, outcome.lifetime_s)
        assert isinstance(outcome, Denial)
        self._granted.pop(request.key, None)
        if outcome.everything:
            self._refuses_until[links.way.source] = self._now() + outcome.retry_s, outcome
            log.warning("the gateway above at %s refuses everything: %s", gateway, outcome.words)
        if outcome.loop:
            self._note_loop(gateway)
        if outcome.no_address and links.way.version == 4:
            self._watch.no_external(gateway)
        return refused_by(via, gateway, outcome)

    def _note_loop(self, gateway: IPAddress) -> None:
        if not self._standing.loop:
            self._standing.loop = True
            log.error("the gateway above at %s leads back to this gateway", gateway)

    def _not_served(
        self, links: GatewayLinks, via: Via, outcome: NotServed, began: float
    ) -> AboveRefused | AboveSilent:
        if outcome.always:
            return self._silent(links, began, outcome.words)
        denial = Denial(Refusal.UNSUPPORTED, outcome.words)
        return refused_by(via, links.way.gateway, denial)

    def _silent(self, links: GatewayLinks | NoWay, began: float, words: str = "it does not answer") -> AboveSilent:
        if isinstance(links, NoWay):
            return AboveSilent(links.gateway, links.problem)
        gateway = links.way.gateway
        reason = f"the gateway above at {gateway} cannot be asked: {words}"
        if links.way.version == 4 and self._standing.was_silent(began, reason):
            log.log(logging.WARNING if self._standing.is_news(self._now()) else logging.DEBUG, "%s", reason)
            self._silence.set()
        return AboveSilent(gateway, reason)

    def _answered(self, via: Via) -> None:
        if self._standing.answered(via, self._now()):
            log.info("the gateway above answers again, over %s", via.protocol)
            self._watch.state_lost("it was silent")

    def _remember(self, request: AboveRequest, lease: Lease) -> None:
        now = self._now()
        if len(self._granted) >= GRANTED_MAX:
            self._granted = {key: row for key, row in self._granted.items() if row[2] > now}
        self._granted[request.key] = request, lease.external, now + lease.lifetime_s

    # -- links

    def _links_of(self, request: AboveRequest) -> GatewayLinks | NoWay:
        if self._closed:
            return NOT_STARTED
        source = own_source(self._network(), request.internal.address)
        if source is None:
            return NoWay(f"the WAN has no IPv{request.internal.address.version} address")
        return self._links_from(source)

    def _links_from(self, source: IPAddress) -> GatewayLinks | NoWay:
        """Those that are open, as long as the way is the same."""
        network = self._network()
        way = find_way(network, self._configured, source, self._kernel)
        links = self._links.get(source)
        if links is not None and links.way == way:
            return links
        if links is not None:
            self._links.pop(source).close()
        if source.version == 4 and source in network.external[:1] and way != self._standing.way:
            self._standing.begin_anew(way)
        return way if isinstance(way, NoWay) else self._open(way)

    def _open(self, way: Way) -> GatewayLinks:
        self._refuses_until.pop(way.source, None)
        igd, updated = self._igd_of(way), self._updated
        links = GatewayLinks(way, self._vias, self._watch, self._network, updated, igd, self._now)
        self._links[way.source] = links
        self._listen(way)
        return links

    def _igd_of(self, way: Way) -> IgdLink | None:
        """IGD is over IPv4, for pinholes too."""
        if IGD not in self._vias:
            return None
        if way.version == 4:
            return IgdLink(way, self._watch, self._network)
        four = [links for links in self._links.values() if links.way.version == 4]
        return four[0].igd if four else None

    def _listen(self, way: Way) -> None:
        """One pair of sockets for each gateway above, whatever our addresses are."""
        before = self._announcements.get(way.version)
        if before is not None:
            same = (before.way.ifindex, before.way.gateway) == (way.ifindex, way.gateway)
            if same:
                return
            before.close()
            self._watch.forget()
        version = way.version
        self._announcements[version] = Announcements(
            way, lambda data: self._heard(version, data), self._watch.device
        )

    def _heard(self, version: int, data: bytes) -> None:
        """Each of our addresses has links of its own, and the announcement is for all: one of them reads it."""
        for links in self._links.values():
            if links.way.version == version:
                links.port5351.heard(data)
                return

    def _updated(self, key: AboveKey, nonce: bytes, outcome: Lease | Denial) -> bool:
        """A mapping update. False: nobody asked for it (CAS-021, CAS-023)."""
        row = self._granted.get(key)
        if row is None or row[0].nonce != nonce:
            return False
        request, external, _ = row
        links = self._links_of(request)
        if isinstance(links, NoWay):
            return False
        found = checked(outcome, request, self._network())
        if isinstance(found, Lease) and found.external == external:  # the second answer to a retransmission
            return True
        assert not isinstance(found, NotServed)
        self._events.on_mapping_update(key, self._reply(Via.PCP, request, found, links))
        return True

    # -- looking after it

    def _told(self, address: IPAddress) -> None:
        self._events.on_external_address(address)

    def _lost(self) -> None:
        """Its protocols and control URLs may be others after a restart."""
        for links in self._links.values():
            links.forget()
        self._events.on_state_lost()

    async def _look_after(self) -> None:
        wait_s = POLL_S
        while True:
            try:
                async with asyncio.timeout(wait_s):
                    await self._silence.wait()
            except TimeoutError:
                pass
            else:
                self._silence.clear()
                wait_s = SILENT_POLL_S[0]
                continue
            silent = self._standing.silent_since is not None
            if silent or any(row[2] > self._now() for row in self._granted.values()):
                silent = not await self._question()
            longer_s = min(2 * wait_s, SILENT_POLL_S[1]) if silent and wait_s < POLL_S else SILENT_POLL_S[0]
            wait_s = longer_s if silent else POLL_S

    async def _question(self) -> bool:
        """Asks over the protocol that it serves; False: it does not answer."""
        network = self._network()
        links = self._links_from(network.external[0]) if network.external else NoWay("")
        if isinstance(links, NoWay):
            return False
        began = self._now()
        for _ in range(2):
            via: Via | None = None
            try:
                async with asyncio.timeout(ANSWER_S):
                    via = await links.protocols.find(frozenset())
                    if via is not None and await links.question(via):
                        self._answered(links.shown(via))
                        return True
            except TimeoutError:
                pass
            if via is not None:
                links.protocols.silent(via, serves=False)
        self._silent(links, began)
        return False

    def _now(self) -> float:
        return self._clock().boot
