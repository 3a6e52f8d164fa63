"""The disk's side of the writer: a transaction for each batch, the backlog while the disk fails, known devices."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as Table
from dataclasses import replace
from ipaddress import ip_address
from time import perf_counter_ns
from typing import Any

from upnp_gw.engine.device_persistence import DevicePersistence
from upnp_gw.engine.stored_devices import StoredDevices
from upnp_gw.engine.write_backlog import WriteBacklog, batch_of, changed_rows
from upnp_gw.ledger.transaction import Ledger, Transaction
from upnp_gw.model.errors import StoreError
from upnp_gw.model.mapping import Instant, Mapping
from upnp_gw.model.network import Network
from upnp_gw.store.device_rows import NoteKind
from upnp_gw.store.mapping_rows import StoredRow
from upnp_gw.store.store import Batch, Store

log = logging.getLogger(__name__)


class StoreWrite:
    """One transaction of the store: by a call on another thread, or by ``done``."""

    def __init__(self, store: Store, batch: Batch, now: Instant) -> None:
        self.batch = batch
        self.tried = False
        self.took_ns = 0
        self._store = store
        self._now = now
        self._error: StoreError | None = None

    def __call__(self) -> None:
        """Writes it on the calling thread. Does not raise."""
        self.tried, began = True, perf_counter_ns()
        try:
            if self.batch:
                self._store.write_blocking(self.batch, self._now)
        except StoreError as error:
            self._error = error
        self.took_ns = perf_counter_ns() - began

    async def done(self) -> None:
        """Raises StoreError if it was or is not written."""
        if not self.tried:
            self.tried, began = True, perf_counter_ns()
            await self._store.write(self.batch, self._now)
            self.took_ns = perf_counter_ns() - began
        if self._error is not None:
            raise self._error


class Persistence:
    """Once it has begun, nothing here raises for a disk that fails."""

    def __init__(
        self, store: Store, ledger: Ledger, memory: DevicePersistence, clock: Callable[[], Instant]
    ) -> None:
        self.memory = memory
        self.write_backlog = WriteBacklog()
        self.one_writer = asyncio.Lock()
        """Held from the making of a batch until it is written: a later state of a device must not be written before
        an earlier one, by another thread, and a row not before its epoch."""
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._renamed: list[str] = []
        """Rows whose devices have other identifiers now than in the store."""
        self.devices: StoredDevices
        """Set by ``load``."""

    async def load(self, now: Instant, network: Network) -> list[Mapping]:
        """Brings what the store holds into the ledger; the answer is its mappings, their devices as they are called
        in this network. Raises StoreError."""
        rows, cuts = await self._store.load(now)
        notes = await self._store.notes()
        self.devices = _devices(network, rows, notes)
        numbers = self._ledger.numbers
        numbers.mapping, numbers.decision, numbers.cut = await self._store.highest()
        self._ledger.update_id = int(now.wall) % 2**32
        present = {device: self.devices.now(device) for device in {row.mapping.device for row in rows}}
        for row in rows:
            mapping, device = row.mapping, present[row.mapping.device]
            if device != mapping.device:
                mapping = replace(mapping, device=device)
                self._renamed.append(mapping.id)
            self._ledger.table.put(mapping, row.number)
        for cut in cuts:
            self._ledger.cuts.add(replace(cut, device=self.devices.now(cut.device)))
        self.memory.recall(notes, now, self.devices)
        return list(self._ledger.table)

    async def begin(self, transaction: Transaction, now: Instant) -> None:
        """Writes what a start made of it. Raises StoreError."""
        if batch := self.batch([transaction], self._renamed):
            await self._store.write(batch, now)
        transaction.commit()

    def batch(self, transactions: Sequence[Transaction], rows: Iterable[str] = ()) -> Batch:
        """The changes of these transactions, and these further ``rows``, for the store."""
        dropped = {cut.number for transaction in transactions for cut in transaction.cuts_dropped}
        return batch_of(
            dict.fromkeys(rows)
            | dict.fromkeys(row for transaction in transactions for row in changed_rows(transaction)),
            self._ledger.table,
            [cut for transaction in transactions for cut in transaction.cuts_put if cut.number not in dropped],
            sorted(dropped),
            [record for transaction in transactions for record in transaction.records],
        )

    def prepared(self, transactions: Sequence[Transaction], now: Instant) -> "StoreWrite":
        """The write of these transactions. Call ``written`` or ``not_written`` with it."""
        batch = self.batch(transactions)
        batch.notes = self.memory.notes(now, devices=False)
        return StoreWrite(self._store, batch, now)

    def not_written(self, write: "StoreWrite") -> None:
        """The changes did not happen."""
        self.memory.not_taken(write.batch.notes)

    async def written(self, write: "StoreWrite", transactions: Sequence[Transaction]) -> bool:
        """Writes it, unless another thread did. False: the disk failed and something opens, so that the turns have
        to be undone."""
        if not write.batch:
            return True
        try:
            await write.done()
        except StoreError as error:
            self.write_backlog.failed(error)
            self.memory.not_taken(write.batch.notes)
            if any(transaction.opens for transaction in transactions):
                return False
            self.write_backlog.add(transactions)
            return True
        self.write_backlog.succeeded()
        if self.write_backlog:
            self.write_backlog.cuts_done(cut for transaction in transactions for cut in transaction.cuts_dropped)
            await self.flush()
        return True

    async def flush(self) -> None:
        """Tries to write the backlog, in a transaction of its own. Only while no batch is under way."""
        if not self.write_backlog:
            return
        try:
            await self._store.write(self.write_backlog.batch(self._ledger.table), self._clock())
        except StoreError as error:
            self.write_backlog.failed(error)
        else:
            self.write_backlog.succeeded()
            self.write_backlog.flushed()

    async def remember(self) -> None:
        """Writes what changed of devices, incidents and questions, where anything did."""
        async with self.one_writer:
            now = self._clock()
            notes = self.memory.notes(now, devices=True)
            try:
                if notes:
                    await self._store.write(Batch(notes=notes), now)
            except StoreError as error:
                self.write_backlog.failed(error)
                self.memory.not_taken(notes)

    async def close(self) -> None:
        """The last try to write; the log says how many rows and decisions are not on disk after it."""
        await self.remember()
        await self.flush()
        if self.write_backlog:
            log.error(
                "%d rows and decisions could not be written: the next start finds the older ones",
                len(self.write_backlog),
            )


def _devices(
    network: Network, rows: Sequence[StoredRow], notes: Table[NoteKind, Sequence[Table[str, Any]]]
) -> StoredDevices:
    devices = StoredDevices(network)
    for body in notes[NoteKind.DEVICE]:
        if body["address"] is not None:
            devices.learn(body["device"], ip_address(body["address"]))
    for row in rows:
        if not row.mapping.delegated:
            devices.learn(row.mapping.device, row.mapping.internal.address)
    return devices
