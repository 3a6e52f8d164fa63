"""A policy comes into force: what stands is decided again, and people are told what became of it.

The writer does it as one operation, so that no request is decided half by one policy and half by the other. Where
the kernel or the store does not take it, the old policy is in force again.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from upnp_gw.engine.decider import Decider
from upnp_gw.engine.kept_policies import KeptPolicies
from upnp_gw.engine.policy_files import Enforcer
from upnp_gw.engine.reevaluation import Reevaluation, RevokedMapping, tell
from upnp_gw.gate.load import LoadedPolicy
from upnp_gw.ledger.events import Events, PolicyChanged
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.errors import ConfigError, FirewallError, GatewayError
from upnp_gw.store.store import Store

log = logging.getLogger(__name__)

Submit = Callable[[Callable[[Transaction], None]], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """A policy that came into force."""

    loaded: LoadedPolicy
    before: str
    """The hash of the one before it."""
    fallen: tuple[RevokedMapping, ...]
    """What it does not allow any more, ended or kept."""
    standing: int
    """Mappings that stand."""
    warnings: tuple[str, ...]


@dataclass(slots=True)
class Reload:
    """What the daemon knows of its policy. ``map_size``: how many mappings the kernel's maps hold."""

    decider: Decider
    submit: Submit
    events: Events
    map_size: int
    now_in_force: LoadedPolicy
    since: float
    """Wall-clock seconds since when it is in force."""
    wall: Callable[[], float]
    kept: KeptPolicies
    problem: str | None = None
    """Why the files as they are now are not in force; None: they are."""
    last: PolicyInForce | None = field(default=None, init=False)

    async def enforce(self, loaded: LoadedPolicy) -> tuple[RevokedMapping, ...]:
        """For ``policies.Enforcer``: the mappings that are not allowed any more. Raises FirewallError where the
        policy did not come into force."""
        await self.kept.keep(self.now_in_force, loaded)
        try:
            return await self._enforce(loaded)
        finally:
            await self._settle()

    @classmethod
    async def begin(
        cls,
        decider: Decider,
        submit: Submit,
        events: Events,
        store: Store,
        map_size: int,
        loaded: LoadedPolicy,
        wall: Callable[[], float],
    ) -> "Reload":
        """This policy is in force at the start."""
        made = cls(decider, submit, events, map_size, loaded, wall(), wall, KeptPolicies(store))
        await made.kept.keep(loaded)
        await made._settle()
        return made

    async def _settle(self) -> None:
        decider = self.decider
        await self.kept.in_force(decider.policy.digest, decider.ledger.numbers.decision)

    async def _enforce(self, loaded: LoadedPolicy) -> tuple[RevokedMapping, ...]:
        decider = self.decider
        old, fallen = decider.policy, list[RevokedMapping]()

        def change(transaction: Transaction) -> None:
            fallen[:] = Reevaluation(self.decider).policy_changed(transaction, loaded.policy)

        if await self.submit(change) is not None:
            decider.policy, decider.history.limits = old, old.limits
            raise FirewallError("the kernel or the disk did not take what the new policy ends")
        self.now_in_force, self.since = loaded, self.wall()
        warnings = (*map(str, loaded.warnings), *self._not_yet(loaded))
        standing = len(self.decider.ledger.table)
        self.last = PolicyInForce(loaded, old.digest, tuple(fallen), standing, warnings)
        self._tell(self.last)
        self.events.publish(PolicyChanged(loaded.policy.digest))
        return self.last.fallen

    async def reload(self, enforcer: Enforcer) -> PolicyInForce:
        """Both policy files as they are now. Raises GatewayError; the old policy is in force then, and ``status``
        says so until a reload succeeds."""
        try:
            await enforcer.reload()
        except GatewayError as error:
            if isinstance(error, ConfigError):
                self.problem = str(error)
            log.error("the policy stays as it was: %s", error)
            raise
        self.problem = None
        assert self.last is not None  # enforce has just set it
        return self.last

    def _not_yet(self, loaded: LoadedPolicy) -> tuple[str, ...]:
        limit = loaded.policy.limits.total_mappings
        if limit <= self.map_size:
            return ()
        return (f"limits: total_mappings is {limit} from the next start on; until then {self.map_size}",)

    def _tell(self, done: PolicyInForce) -> None:
        for warning in done.warnings:
            log.warning("policy: %s", warning)
        tell(done.fallen)
        log.info("policy %s in force", done.loaded.policy.digest)
