"""Puts restored files in place of the old ones: all of them, or none.

The new files are written beside the old ones. Then one file is made, the plan: from that moment on the restore has
happened. The moves that it names can be made again from any point, so a kill in between is completed by the next
start of the gateway or the next command.
"""

import logging
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from upnp_gw.backup.manifest import APPROVED, LEDGER
from upnp_gw.model.errors import StoreError
from upnp_gw.store.copying import COPY
from upnp_gw.store.missing_history import ENDS
from upnp_gw.system.files import FileProblem, read_own, sync_directory, write_own

log = logging.getLogger(__name__)

NEW = ".restoring"
"""After the name of a file that is not in place yet. Names begin with those of the gateway's own files, which a
start as root gives to the gateway's user."""
PLAN = "ledger.db.restore"
KEPT = ".kept-"
"""After the name of a file that was there before, and before the time."""
LARGEST_PLAN = 4096
STAMP = re.compile(r"\d{8}T\d{6}Z")


class Plan(msgspec.Struct, frozen=True):
    """The moves of a restore."""

    stamp: str
    """The time, in the names of kept files."""
    approved: bool
    """False: the backup has no approved.toml, and the present one is set aside."""


def new_file(directory: Path, name: str) -> Path:
    """The place of a file that is not in place yet."""
    return directory / (name + NEW)


def kept_files(directory: Path) -> list[Path]:
    """The files of earlier states that are kept beside the present ones, also those of ``missing_history``."""
    return sorted(path for name in (LEDGER, APPROVED) for path in directory.glob(f"{name}{KEPT}*"))


def clear(directory: Path) -> None:
    """Removes what a restore or a backup has left that was killed before it happened. Raises OSError."""
    for pattern in (f"*{NEW}", f"*{NEW}-*", f"{PLAN}.new", f"{LEDGER}{COPY}*"):
        for left in directory.glob(pattern):
            if left.name.startswith((LEDGER, APPROVED)):
                left.unlink()


def place(directory: Path, *, approved: bool, wall: float) -> list[Path]:
    """Puts the new files in place. Returns the files that were there before, under their new names.

    Raises OSError and FileProblem; then nothing has happened, or ``finish`` completes it.
    """
    plan = Plan(_free_stamp(directory, wall), approved)
    sync_directory(directory)
    draft = directory / f"{PLAN}.new"
    write_own(draft, msgspec.json.encode(plan))
    draft.rename(directory / PLAN)
    sync_directory(directory)
    finish(directory)
    return sorted(directory.glob(f"*{KEPT}{plan.stamp}*"))


def finish_at_start(directory: Path) -> None:
    """``finish`` for the start of the gateway. Raises StoreError."""
    try:
        if finish(directory):
            log.warning("%s: a restore that was interrupted is completed", directory)
    except OSError as error:
        raise StoreError(f"{directory}: an interrupted restore cannot be completed: {error}") from error
    except FileProblem as error:
        raise StoreError(str(error)) from error


def finish(directory: Path) -> bool:
    """Completes a restore that was interrupted, else removes what is left of it. True: there was one.

    Call it before the files are opened. Raises OSError, and FileProblem if the plan cannot be read.
    """
    try:
        plan = msgspec.json.decode(read_own(directory / PLAN, LARGEST_PLAN), type=Plan)
    except FileProblem as problem:
        if not problem.missing:
            raise
        clear(directory)
        return False
    except msgspec.MsgspecError:
        plan = None
    if plan is None or not STAMP.fullmatch(plan.stamp):
        raise FileProblem(directory / PLAN, "is not valid; move it away, and restore again")
    if new_file(directory, LEDGER).exists():
        for end in ENDS:
            _set_aside(directory / (LEDGER + end), f"{LEDGER}{KEPT}{plan.stamp}{end}")
        new_file(directory, LEDGER).rename(directory / LEDGER)
    if new_file(directory, APPROVED).exists() or not plan.approved:
        _set_aside(directory / APPROVED, f"{APPROVED}{KEPT}{plan.stamp}")
    if plan.approved and new_file(directory, APPROVED).exists():
        new_file(directory, APPROVED).rename(directory / APPROVED)
    sync_directory(directory)
    (directory / PLAN).unlink()
    sync_directory(directory)
    clear(directory)
    return True


def _set_aside(path: Path, name: str) -> None:
    """Renames a file that was there before. A kept file is never replaced."""
    if path.exists():
        while path.with_name(name).exists():
            name += "-more"
        path.rename(path.with_name(name))


def _free_stamp(directory: Path, wall: float) -> str:
    while True:
        stamp = datetime.fromtimestamp(wall, UTC).strftime("%Y%m%dT%H%M%SZ")
        if not any(directory.glob(f"*{KEPT}{stamp}*")):
            return stamp
        wall += 1
