"""Erases what the gateway keeps of devices, in memory and on the disk. Mappings, rules and open incidents stay.

Rows are deleted in portions. Then the store is written anew, so that no byte of them stays in its files.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from sqlite3 import Connection

from upnp_gw.engine.decider import Decider
from upnp_gw.engine.evidence_collector import EvidenceCollector
from upnp_gw.engine.gateway import Gateway
from upnp_gw.engine.kept_policies import NotKept, texts_of
from upnp_gw.engine.reevaluation import Reevaluation
from upnp_gw.model.device import mac_of
from upnp_gw.model.errors import StoreError
from upnp_gw.store import erasing
from upnp_gw.store.store import Store


@dataclass(frozen=True, slots=True)
class ErasedRows:
    """The rows that were erased, and those that stay."""

    decisions: int
    openings: int
    questions: int
    kept_decisions: int
    """Decisions that stay because a mapping names them."""


class Erasure:
    """One at a time."""

    def __init__(self, decider: Decider, gateway: Gateway, evidence: EvidenceCollector, store: Store) -> None:
        self._decider = decider
        self._gateway = gateway
        self._evidence = evidence
        self._store = store
        self._one = asyncio.Lock()

    async def erase(self, devices: Collection[str]) -> ErasedRows:
        """Erases what is kept of these devices, also in decisions about others. Raises StoreError."""
        async with self._one:
            names = {*devices, *self._former_names(devices)}
            questions = sum(self._decider.questions.drop_device(device) for device in devices)
            self._decider.history.forget(devices)
            openings = await self._forget_evidence(devices)
            rows = await self._delete(partial(erasing.find_decisions, names=names))
            await self._store.erase(partial(erasing.delete_devices, names=names))
            await self._delete_policies(names)
            await self._store.rewrite()
        return ErasedRows(rows[0], openings, questions, rows[1])

    async def erase_all(self) -> ErasedRows:
        """Erases the audit log, the evidence and the counts of all devices. Raises StoreError."""
        async with self._one:
            questions = self._decider.questions.drop_all()
            self._decider.history.forget_all()
            openings = await self._forget_evidence(None)
            rows = await self._delete(erasing.all_decisions)
            await self._store.erase(erasing.delete_history)
            await self._store.rewrite()
        return ErasedRows(rows[0], openings, questions, rows[1])

    async def overwrite_deleted(self) -> None:
        """Overwrites rows that were deleted before. Raises StoreError."""
        async with self._one:
            await self._store.rewrite()

    def _former_names(self, devices: Collection[str]) -> set[str]:
        """The MAC addresses alone: their names while the gateway served one LAN. Without those that a device on
        another LAN has too: its decisions stay."""
        known = {one.device for one in self._decider.history.devices(self._decider.environment.clock())}
        others = (known | self._evidence.table.devices.keys()) - set(devices)
        return {mac for each in devices if (mac := mac_of(each)) is not None} - {mac_of(each) for each in others}

    async def _forget_evidence(self, devices: Collection[str] | None) -> int:
        """Brings all that waits to the disk. Returns the number of openings that are forgotten."""
        before = len(self._evidence.table.openings)
        self._evidence.table.forget(devices)
        self._evidence.traffic.forget(devices)
        if await self._gateway.submit(Reevaluation(self._decider).record_counted_refusals) is not None:
            raise StoreError("the kernel or the disk failed: nothing was erased on the disk")
        await self._gateway.remember()
        await self._evidence.flush()
        return before - len(self._evidence.table.openings)

    async def _delete(self, search: Callable[[Connection], erasing.Numbers]) -> tuple[int, int]:
        """Deletes decisions. Returns how many, and how many stay for their mappings."""
        numbers = await self._store.read(search)
        deleted = sum([await self._deleted(portion) for portion in erasing.portions(numbers)])
        await self._store.erase(erasing.delete_unused_policies)
        return deleted, len(numbers) - deleted

    async def _deleted(self, portion: erasing.Numbers) -> int:
        count = 0

        def delete(db: Connection) -> None:
            nonlocal count
            count = erasing.delete_decisions(db, portion)

        await self._store.erase(delete)
        return count

    async def _delete_policies(self, names: Collection[str]) -> None:
        """Deletes kept policies in which one of these identifiers stands. ``explain`` then says so."""
        named = erasing.pattern_of(names)

        def naming(db: Connection) -> list[str]:
            return [digest for digest, body in erasing.old_policies(db) if any(map(named.search, _texts(body)))]

        digests = await self._store.read(naming)
        if digests:
            await self._store.erase(partial(erasing.delete_policies, digests=digests))


def _texts(body: bytes) -> tuple[str, ...]:
    try:
        return texts_of(body)
    except NotKept:
        return ()
