"""The epoch of NAT-PMP and PCP over the life of the gateway: read at the start, begun anew, kept in the store.

The store takes an epoch before any row that was made in it: the batch with the row waits for the same lock.
"""

import asyncio
import logging
from collections.abc import Callable

from upnp_gw.ledger.epoch import Epoch
from upnp_gw.ledger.transaction import Ledger
from upnp_gw.model.errors import StoreError
from upnp_gw.model.mapping import Instant
from upnp_gw.model.network import Network
from upnp_gw.store.store import Store

log = logging.getLogger(__name__)

KEY = "epoch"


class Epochs:
    """Keeps ``ledger.epoch``."""

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        clock: Callable[[], Instant],
        network: Callable[[], Network],
        one_writer: asyncio.Lock,
    ) -> None:
        """``one_writer``: see ``Persistence``."""
        self._ledger = ledger
        self._store = store
        self._clock = clock
        self._network = network
        self._one_writer = one_writer

    async def load(self) -> None:
        """The stored one, or a new one. Raises StoreError."""
        now = self._clock()
        stored = Epoch.from_json(await self._store.get(KEY), self._store.boot_id, now)
        self._ledger.epoch = self._followed(stored, now)
        await self._store.set(KEY, self._ledger.epoch.to_json(self._store.boot_id))

    async def follow_external(self) -> bool:
        """A new external address begins a new epoch; True where it did. Call it before any client is notified."""
        before = self._ledger.epoch
        await self._set(self._followed(before, self._clock()))
        return self._ledger.epoch.number != before.number

    async def begin(self) -> None:
        """Mappings were lost without their clients' doing."""
        await self._set(self._ledger.epoch.restarted(self._clock()))

    def _followed(self, epoch: Epoch, now: Instant) -> Epoch:
        network = self._network()
        external = network.advertised if network.has_nat else None
        return epoch.with_external(external, now).with_lans(network.without_nat, now)

    async def _set(self, epoch: Epoch) -> None:
        if epoch == self._ledger.epoch:
            return
        self._ledger.epoch = epoch
        try:
            async with self._one_writer:
                await self._store.set(KEY, epoch.to_json(self._store.boot_id))
        except StoreError as error:
            log.error("the epoch is not in the store: %s", error)
