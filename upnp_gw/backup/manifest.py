"""The first member of a backup, in JSON: what the file is, and the sizes and checksums of the other members."""

from datetime import datetime

import msgspec

from upnp_gw.backup.problem import BackupProblem

FORMAT = 1
"""It grows if an older version could not restore the file any more."""
MANIFEST = "manifest.json"
LEDGER = "ledger.db"
APPROVED = "approved.toml"
POLICY = "policy.toml"
CONFIG = "config.toml"
PARTS = (LEDGER, APPROVED, POLICY, CONFIG)
"""Every member after the manifest, in the order of the file. Only the first one is always there."""


class Part(msgspec.Struct, frozen=True):
    size: int
    sha256: str
    """Hexadecimal."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Unknown fields are ignored: a later version may add some that do not matter."""

    format: int
    version: str
    """Of the upnp-gw that made the file."""
    schema: int
    """Of the ledger."""
    made_at: datetime
    boot: str
    """The kernel's id of the boot in which it was made."""
    host: str
    """The name of the machine."""
    history: bool
    """False: the audit log and the evidence were left out."""
    parts: dict[str, Part]


class _Version(msgspec.Struct, frozen=True):
    """The fields that every version of the manifest has."""

    format: int
    version: str


def parse_manifest(data: bytes, newest_schema: int) -> Manifest:
    """``newest_schema``: the newest schema of the ledger that this version knows. Raises BackupProblem."""
    try:
        made_by = msgspec.json.decode(data, type=_Version)
        if made_by.format > FORMAT:
            raise _newer(made_by.version, "format", made_by.format, FORMAT)
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BackupProblem("this is not a backup of upnp-gw: its first member is not a manifest") from None
    if manifest.schema > newest_schema:
        raise _newer(manifest.version, "schema", manifest.schema, newest_schema)
    if LEDGER not in manifest.parts or not manifest.parts.keys() <= set(PARTS):
        raise BackupProblem(f"the manifest names other parts than {', '.join(PARTS)}")
    return manifest


def _newer(version: str, what: str, found: int, known: int) -> BackupProblem:
    return BackupProblem(
        f"made by a newer upnp-gw ({version[:40]}, {what} {found}; this one knows {known}): install that version"
        " and restore with it"
    )
