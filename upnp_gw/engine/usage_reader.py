"""Adds the kernel's counts to the ledger's usage, and passes them to the evidence."""

import asyncio
import logging

from upnp_gw.engine.decider import Decider
from upnp_gw.engine.evidence_collector import EvidenceCollector
from upnp_gw.engine.measurements import Measurements
from upnp_gw.engine.over_share import OverShareLog
from upnp_gw.firewall.base import Counters, Firewall
from upnp_gw.ledger.forwards import mapping_id
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Instant, Usage
from upnp_gw.system.tasks import in_portions

log = logging.getLogger(__name__)

FRESH_S = 1.0
"""Seconds before ``recount`` reads the counters again: a reading costs O(mappings)."""


class UsageReader:
    """``count`` for timers and the operator, ``recount`` for requests that show a counter."""

    def __init__(
        self,
        decider: Decider,
        firewall: Firewall,
        evidence_collector: EvidenceCollector,
        measurements: Measurements,
    ) -> None:
        self._ledger = decider.ledger
        self._clock = decider.environment.clock
        self._firewall = firewall
        self._evidence = evidence_collector
        self._measurements = measurements
        self._recounting = asyncio.Lock()
        self._counting = asyncio.Lock()
        self._grown: list[tuple[str, Counters]] = []
        """Increases that are not in the ledger's usage yet. A cancelled ``count`` leaves some for the next one."""
        self._counted_at = float("-inf")
        self.over_share = OverShareLog()
        """LAN hosts whose packets to our own ports are dropped."""

    async def recount(self) -> None:
        """Reads the counters on demand, at most once in ``FRESH_S``."""
        async with self._recounting:
            if self._clock().boot - self._counted_at < FRESH_S:
                return
            try:
                await self.count()
            except FirewallError as error:
                log.warning("the counters cannot be read: %s", error)

    async def count(self, remotes: bool = False, at_stop: bool = False) -> None:
        """Adds the kernel's counts to the ledger's usage. ``remotes``: also reads the remote hosts. ``at_stop``: as
        for ``Firewall.read_growth``."""
        async with self._counting:
            growth = await self._firewall.read_growth(remotes, at_stop)
            for line in self.over_share.take(growth.over_share, self._clock().boot):
                log.warning("%s", line)
            now = self._clock()
            self._counted_at = now.boot
            self._grown += growth.counters.items()
            async for _ in in_portions(range(len(self._grown))):
                self._add(*self._grown.pop(), now)
            await self._evidence.counted(growth, remotes)

    def _add(self, forward_id: str, counters: Counters, now: Instant) -> None:
        mapping = self._ledger.table.get(mapping_id(forward_id))
        if mapping is None:
            return
        before = self._ledger.usage_of(mapping)
        self._ledger.usage[mapping.id] = Usage(
            before.connections + counters.connections,
            before.bytes + counters.bytes,
            before.packets + counters.packets,
            now.wall,
        )
        if not self._evidence.of_earlier_run(mapping):
            self._measurements.used(mapping.device, counters.bytes, counters.connections)
        self._evidence.used(mapping, counters, now)
