"""The policy in force, and what a new one ends."""

from datetime import datetime

from msgspec import Struct

from upnp_gw.api.values import Count, Port
from upnp_gw.model.mapping import Transport


class PolicyText(Struct, frozen=True, kw_only=True):
    """The policy in force."""

    source: str
    """The path of the policy file, or ``built-in home policy``."""
    hash: str
    since: datetime
    text: str
    """The TOML as it was when it was loaded."""
    approved_file: str
    approved: str
    """The machine-owned file's, which the operator's commands write; empty: there is none."""
    warnings: list[str]
    problem: str | None
    """Why the files as they are now are not in force; null: they were when they were last looked at."""


class RevokedMapping(Struct, frozen=True, kw_only=True):
    """A mapping that the new policy does not allow any more."""

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
    """It stands until its lease ends (``[gate] on_reload = "keep"``); false: it has ended."""


class Reloaded(Struct, frozen=True, kw_only=True):
    """A policy came into force."""

    before: str
    """The hash of the policy until now."""
    hash: str
    source: str = ""
    """The path of the policy file, or ``built-in home policy``."""
    standing: Count
    """Mappings that stand."""
    fallen: list[RevokedMapping]
    warnings: list[str]
