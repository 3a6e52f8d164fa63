"""The policy in force, and the result of a reload."""

from datetime import datetime

from msgspec import Struct

from upnp_gw.api.values import Count, Port
from upnp_gw.model.mapping import Transport


class AddressList(Struct, frozen=True, kw_only=True):
    """A list of remote hosts in a file of its own."""

    name: str
    file: str
    entries: Count
    """Addresses and prefixes."""
    changed_at: datetime
    """The last change of the file."""
    stale_at: datetime | None
    """From then on it is out of date; null: never."""
    stale: bool
    """Out of date: what is new and depends on it is refused, and leases run out."""


class PolicyText(Struct, frozen=True, kw_only=True):
    """The policy in force."""

    source: str
    """The path of the policy file, or ``built-in home policy``."""
    hash: str
    since: datetime
    text: str
    """The policy file as it was when it was loaded."""
    approved_file: str
    approved: str
    """The machine-owned file, with rules that commands wrote; empty: there is none."""
    warnings: list[str]
    problem: str | None
    """The reason why the present files are not in force; null: they are, as far as the last check saw."""
    lists: list[AddressList] = []


class RevokedMapping(Struct, frozen=True, kw_only=True):
    """A mapping that the new policy does not allow."""

    mapping: str
    device: str
    device_name: str | None
    transport: Transport
    external_port: Port
    internal_client: str
    internal_port: Port
    reason: str
    decision: str
    kept: bool
    """It stays until its lease ends (``[gate] on_reload = "keep"``); false: it has ended."""


class Reloaded(Struct, frozen=True, kw_only=True):
    """The result of loading the policy files again."""

    before: str
    """The hash of the old policy."""
    hash: str
    source: str = ""
    """The path of the policy file, or ``built-in home policy``."""
    standing: Count
    """Mappings that were kept."""
    fallen: list[RevokedMapping]
    warnings: list[str]
    opens: list[str] = []
    """The requests to which the new policy says more than the old one, in words."""
