"""The query of ``backup``."""

from msgspec import Struct


class BackupQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The extent of a backup."""

    history: bool = True
    """False: without the audit log and the evidence."""
