"""Types of ``backup`` and ``erase``."""

from msgspec import Struct

from upnp_gw.api.values import FieldError


class BackupQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The extent of a backup."""

    history: bool = True
    """False: without the audit log and the evidence."""


class Erase(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exactly one of ``device``, ``everything`` and ``deleted``."""

    device: str | None = None
    """Erase what is kept of this device: its name, MAC or IP address."""
    everything: bool = False
    """Erase the audit log, the evidence and the counts of all devices."""
    deleted: bool = False
    """Only overwrite what was deleted before."""
    copies: bool = False
    """Delete the older copies of the state too."""

    def __post_init__(self) -> None:
        if (self.device is not None) + self.everything + self.deleted != 1:
            raise FieldError("device", "accepted: exactly one of device, everything and deleted")


class Erased(Struct, frozen=True, kw_only=True):
    """The rows that were erased: no byte of them is in the state files. And what still names the device."""

    decisions: int
    openings: int
    """Ports with evidence."""
    questions: int
    kept_decisions: int
    """Decisions that stay, because standing mappings name them."""
    mappings: list[str]
    """Ids of the device's standing mappings."""
    incident: bool
    """An incident of the device is open: it stays until it ends or is released."""
    names: list[str]
    """Devices and rules of the policy that name the device."""
    copies: list[str]
    """Files with older copies of the state, which still have what they had."""
