"""Brings one batch of transactions into the kernel and then into the store, or undoes all of it."""

import logging
from collections.abc import Callable, Sequence
from time import perf_counter_ns

from upnp_gw.engine.measurements import Measurements
from upnp_gw.engine.persistence import Persistence, StoreWrite
from upnp_gw.engine.request_log import log_kernel_changes
from upnp_gw.firewall.base import Change, Close, Cut, Firewall, Forward, HostLists, UpdateHosts
from upnp_gw.ledger.forwards import kernel_changes, mapping_id
from upnp_gw.ledger.transaction import Ledger, Transaction
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Instant

log = logging.getLogger(__name__)


class KernelAndStore:
    """Only the writer calls ``write``, one batch after the other."""

    def __init__(
        self,
        ledger: Ledger,
        firewall: Firewall,
        persistence: Persistence,
        measurements: Measurements,
        on_fault: Callable[[str], None],
    ) -> None:
        """``on_fault``: has our table installed again; the argument is the reason."""
        self._ledger = ledger
        self._firewall = firewall
        self._persistence = persistence
        self._measurements = measurements
        self._on_fault = on_fault

    async def write(self, transactions: Sequence[Transaction], now: Instant) -> bool:
        """One transaction of the kernel, then one of the store; False: neither holds it, all of it is undone."""
        pairs = [pair for transaction in transactions for pair in transaction.pairs]
        hosts = [transaction.hosts for transaction in transactions if transaction.hosts is not None]
        changes = [
            *(UpdateHosts(after) for _, after in hosts[-1:]),
            *kernel_changes(pairs, self._ledger.table, now),
        ]
        log_kernel_changes(changes)
        in_kernel = not changes
        try:
            async with self._persistence.one_writer:
                write = self._persistence.prepared(transactions, now)
                in_kernel = in_kernel or await self._in_kernel(changes, write)
                if not in_kernel:
                    self._persistence.not_written(write)
                elif await self._persistence.written(write, transactions):
                    if write.batch:
                        self._measurements.store_time.add(write.took_ns)
                    return True
        except Exception:
            log.exception("cannot write to the store")
        _undo(transactions)
        if in_kernel:
            undone = [(after, before) for before, after in reversed(pairs)]
            back = kernel_changes(undone, self._ledger.table, now)
            # nobody was told of what they opened: flows that came in meanwhile end at once
            cuts = [Cut(one.forward) for one in back if isinstance(one, Close) and self._unknown(one.forward)]
            await self._apply_quietly([*(UpdateHosts(before) for before, _ in hosts[:1]), *back, *cuts])
        return False

    async def update_hosts(self, hosts: HostLists) -> None:
        """Brings lists of remote hosts into the kernel, while the writer is alone. Raises FirewallError."""
        await self._firewall.apply([UpdateHosts(hosts)])

    def _unknown(self, forward: Forward) -> bool:
        return self._ledger.table.get(mapping_id(forward.id)) is None

    async def _in_kernel(self, changes: Sequence[Change], write: StoreWrite) -> bool:
        """The kernel has the changes, and in most cases the store as well: one change of threads for both."""
        began = perf_counter_ns()
        try:
            await self._firewall.apply(changes, write)
        except Exception as error:
            if isinstance(error, FirewallError) and not write.tried:
                log.error("the kernel refused %d changes: %s", len(changes), error)
                return False
            log.exception("the firewall failed; all of it is installed again")
            self._on_fault("a fault of ours")
            return write.tried  # in the store: then the kernel gets them with the table
        self._measurements.kernel_time.add(perf_counter_ns() - began - write.took_ns)
        return True

    async def _apply_quietly(self, changes: Sequence[Change]) -> None:
        """Undoes the changes that the store did not accept. If that fails too, the table is installed again."""
        try:
            if changes:
                await self._firewall.apply(changes)
        except FirewallError as error:
            self._on_fault(f"a change could not be undone ({error})")
        except Exception:
            log.exception("a change could not be undone; all of it is installed again")
            self._on_fault("a fault of ours")


def _undo(transactions: Sequence[Transaction]) -> None:
    for transaction in reversed(transactions):
        transaction.undo()
