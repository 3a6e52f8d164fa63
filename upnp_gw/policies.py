"""Which policy is in force: the operator's file, or the built-in one, and what the commands wrote beside it.

The operator's file is read and never written. ``approved.toml`` in the state directory is the gateway's own; it is
replaced as a whole, so that a crash leaves the old one or the new one. Both become one policy, all of it or none:
names are unique across them, and the tests of the operator's file hold for what the commands add.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from upnp_gw.errors import ConfigError, GatewayError, StoreError
from upnp_gw.gate.approved import Change, Written, changed, ended, first_end, without
from upnp_gw.gate.build import Approved
from upnp_gw.gate.home import WHERE as HOME
from upnp_gw.gate.home import home_text
from upnp_gw.gate.load import Loaded, loaded, parsed, read_text

APPROVED = "approved.toml"


def local_today(wall: float) -> date:
    return datetime.fromtimestamp(wall, UTC).astimezone().date()


@dataclass(slots=True)
class Policies:
    """The two sources. ``clock`` gives wall-clock seconds."""

    operator: Path | None
    """None: the built-in home policy."""
    machine: Path
    clock: Callable[[], float]
    _raw: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """What people are told the policy comes from."""
        return str(self.operator) if self.operator is not None else HOME

    @property
    def approved(self) -> dict[str, Any]:
        """The tables of the machine-owned file as they were last in force."""
        return self._raw

    def load(self) -> Loaded:
        """Both files as they are now. Raises ConfigError, which names the file and the key."""
        found, raw = self._judged(self.text())
        self._raw = raw
        return found

    def change(self, change: Change) -> tuple[Loaded, Written]:
        """Writes the change, and the rules whose end has passed out of the file, where the whole is sound.

        Raises ConfigError where it is not, StoreError where it cannot be written; the file is as it was then.
        """
        text = self.text()
        gone = ended(self._parsed(text), self.clock())
        full = Change(change.devices, change.forbids, change.grants, change.without | gone, change.renamed)
        written = changed(text, full)
        found, raw = self._judged(written.text)
        replace_file(self.machine, written.text)
        self._raw = raw
        return found, written

    def next_end(self) -> float | None:
        """Wall-clock seconds at which the first rule of the machine-owned file ends; None: none will."""
        return first_end(self._raw)

    def _judged(self, text: str) -> tuple[Loaded, dict[str, Any]]:
        """The policy with this text as the machine-owned file. What has ended counts no more."""
        raw, where, today = self._parsed(text), self.source, local_today(self.clock())
        in_force = without(raw, ended(raw, self.clock()))
        own_text = read_text(self.operator) if self.operator is not None else home_text()
        own = parsed(own_text, where)
        try:
            found = loaded(own, where, today, Approved(in_force, str(self.machine)))
            return replace(found, text=own_text, approved=text), in_force
        except ConfigError as error:
            if error.where != where:
                raise
            loaded(own, where, today)  # what is wrong with the operator's file alone is told of it alone
            problem = f"does not go together with {error.where}: {error.key}: {error.problem}"
            raise ConfigError(str(self.machine), "", problem) from None

    def put_back(self, text: str) -> None:
        """The machine-owned file as it was before a change that did not come into force."""
        replace_file(self.machine, text)
        self._raw = without(raw := self._parsed(text), ended(raw, self.clock()))

    def text(self) -> str:
        """The machine-owned file; empty where there is none. Raises ConfigError."""
        return read_text(self.machine) if self.machine.exists() else ""

    def _parsed(self, text: str) -> dict[str, Any]:
        return parsed(text, str(self.machine)) if text else {"version": 1}


class Enforcer:
    """Brings policies into force one after the other: a reload and a command never cross."""

    def __init__(self, policies: Policies, enforce: Callable[[Loaded], Awaitable[None]]) -> None:
        self.policies = policies
        self._enforce = enforce
        self._one = asyncio.Lock()

    async def reload(self) -> Loaded:
        """The files as they are now. Raises ConfigError; the old policy stays in force then."""
        async with self._one:
            loaded = self.policies.load()
            await self._enforce(loaded)
            return loaded

    async def change(self, make: Callable[[], Change]) -> Written:
        """Makes a change, writes it and brings it into force; ``make`` sees the policy that is in force.

        Raises ConfigError, StoreError and FirewallError; nothing has changed then.
        """
        async with self._one:
            before = self.policies.text()
            loaded, written = await asyncio.to_thread(self.policies.change, make())
            try:
                await self._enforce(loaded)
            except GatewayError:
                await asyncio.to_thread(self.policies.put_back, before)
                raise
            return written


def replace_file(path: Path, text: str) -> None:
    """Replaces a file by one with this text: a crash leaves the old or the new one, whole. Raises StoreError."""
    draft = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error
