"""The files of the policy in force: the operator's or the built-in one, and the one that the commands write.

The operator's file is read and never written. ``approved.toml`` in the state directory is the gateway's own; it is
replaced as a whole, so that a crash leaves the old one or the new one. Both become one policy, all of it or none:
names are unique across them, and the tests of the operator's file hold for what the commands add.

The operator's file comes into force by a start or a reload alone: a command adds to the policy that is in force,
whatever is being written in the file meanwhile.
"""

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from upnp_gw.gate.address_lists import AddressLists, LoadedLists
from upnp_gw.gate.build import ManagedPolicy
from upnp_gw.gate.builtin import WHERE as HOME
from upnp_gw.gate.builtin import home_text
from upnp_gw.gate.list_files import ListFiles
from upnp_gw.gate.load import LoadedPolicy, load_over_approved, load_tables, read_own_text, read_text
from upnp_gw.gate.managed_file import ManagedChange, ManagedText, ended
from upnp_gw.model.errors import ConfigError, StoreError
from upnp_gw.system.files import FileProblem, sync_directory, write_own
from upnp_gw.system.process import collection_paused
from upnp_gw.text.toml import locate_errors, parse_tables, with_line

log = logging.getLogger(__name__)

APPROVED = "approved.toml"
Load = Callable[[Mapping[str, object], str, date, ManagedPolicy, AddressLists], LoadedPolicy]


def local_today(wall: float) -> date:
    return datetime.fromtimestamp(wall, UTC).astimezone().date()


@dataclass(slots=True)
class PolicyFiles:
    """The two files. ``clock`` gives wall-clock seconds."""

    operator: Path | None
    """None: the built-in home policy."""
    machine: Path
    clock: Callable[[], float]
    lists: ListFiles = field(init=False)
    """The address lists of the operator's file."""

    def __post_init__(self) -> None:
        self.lists = ListFiles(self.operator.parent if self.operator is not None else self.machine.parent)

    @property
    def source(self) -> str:
        """The source of the policy, for messages."""
        return str(self.operator) if self.operator is not None else HOME

    def load(self) -> LoadedPolicy:
        """Both files as they are now. Raises ConfigError, which names the file and the key."""
        operator_text = read_text(self.operator) if self.operator is not None else home_text()
        self.lists.forget()
        return self._judged(operator_text, self.text(), self.lists, load_over_approved)

    def with_lists(self, loaded: LoadedPolicy) -> LoadedPolicy:
        """A policy with its address lists as they are now; the operator's file is not read. Raises ConfigError."""
        return self._judged(loaded.text, self.text(), self.lists, load_over_approved)

    def prepare(self, change: ManagedChange, in_force: LoadedPolicy) -> tuple[LoadedPolicy, ManagedText]:
        """Writes a draft beside the machine-owned file, where ``tried`` finds no fault. ``keep`` or ``drop``
        follows.

        Raises ConfigError where it does, StoreError where it cannot be written; nothing is beside it then.
        """
        loaded, written = self.tried(change, in_force)
        write_file(self._draft, written.text)
        return loaded, written

    def tried(self, change: ManagedChange, in_force: LoadedPolicy) -> tuple[LoadedPolicy, ManagedText]:
        """The machine-owned file with the change and without rules that have ended, if the whole is sound with the
        operator's file and its address lists as they are in force. Writes nothing. Raises ConfigError."""
        text = self.text()
        ended_rules = ended(self._parsed(text), self.clock()) | in_force.crossing
        full = ManagedChange(
            change.devices, change.forbids, change.grants, change.without | ended_rules, change.renamed
        )
        written = self._written(text, full)
        lists = LoadedLists(in_force.policy.sets.values())
        return self._judged(in_force.text, written.text, lists, load_tables), written

    def _written(self, text: str, change: ManagedChange) -> ManagedText:
        from upnp_gw.gate.managed_edit import changed  # tomlkit: see there

        try:
            return changed(text, change)
        except Exception as error:  # somebody edited the file: it is sound TOML, in a form that tomlkit cannot edit
            problem = f"no command can edit it as it is written ({error}); write each rule as a table of its own"
            raise ConfigError(str(self.machine), "", problem) from error

    def keep(self) -> None:
        """Makes the prepared text the machine-owned file. Raises StoreError; the file is unchanged then."""
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
        """Deletes the prepared text: it did not come into force."""
        with suppress(OSError):
            self._draft.unlink()

    @property
    def _draft(self) -> Path:
        return self.machine.with_name(f".{self.machine.name}.new")

    def _judged(self, own_text: str, text: str, lists: AddressLists, load: Load) -> LoadedPolicy:
        """The policy with these texts as the two files. Rules that have ended are left out."""
        where, today = self.source, local_today(self.clock())
        with collection_paused(), locate_errors(own_text, where), locate_errors(text, str(self.machine)):
            written = self._parsed(text)
            ended_rules = ended(written, self.clock())
            approved = ManagedPolicy(written, str(self.machine), ended_rules)
            own = parse_tables(own_text, where)
            try:
                found = load(own, where, today, approved, lists)
                return replace(found, text=own_text, where=where, approved=text, ended=ended_rules | found.crossing)
            except ConfigError as error:
                if error.where != where:
                    raise
                load_tables(
                    own, where, today, lists=lists
                )  # a mistake in the operator's file alone is reported as its own
                conflict = with_line(error, own_text)
            raise ConfigError(str(self.machine), "", f"conflicts with the policy file: {conflict}") from None

    def text(self) -> str:
        """The machine-owned file; empty where there is none. Raises ConfigError."""
        return read_own_text(self.machine)

    def _parsed(self, text: str) -> dict[str, Any]:
        return parse_tables(text, str(self.machine)) if text else {"version": 1}


def count_rules(raw: dict[str, Any]) -> str:
    """The number of tables of each kind in the machine-owned file, in words; empty: none."""
    counts = {kind: len(raw.get(kind, ())) for kind in ("device", "forbid", "grant")}
    return ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in counts.items() if count)


def write_file(path: Path, text: str) -> None:
    """Writes a file to the disk, whole or not at all, and never to where a link leads. Raises StoreError."""
    try:
        write_own(path, text.encode("utf-8"))
    except FileProblem as error:
        raise StoreError(str(error)) from error
