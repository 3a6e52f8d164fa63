"""One restore in three steps: the whole file is read and checked, new files are made, they are put in place.

Until the last step nothing of the present state changes.
"""

import shutil
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from upnp_gw.backup import archive, placing
from upnp_gw.backup.checking import CheckedLedger, check_ledger
from upnp_gw.backup.manifest import APPROVED, CONFIG, LEDGER, POLICY, Manifest, parse_manifest
from upnp_gw.backup.problem import BackupProblem
from upnp_gw.backup.rebuilding import Choice, PresentLedger, Selection, read_present, rebuild, sort_mappings
from upnp_gw.config.file import parse_text
from upnp_gw.engine.policy_files import PolicyFiles, local_today
from upnp_gw.gate.address_lists import list_names
from upnp_gw.gate.load import LARGEST, LoadedPolicy, load_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import Instant
from upnp_gw.store.schema import SCHEMA_VERSION
from upnp_gw.system.files import FileProblem, read_own

CLOCK_S = 300.0
"""The most seconds that this machine's clock may be before the time of the backup."""


@dataclass(slots=True)
class Restore:
    """``staging``: the directory for new files: the state directory, or another one for a dry run. ``boot``,
    ``now``: of this machine."""

    staging: Path
    state: Path
    policy: Path | None
    """The policy file of this machine; None: the built-in one."""
    boot: str
    now: Instant
    choice: Choice = field(default_factory=Choice)

    manifest: Manifest = field(init=False)
    ledger: CheckedLedger = field(init=False)
    selection: Selection = field(init=False)
    texts: Mapping[str, str] = field(init=False)
    """Part -> its text; empty if the backup does not have it."""
    loaded: LoadedPolicy = field(init=False)
    """The policy of this machine with the rules of the backup."""
    _present: PresentLedger = field(init=False)

    def read(self, file: BinaryIO) -> None:
        """Reads the file and checks all of it. Raises BackupProblem, FileProblem and ConfigError."""
        placing.clear(self.staging)
        self.manifest = archive.unpack(file, lambda data: parse_manifest(data, SCHEMA_VERSION), self._paths)
        if self.choice.mappings and self.now.wall < self.manifest.made_at.timestamp() - CLOCK_S:
            made_at = f"{self.manifest.made_at:%Y-%m-%d %H:%M} UTC"
            raise BackupProblem(
                f"the clock of this machine is before the time of the backup, {made_at}, so leases that have ended"
                " cannot be told: set the clock, or use --without-mappings"
            )
        self.texts = {name: read_part(self._path(name), name) for name in (APPROVED, POLICY, CONFIG)}
        self.ledger = check_ledger(self._path(LEDGER), self.boot, self.now)
        self._present = read_present(self.state / LEDGER, self.boot, self.now)
        self.selection = sort_mappings(self.ledger, self._present, self.choice, self.now)
        self.loaded = self._load_policy()

    def perform(self) -> list[Path]:
        """Makes the new ledger and puts all new files in place. Returns the files that were there before, under
        their new names. Raises BackupProblem, FileProblem and OSError."""
        new = placing.new_file(self.staging, LEDGER)
        try:
            rows = self.selection.restored
            rebuild(self.ledger, new, rows, self._present, self.choice, self.boot, self.now)
        except sqlite3.Error as error:
            raise BackupProblem(f"the new ledger cannot be made: {error}") from error
        self._path(LEDGER).unlink()
        return placing.place(self.state, approved=bool(self.texts[APPROVED]), wall=self.now.wall)

    def clear(self) -> None:
        """Removes the new files of a restore that does not happen. Raises OSError."""
        placing.clear(self.staging)

    @property
    def devices(self) -> int:
        """The number of devices that the gate knows."""
        return self.ledger.devices

    def _paths(self, manifest: Manifest) -> dict[str, Path]:
        needed = 2 * sum(part.size for part in manifest.parts.values())
        if shutil.disk_usage(self.staging).free < needed:
            raise BackupProblem(f"{self.staging}: {needed} bytes are needed, and there are fewer")
        return {name: self._path(name) for name in manifest.parts}

    def _path(self, name: str) -> Path:
        """The place of an unpacked part. The ledger is made anew from it, and approved.toml is taken as it is."""
        if name == APPROVED:
            return placing.new_file(self.staging, APPROVED)
        return self.staging / f"{LEDGER}{placing.NEW}-{name}"

    def _load_policy(self) -> LoadedPolicy:
        files = PolicyFiles(self.policy, self._path(APPROVED), lambda: self.now.wall)
        try:
            return files.load()
        except ConfigError as error:
            if error.where != str(files.machine):
                raise
            place = f"{error.key}: " if error.key else ""
            raise BackupProblem(
                f"its {APPROVED} is not accepted by this machine: {place}{error.problem}"
            ) from error


def read_files(file: BinaryIO, staging: Path) -> dict[str, tuple[str, list[str]]]:
    """The operator's files of a backup: name -> text, and what is to know about it. Raises BackupProblem."""
    names = (CONFIG, POLICY)
    archive.unpack(
        file,
        lambda data: parse_manifest(data, SCHEMA_VERSION),
        lambda manifest: {name: staging / name for name in names if name in manifest.parts},
    )
    found: dict[str, tuple[str, list[str]]] = {}
    for name in names:
        text = read_part(staging / name, name)
        if text:
            found[name] = text, _findings(name, text)
    return found


def _findings(name: str, text: str) -> list[str]:
    """Warnings about a file, or the reason why it is not accepted."""
    try:
        if name == POLICY and (lists := list_names(text, name)):
            return [f"it needs its address lists beside it: {', '.join(lists)}"]
        if name == POLICY:
            return [str(finding) for finding in load_text(text, name, local_today(time.time())).warnings]
        parse_text(text, name)
    except ConfigError as error:
        return [f"not accepted: {error}"]
    return []


def read_part(path: Path, name: str) -> str:
    """The text of an unpacked part; empty: there is none. Raises BackupProblem and FileProblem."""
    try:
        return read_own(path, LARGEST).decode("utf-8")
    except FileProblem as problem:
        if not problem.missing:
            raise
        return ""
    except UnicodeDecodeError:
        raise BackupProblem(f"{name} is not UTF-8") from None
