"""Makes a backup: a copy of the ledger, the texts of the policy and the configuration, and the manifest."""

import platform
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from upnp_gw import __version__
from upnp_gw.backup import archive
from upnp_gw.backup.manifest import FORMAT, LEDGER, PARTS, Manifest
from upnp_gw.backup.problem import BackupProblem
from upnp_gw.store.copying import copied, schema_of
from upnp_gw.system.clock import boot_id
from upnp_gw.system.files import FileProblem


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is not written yet. Its copy of the ledger exists as long as ``backup_of`` lasts."""

    manifest: Manifest
    _parts: Mapping[str, bytes | Path]

    def portions(self) -> Iterator[bytes]:
        """The bytes of the file. Raises FileProblem."""
        return archive.written(self.manifest, self._parts)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return archive.file_size(self.manifest)


@contextmanager
def backup_of(ledger: Path, texts: Mapping[str, str], history: bool, wall: float) -> Iterator[Backup]:
    """``ledger``: the database file, which a running gateway may change meanwhile. ``texts``: part -> its text;
    empty ones are left out. ``history`` False: without the audit log and the evidence.

    Raises BackupProblem.
    """
    if not ledger.exists():
        raise BackupProblem(f"{ledger}: there is no ledger; give the state directory with --state-dir")
    try:
        with copied(ledger, history) as copy:
            parts: dict[str, bytes | Path] = {LEDGER: copy}
            parts |= {name: text.encode("utf-8") for name, text in texts.items() if text}
            manifest = Manifest(
                format=FORMAT,
                version=__version__,
                schema=schema_of(copy),
                made_at=datetime.fromtimestamp(int(wall), UTC),
                boot=boot_id(),
                host=platform.node(),
                history=history,
                parts={name: archive.part_of(archive.portions_of(parts[name])) for name in PARTS if name in parts},
            )
            yield Backup(manifest, parts)
    except (sqlite3.Error, OSError) as error:
        raise BackupProblem(f"{ledger}: cannot be copied: {error}") from error
    except FileProblem as error:
        raise BackupProblem(str(error)) from error
