"""Collects evidence of requests, replies and use. It decides nothing, and nothing waits for it.

Requests come from the events, traffic from the readings of the counters. The operator's own mappings are no
evidence of a device's need. Anybody can send a datagram in a device's name, so none counts against the device.
"""

import asyncio
import logging
from collections.abc import Callable
from ipaddress import ip_address

from upnp_gw.engine.decider import Decider
from upnp_gw.firewall.base import Counters, Growth
from upnp_gw.gate.schema import OBSERVE_RULE, RESERVED_RULES
from upnp_gw.ledger.events import Confirmed, Decided, Event, TableChanged
from upnp_gw.ledger.evidence import KEEP_S, EvidenceKey, EvidenceTable
from upnp_gw.ledger.forwards import mapping_id
from upnp_gw.ledger.traffic import TrafficHistory
from upnp_gw.model.device import OPERATOR
from upnp_gw.model.errors import StoreError
from upnp_gw.model.mapping import Instant, IPAddress, Mapping, Transport, Via
from upnp_gw.model.records import DecisionRecord
from upnp_gw.store.pruning import CLOCK_SET
from upnp_gw.store.store import Store
from upnp_gw.system.tasks import in_portions

log = logging.getLogger(__name__)

PROBE_BYTES = 200
"""Bytes per connection. Fewer are a probe of a port where nothing listens: a SYN and a reset, or one datagram."""
FLUSH_S = 60.0
"""Seconds between writes to the store."""
MOST_ENDED = 4096
"""The most mappings that are remembered after their end, until flows are read again: they may have been used."""
READING_S = 5.0
"""The most seconds that a reading of flows takes. The next reading has the exchanges from that time."""
LONGEST_TICK_S = 60.0
"""The most seconds counted between two readings: during a suspend no port is open."""


def opening_of(mapping: Mapping) -> EvidenceKey:
    address = mapping.internal.address
    return EvidenceKey(mapping.device, mapping.key.transport, address.version, mapping.internal.port)


class EvidenceCollector:
    """Call ``load`` before the first event, ``flush`` regularly and at the end."""

    def __init__(self, decider: Decider, store: Store, keep_s: float = KEEP_S) -> None:
        """``keep_s``: seconds after the last request, use or sight until something is forgotten."""
        self.table = EvidenceTable(keep_s)
        self.traffic = TrafficHistory()
        self._decider = decider
        self._ledger = decider.ledger
        self._around = decider.environment
        self._store = store
        self._new: set[str] = set()
        """The mappings that the last operation added. Its decision comes after its change of the table."""
        self._since_remotes: dict[str, Counters] = {}
        """Mapping id -> increase since the last reading with remote hosts. Idle mappings have no entry."""
        self._first_reading = True
        """No reading of this run yet: the kernel's counts may be those of an earlier one."""
        self._before: Instant = self._around.clock()
        self._remotes_read_at = self._before.boot
        """CLOCK_BOOTTIME seconds of the last reading with remote hosts."""
        self._ended: list[Mapping] = []
        """Mappings that have ended since that reading."""

    async def load(self, now: Callable[[str], str] = lambda device: device) -> None:
        """Loads the stored evidence. Earlier counts of the kernel are not added twice. ``now``: gives a stored
        device its present identifier."""
        self.table.load(*await self._store.evidence(), now)
        self._before, self._first_reading = self._around.clock(), True
        self.traffic.load(await self._store.traffic(), self._before.wall, now)
        self._remotes_read_at = self._before.boot
        for neighbour in self._around.neighbours.all():
            self.saw(self._around.name_of(neighbour), self._before.wall)

    async def flush(self) -> None:
        """Writes the changes to the store; after an error, again with the next ones."""
        await self._flush_traffic()
        wall = self._around.clock().wall
        self.table.prune(wall)
        self._decider.history.forget_silent(wall - self.table.keep_s)
        changes = self.table.pop_changes()
        if not changes:
            return
        try:
            await self._store.write_evidence(changes)
        except StoreError as error:
            log.error("the evidence is not on disk: %s", error)
            self.table.put_back(changes)

    async def _flush_traffic(self) -> None:
        changes = self.traffic.pop_changes(self._around.clock().wall)
        if changes is not None:
            try:
                await self._store.write_traffic(changes)
            except StoreError as error:
                log.error("the traffic of ports is not on disk: %s", error)
                self.traffic.put_back(changes)

    async def keep(self) -> None:
        """Calls ``flush`` every ``FLUSH_S``, until it is cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    # -- requests

    def on_event(self, event: Event) -> None:
        if isinstance(event, TableChanged):
            self._new = {mapping.id for mapping in event.added}
            self._ended += [mapping for mapping, _ in event.removed[: MOST_ENDED - len(self._ended)]]
        if isinstance(event, Decided) and event.record.at < CLOCK_SET:
            return  # evidence is kept by day, and before the clock is set the day is unknown
        if isinstance(event, Decided) and event.record.via != Via.OPERATOR and event.record.device != OPERATOR:
            if event.record.action == "map":
                self._count_request(event.record)
            if event.record.verdict == "allow":
                self._count_match(event.record.device, event.record.action, event.record.rule, event.record.at)
        if isinstance(event, Confirmed) and event.at >= CLOCK_SET and not _of_operator(event.mapping):
            self._count_match(event.mapping.device, event.action, event.mapping.rule, event.at)

    def _count_request(self, record: DecisionRecord) -> None:
        if record.internal_client is None or record.internal_port is None or record.transport is None:
            return
        version = ip_address(record.internal_client).version
        opening = EvidenceKey(record.device, Transport(record.transport), version, record.internal_port)
        self.table.seen(record.device, record.at, self._ledger.table.counted(record.device))
        row = self.table.row(opening, record.at)
        row.requests += 1
        row.last_asked = record.at
        row.asked_over(record.via)
        row.delegated |= record.facts.get("target_device", record.device) != record.device
        if record.verdict != "allow":
            row.refused += 1
        elif record.mapping not in self._new:
            row.renewals += 1
        if record.verdict == "allow" and record.mapping is not None:
            self._new.discard(record.mapping)
            mapping = self._ledger.table.get(record.mapping)
            if mapping is not None:
                row.had_external(mapping.key.external_port)
        if record.rule == OBSERVE_RULE:
            row.ungranted += 1
            if not Via(record.via).datagram:
                most = self._decider.in_force.policy.limits.incident_after
                self.table.ungranted(record.device, opening.port, record.at, most)

    def _count_match(self, device: str, action: str, rule: str | None, at: float) -> None:
        if action == "renew":  # a device that does not answer is parked, not renewed
            self.table.seen(device, at)
        if rule is not None and rule not in RESERVED_RULES:
            row = self.table.in_force(rule, at)
            row.matched += action == "map"
            row.last_matched = at

    def saw(self, device: str, wall: float) -> None:
        """A device answered on a LAN."""
        if wall >= CLOCK_SET:
            self.table.seen(device, wall)

    # -- traffic

    def of_earlier_run(self, mapping: Mapping) -> bool:
        """True for what the first reading of this run finds of an older mapping: the kernel counted it before."""
        return self._first_reading and mapping.granted_at < self._before.wall - LONGEST_TICK_S

    def used(self, mapping: Mapping, increase: Counters, now: Instant) -> None:
        """The kernel has counted packets of a mapping."""
        if now.wall < CLOCK_SET or self.of_earlier_run(mapping):
            return
        opening = opening_of(mapping)
        if increase.connections > 0 or increase.bytes > 0:
            self.table.used(opening, now.wall, increase.connections, increase.bytes)
            self.traffic.add(opening, now.wall, increase.bytes)
        self._since_remotes[mapping.id] = increase.plus(self._since_remotes.get(mapping.id, Counters()))

    async def counted(self, growth: Growth, with_remotes: bool) -> None:
        """Call this after ``used`` for all of a reading. ``with_remotes``: it has the remote hosts."""
        now = self._around.clock()
        if now.wall < CLOCK_SET:
            return
        self._first_reading = False
        await self._count_open(now)
        if with_remotes:
            await self._count_remotes(growth, now)
            self._record_in_force(now)

    async def _count_open(self, now: Instant) -> None:
        """Adds the seconds since the last reading to everything that is open."""
        elapsed, self._before = min(LONGEST_TICK_S, max(0.0, now.boot - self._before.boot)), now
        open_now: dict[EvidenceKey, int] = {}
        stood: dict[EvidenceKey, float] = {}
        table = self._ledger.table
        async for one in in_portions(table.ids()):
            mapping = table.get(one)
            if mapping is not None and mapping.active and (opening := opening_of(mapping)) in self.table.openings:
                open_now[opening] = open_now.get(opening, 0) + 1
                own_s = min(elapsed, max(0.0, now.wall - mapping.granted_at))
                stood[opening] = max(stood.get(opening, 0.0), own_s)
        async for opening, seconds in in_portions(stood.items()):
            self.table.stood(opening, seconds, open_now[opening])

    async def _count_remotes(self, growth: Growth, now: Instant) -> None:
        peers: dict[str, frozenset[IPAddress]] = {}
        for forward_id, talking in (growth.remotes or {}).items():
            peers[mapping_id(forward_id)] = peers.get(mapping_id(forward_id), frozenset()) | talking
        elapsed_s = now.boot - self._remotes_read_at + READING_S
        exchanges = {place: one.remotes for place, one in growth.exchanges.items() if one.ago_s <= elapsed_s}
        async for _ in in_portions(
            range(len(self._since_remotes))
        ):  # what a cancelled call leaves, the next one has
            one, increase = self._since_remotes.popitem()
            mapping = self._ledger.table.get(one)
            if mapping is None:
                continue
            answered = exchanges.get((mapping.key.transport, mapping.internal))
            if growth.remotes is None and answered is None:
                talked = increase.bytes > PROBE_BYTES * max(1, increase.connections)
            else:  # an idle flow does not count as use
                talked = (one in peers or answered is not None) and increase.bytes > 0
            if talked:
                self._count_exchange(mapping, now, peers.get(one, frozenset()) | (answered or frozenset()))
        async for _ in in_portions(range(len(self._ended))):
            mapping = self._ended.pop()
            answered = exchanges.get((mapping.key.transport, mapping.internal))
            if answered is not None:
                self.table.used(opening_of(mapping), now.wall, 0, 0)
                self._count_exchange(mapping, now, answered)
        self._remotes_read_at = now.boot

    def _count_exchange(self, mapping: Mapping, now: Instant, remotes: frozenset[IPAddress]) -> None:
        """A remote host and the device exchanged packets through a mapping today. No ``remotes``: host unknown."""
        day = self._around.local_time(now).date().toordinal()
        self.table.talked(opening_of(mapping), day, remotes or None)
        self.table.seen(mapping.device, now.wall)
        if mapping.rule in self.table.rules:
            self.table.in_force(mapping.rule, now.wall).last_used = now.wall

    def _record_in_force(self, now: Instant) -> None:
        for grant in self._decider.in_force.policy.grants:
            self.table.in_force(grant.name, now.wall)
        for incident in self._decider.history.incidents(now):
            self.table.incident(incident.device, incident.began.wall)


def _of_operator(mapping: Mapping) -> bool:
    """True if the operator asked for it."""
    return mapping.device == OPERATOR or mapping.hold_of(Via.OPERATOR.protocol) is not None
