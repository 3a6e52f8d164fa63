"""Which policy is in force: the operator's file, or the built-in one, and what the commands wrote beside it.

The operator's file is read and never written. ``approved.toml`` in the state directory is the gateway's own; it is
replaced as a whole, so that a crash leaves the old one or the new one. Both become one policy, all of it or none:
names are unique across them, and the tests of the operator's file hold for what the commands add.

The operator's file comes into force by a start or a reload alone: a command adds to the policy that is in force,
whatever is being written in the file meanwhile.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from upnp_gw.engine.reevaluation import RevokedMapping
from upnp_gw.gate.build import ManagedPolicy
from upnp_gw.gate.builtin import WHERE as HOME
from upnp_gw.gate.builtin import home_text
from upnp_gw.gate.load import LoadedPolicy, load_tables, read_own_text, read_text
from upnp_gw.gate.managed_file import ManagedChange, ManagedText, changed, ended, first_end, without_rules
from upnp_gw.model.errors import ConfigError, GatewayError, StoreError
from upnp_gw.store.store import Store
from upnp_gw.system.files import FileProblem, sync_directory, write_own
from upnp_gw.text.toml import locate_errors, parse_tables, with_line

log = logging.getLogger(__name__)

APPROVED = "approved.toml"
NOTE = "approved"
"""The key in the store of what the machine-owned file had in it."""


def local_today(wall: float) -> date:
    return datetime.fromtimestamp(wall, UTC).astimezone().date()


@dataclass(slots=True)
class Policies:
    """The two sources. ``clock`` gives wall-clock seconds."""

    operator: Path | None
    """None: the built-in home policy."""
    machine: Path
    clock: Callable[[], float]
    in_force: LoadedPolicy | None = None
    """None: nothing yet; the first ``load`` is what the gateway starts with."""
    _raw: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """What people are told the policy comes from."""
        return str(self.operator) if self.operator is not None else HOME

    @property
    def approved(self) -> dict[str, Any]:
        """The tables of the machine-owned file as they were last in force."""
        return self._raw

    def load(self) -> LoadedPolicy:
        """Both files as they are now. Raises ConfigError, which names the file and the key."""
        found = self._judged(self._operators_text(), self.text())
        if self.in_force is None:
            self.adopt(found)
        return found

    def adopt(self, loaded: LoadedPolicy) -> None:
        """This is in force now."""
        self.in_force, self._raw = loaded, self._unended(self._parsed(loaded.approved))

    def prepare(self, change: ManagedChange) -> tuple[LoadedPolicy, ManagedText]:
        """Writes the change, and the rules whose end has passed out of the file, beside it, where the whole is
        sound with the operator's file as it is in force. ``keep`` or ``drop`` says what becomes of it.

        Raises ConfigError where it is not, StoreError where it cannot be written; nothing is beside it then.
        """
        text = self.text()
        gone = ended(self._parsed(text), self.clock())
        full = ManagedChange(change.devices, change.forbids, change.grants, change.without | gone, change.renamed)
        written = self._written(text, full)
        own = self.in_force.text if self.in_force is not None else self._operators_text()
        found = self._judged(own, written.text)
        write_file(self._draft, written.text)
        return found, written

    def _written(self, text: str, change: ManagedChange) -> ManagedText:
        try:
            return changed(text, change)
        except Exception as error:  # somebody edited the file: it is sound TOML, in a form that tomlkit cannot edit
            problem = f"no command can edit it as it is written ({error}); write each rule as a table of its own"
            raise ConfigError(str(self.machine), "", problem) from error

    def keep(self) -> None:
        """What was prepared is the machine-owned file from now on. Raises StoreError; it is as it was then."""
        try:
            os.replace(self._draft, self.machine)
        except OSError as error:
            self.drop()
            raise StoreError(f"{self.machine}: cannot be written: {error.strerror}") from error
        try:
            sync_directory(self.machine.parent)
        except OSError as error:
            log.warning("%s: a power loss may bring back the one before it: %s", self.machine, error.strerror)

    def drop(self) -> None:
        """What was prepared did not come into force."""
        with suppress(OSError):
            self._draft.unlink()

    def next_end(self) -> float | None:
        """Wall-clock seconds at which the first rule of the machine-owned file ends; None: none will."""
        return first_end(self._raw)

    @property
    def _draft(self) -> Path:
        return self.machine.with_name(f".{self.machine.name}.new")

    def _judged(self, own_text: str, text: str) -> LoadedPolicy:
        """The policy with these texts as the two files. What has ended counts no more."""
        where, today = self.source, local_today(self.clock())
        with locate_errors(own_text, where), locate_errors(text, str(self.machine)):
            written = self._parsed(text)
            gone = ended(written, self.clock())
            approved = ManagedPolicy(written, str(self.machine), gone)
            own = parse_tables(own_text, where)
            try:
                found = load_tables(own, where, today, approved)
                return replace(found, text=own_text, approved=text, ended=gone)
            except ConfigError as error:
                if error.where != where:
                    raise
                load_tables(own, where, today)  # a mistake in the operator's file alone is reported as its own
                conflict = with_line(error, own_text)
            raise ConfigError(str(self.machine), "", f"conflicts with the policy file: {conflict}") from None

    def _operators_text(self) -> str:
        return read_text(self.operator) if self.operator is not None else home_text()

    def _unended(self, raw: dict[str, Any]) -> dict[str, Any]:
        return without_rules(raw, ended(raw, self.clock()))

    def text(self) -> str:
        """The machine-owned file; empty where there is none. Raises ConfigError."""
        return read_own_text(self.machine)

    def _parsed(self, text: str) -> dict[str, Any]:
        return parse_tables(text, str(self.machine)) if text else {"version": 1}


def told_rules(raw: dict[str, Any]) -> str:
    """How many tables of each kind the machine-owned file has, for people; empty: none."""
    counts = {kind: len(raw.get(kind, ())) for kind in ("device", "forbid", "grant")}
    return ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in counts.items() if count)


class Enforcer:
    """Brings policies into force one after the other: a reload and a command never cross."""

    def __init__(
        self,
        policies: Policies,
        enforce: Callable[[LoadedPolicy], Awaitable[Sequence[RevokedMapping] | None]],
        store: Store | None = None,
    ) -> None:
        """``enforce`` answers the mappings that the policy does not allow any more. ``store`` keeps what is in the
        machine-owned file, so that it is told when the file is gone."""
        self.policies = policies
        self._enforce = enforce
        self._store = store
        self._one = asyncio.Lock()

    async def begin(self) -> None:
        """The policy is in force at the start."""
        await self._note()

    async def reload(self) -> LoadedPolicy:
        """The files as they are now. Raises ConfigError; the old policy stays in force then."""
        async with self._one:
            loaded = await asyncio.to_thread(self.policies.load)  # thousands of rules take seconds
            await self._enforce(loaded)
            self.policies.adopt(loaded)
            await self._note()
            return loaded

    async def change(self, make: Callable[[], ManagedChange]) -> tuple[ManagedText, Sequence[RevokedMapping]]:
        """Makes a change, brings it into force and writes it; ``make`` sees the policy that is in force. The answer
        is what was written, and the mappings that are not allowed any more.

        All that needs room on the disk is done before it comes into force. Raises ConfigError, StoreError and
        FirewallError; nothing has changed then.
        """
        async with self._one:
            loaded, written = await asyncio.to_thread(self.policies.prepare, make())
            try:
                fallen = await self._enforce(loaded)
            except BaseException:
                self.policies.drop()
                raise
            try:
                await asyncio.to_thread(self.policies.keep)
            except StoreError:
                await self._take_back()
                raise
            self.policies.adopt(loaded)
            await self._note()
            return written, fallen or ()

    async def _note(self) -> None:
        """A machine-owned file that is gone is told: without it blocks are lifted as well."""
        if self._store is None:
            return
        now = told_rules(self.policies.approved)
        try:
            before = await self._store.get(NOTE) or ""
            if before != now:
                await self._store.set(NOTE, now)
        except StoreError as error:
            log.warning("what is in %s is not noted: %s", self.policies.machine, error)
            return
        if before and not self.policies.machine.exists():
            log.error(
                "%s is gone, and with it %s that commands wrote: they do not count any more. Put a copy back and "
                "reload, or write them again",
                self.policies.machine,
                before,
            )

    async def _take_back(self) -> None:
        """The policy before the change, which is on disk, is in force again."""
        try:
            if self.policies.in_force is not None:
                await self._enforce(self.policies.in_force)
        except GatewayError as error:
            log.error("a change that is not on disk stays in force until the next reload: %s", error)


def write_file(path: Path, text: str) -> None:
    """Writes a file to the disk, whole or not at all, and never to where a link leads. Raises StoreError."""
    try:
        write_own(path, text.encode("utf-8"))
    except FileProblem as error:
        raise StoreError(str(error)) from error
