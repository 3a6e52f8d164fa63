"""Brings policies into force: the files at a reload, and what the operator's commands write.

The writer replaces the policy and decides every mapping again in one operation, so that no request is decided half
by one policy and half by the other. If the kernel or the store refuses, the writer undoes all of it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from upnp_gw.engine.crossed_invariants import standing_crossings
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.kept_policies import KeptPolicies
from upnp_gw.engine.policy_files import PolicyFiles, count_rules
from upnp_gw.engine.policy_in_force import hosts_of
from upnp_gw.engine.reevaluation import Reevaluation, RevokedMapping, log_revoked
from upnp_gw.firewall.base import HostLists
from upnp_gw.gate.load import LoadedPolicy
from upnp_gw.gate.managed_file import ManagedChange, ManagedText, rules_of
from upnp_gw.gate.proof.differences import opened_more
from upnp_gw.gate.remote import stale_sets
from upnp_gw.ledger.events import Events, PolicyChanged, PolicyRefused
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.errors import ConfigError, FirewallError, GatewayError, StoreError
from upnp_gw.store.store import Store
from upnp_gw.text.toml import parse_tables

log = logging.getLogger(__name__)

NOTE = "approved"
"""The key in the store of what the machine-owned file had in it."""
LISTS_S = 1.0
"""Seconds between looks at the files of the address lists."""
ENDED_S = 60.0
"""Seconds between removals of ended rules from the file. Their mappings end in time without it."""
Submit = Callable[[Callable[[Transaction], None]], Awaitable[object]]
"""Has the writer perform an operation; None: it is in the kernel and in the store."""
LoadHosts = Callable[[HostLists, HostLists], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class PolicyUpdate:
    """A policy that came into force."""

    loaded: LoadedPolicy
    before: str
    """The hash of the one before it."""
    revoked: tuple[RevokedMapping, ...]
    """Mappings that it does not allow any more, ended or kept."""
    standing: int
    """The number of mappings after the update."""
    warnings: tuple[str, ...]
    opens: tuple[str, ...] = ()
    """After a reload: the requests to which the policy says more than the one before it, in words."""


class PolicyUpdates:
    """One update after the other: a reload and a command never cross. Call ``begin`` once, at the start."""

    def __init__(
        self,
        files: PolicyFiles,
        decider: Decider,
        submit: Submit,
        events: Events,
        store: Store,
        map_size: int,
        also_changed: Callable[[], Sequence[str]] = tuple,
        load_hosts: LoadHosts | None = None,
    ) -> None:
        """``map_size``: the number of mappings for which the kernel's maps have room. ``also_changed``: a sentence
        for each change that a reload does not bring into force; it may wait for the disk. ``load_hosts``: brings
        long lists into the kernel in portions; None: a change brings them by itself."""
        self._also_changed = also_changed
        self.files = files
        self.in_force = decider.in_force
        self.kept = KeptPolicies(store)
        self.problem: str | None = None
        """The reason why the files as they are now are not in force; None: they are."""
        self.list_problem: str | None = None
        """The same of the address lists."""
        self._stale: frozenset[str] = frozenset()
        self._lists_came = asyncio.Event()
        """Set where a policy with address lists came into force."""
        self._decider = decider
        self._submit = submit
        self._load_hosts = load_hosts
        self._events = events
        self._store = store
        self._map_size = map_size
        self._lock = asyncio.Lock()

    async def begin(self) -> None:
        """Stores the policy that is in force at the start."""
        await self.kept.keep(self.in_force.loaded)
        await self._keep_in_force()
        await self._note_rules()
        await self._remove_crossing(self.in_force.loaded)

    async def reload(self) -> PolicyUpdate:
        """Brings both policy files into force. Raises GatewayError; the old policy stays in force then, and
        ``status`` says so until a reload succeeds."""
        try:
            async with self._lock:
                loaded = await asyncio.to_thread(self.files.load)  # thousands of rules take seconds
                before = self.in_force.policy
                update = await self._enforce(loaded)
                opens = await asyncio.to_thread(opened_more, before, loaded.policy)
                left = await asyncio.to_thread(self._also_changed)
                for sentence in left:
                    log.warning("%s", sentence)
                update = replace(update, warnings=(*update.warnings, *self._added_across(), *left), opens=opens)
                await self._note_rules()
        except GatewayError as error:
            if isinstance(error, ConfigError):
                self.problem = str(error)
                self._events.publish(PolicyRefused(self.problem))
            log.error("the policy stays as it was: %s", error)
            raise
        self.problem = self.list_problem = None
        await self._remove_crossing(update.loaded)
        return update

    async def _remove_crossing(self, loaded: LoadedPolicy) -> None:
        """Removes grants that a new ``[[never]]`` has ended from the machine-owned file: they do not come back when
        it is taken away."""
        if not loaded.crossing:
            return
        from upnp_gw.gate.managed_edit import toml_of  # tomlkit: see there

        removed = toml_of(rules_of(parse_tables(loaded.approved, str(self.files.machine)), loaded.crossing))
        try:
            await self.change(lambda: ManagedChange({}))
        except GatewayError as error:
            log.error("cannot remove ended rules from the file: %s", error)
            return
        log.warning("removed from %s: %s", self.files.machine, " ".join(removed.split()))

    async def follow_lists(self) -> None:
        """Brings each change of an address list into force, until cancelled."""
        while True:
            if not self.in_force.policy.sets:
                self._lists_came.clear()
                await self._lists_came.wait()
            await asyncio.sleep(LISTS_S)
            self._note_stale()
            if self.files.lists.settled_change():
                await self.load_lists()

    async def load_lists(self) -> None:
        """Brings the address lists as they are now into force. If one is broken, all stay as they were: the log and
        ``status`` say so."""
        try:
            async with self._lock:
                loaded = await asyncio.to_thread(self.files.with_lists, self.in_force.loaded)
                await self._enforce(loaded)
        except GatewayError as error:
            self.list_problem = f"the address lists stay as they were: {error}"
            log.error("%s", self.list_problem)
            self._events.publish(PolicyRefused(self.list_problem))
            return
        self.list_problem = None

    @property
    def stale_lists(self) -> frozenset[str]:
        """The address lists that are out of date."""
        return stale_sets(self.in_force.policy.sets, self._decider.environment.clock().wall)

    def _note_stale(self) -> None:
        stale, before = self.stale_lists, self._stale
        self._stale = stale
        for name in sorted(stale - before):
            one = self.in_force.policy.sets[name]
            log.warning(
                "the address list %s (%s) is out of date: what is new and depends on it is refused, and leases run"
                " out until the file is renewed",
                name,
                one.file,
            )
        for name in sorted(before - stale):
            log.info("the address list %s is up to date again", name)

    @asynccontextmanager
    async def standing(self) -> AsyncIterator[LoadedPolicy]:
        """The policy in force. No other one comes into force while this lasts."""
        async with self._lock:
            yield self.in_force.loaded

    async def change(self, make: Callable[[], ManagedChange]) -> tuple[ManagedText, Sequence[RevokedMapping]]:
        """Makes a change, brings it into force and writes it; ``make`` sees the policy that is in force. The answer
        is what was written, and the mappings that are not allowed any more.

        All that needs room on the disk is done before it comes into force. Raises ConfigError, StoreError and
        FirewallError; nothing has changed then.
        """
        async with self._lock:
            before = self.in_force.loaded
            loaded, written = await asyncio.to_thread(self.files.prepare, make(), before)
            try:
                update = await self._enforce(loaded)
            except BaseException:
                self.files.drop()
                raise
            try:
                await asyncio.to_thread(self.files.keep)
            except StoreError:
                await self._take_back(before)
                raise
            await self._note_rules()
            return written, update.revoked

    async def try_change(self, make: Callable[[], ManagedChange]) -> ManagedText:
        """The text that ``change`` would write. Changes nothing. Raises ConfigError where it would be refused."""
        async with self._lock:
            _, written = await asyncio.to_thread(self.files.tried, make(), self.in_force.loaded)
            return written

    async def follow(self, asked: asyncio.Event) -> None:
        """Reloads the policy files each time the event is set, until cancelled. If it is set many times at once,
        they are reloaded once or twice."""
        while True:
            await asked.wait()
            asked.clear()
            try:
                await self.reload()
            except GatewayError:
                pass  # it is logged, and ``status`` shows it
            except Exception:
                log.exception("cannot reload the policy")

    async def keep_ended_out(self) -> None:
        """Removes ended rules from the machine-owned file, until cancelled."""
        while True:
            await asyncio.sleep(ENDED_S)
            await self.remove_ended()

    async def remove_ended(self) -> None:
        """Removes ended rules from the machine-owned file, and ends their mappings."""
        end = self.in_force.next_end()
        if end is not None and end <= self._decider.environment.clock().wall:
            try:
                await self.change(lambda: ManagedChange({}))
            except GatewayError as error:
                log.error("cannot remove ended rules from the file: %s", error)

    async def _enforce(self, loaded: LoadedPolicy) -> PolicyUpdate:
        """Raises FirewallError where the policy did not come into force."""
        before = self.in_force.loaded
        await self.kept.keep(before, loaded)
        revoked: list[RevokedMapping] = []
        if self._load_hosts is not None:
            await self._load_hosts(hosts_of(before.policy), hosts_of(loaded.policy))

        def replace(transaction: Transaction) -> None:
            revoked[:] = Reevaluation(self._decider).policy_changed(transaction, loaded)

        try:
            if await self._submit(replace) is not None:
                raise FirewallError("the kernel or the disk failed to end mappings that the new policy refuses")
        finally:
            await self._keep_in_force()
        warnings = (*map(str, loaded.warnings), *self._not_yet(loaded))
        remaining = len(self._decider.ledger.table)
        update = PolicyUpdate(loaded, before.policy.digest, tuple(revoked), remaining, warnings)
        for warning in warnings:
            log.warning("policy: %s", warning)
        log_revoked(revoked)
        if loaded.policy.sets:
            self._lists_came.set()
        log.info("policy %s in force", loaded.policy.digest)
        self._events.publish(PolicyChanged(loaded.policy.digest))
        return update

    async def _take_back(self, before: LoadedPolicy) -> None:
        """The policy before the change, which is on disk, is in force again."""
        try:
            await self._enforce(before)
        except GatewayError as error:
            log.error("a change that is not on disk stays in force until the next reload: %s", error)

    async def _keep_in_force(self) -> None:
        await self.kept.in_force(self.in_force.policy.digest, self._decider.ledger.numbers.decision)

    async def _note_rules(self) -> None:
        """Stores how many rules the machine-owned file has, and logs if the file is gone: its blocks are lifted."""
        now = count_rules(self.in_force.approved)
        machine = self.files.machine
        try:
            before = await self._store.get(NOTE) or ""
            if before != now:
                await self._store.set(NOTE, now)
        except StoreError as error:
            log.warning("the number of rules in %s is not stored: %s", machine, error)
            return
        if before and not machine.exists():
            log.error(
                "%s is gone, and with it %s that commands wrote: they do not count any more. Put a copy back and "
                "reload, or write them again",
                machine,
                before,
            )

    def _added_across(self) -> tuple[str, ...]:
        """A sentence for each mapping of the operator that crosses an invariant of the new policy."""
        decider = self._decider
        found = tuple(standing_crossings(decider, Transaction(decider.ledger, decider.environment.clock())))
        for sentence in found:
            log.warning("%s", sentence)
        return found

    def _not_yet(self, loaded: LoadedPolicy) -> tuple[str, ...]:
        limit = loaded.policy.limits.total_mappings
        if limit <= self._map_size:
            return ()
        return (f"limits: total_mappings is {limit} from the next start on; until then {self._map_size}",)
