"""``policy prove --kernel``: what the kernel lets in beside the mappings."""

from typing import Literal

from msgspec import Struct

from upnp_gw.api.values import Count


class LetThrough(Struct, frozen=True, kw_only=True):
    """A packet from the WAN that reaches a LAN host. It stands for all of its kind."""

    protocol: str
    """``tcp``, ``udp``, or the number of another protocol."""
    source: str
    source_port: Count
    destination: str
    """As the sender writes it."""
    port: Count
    host: str
    """The LAN host that gets it."""
    host_port: Count
    lan: str
    state: str
    """Of connection tracking: new, established, invalid, untracked."""


class KernelFinding(Struct, frozen=True, kw_only=True):
    """Something that gets in and should not, or that cannot be decided."""

    fault: Literal["no-mapping", "no-timeout", "outlives", "flow", "flow-lasts", "not-allowed", "unknown"]
    """no-mapping: no mapping opens it; no-timeout: a mapping does, and the kernel would not end it; outlives: the
    kernel would end it too late; flow: it belongs to a flow that no mapping lets in; flow-lasts: a flow of an ended
    mapping would go on; not-allowed: the policy in force can allow no such mapping; unknown: a rule or a table
    cannot be decided."""
    sentence: str
    packet: LetThrough | None = None
    rules: list[str] = []
    """The rules and policies that let it through; unknown: those that cannot be decided."""
    mapping: str | None = None


class KernelProof(Struct, frozen=True, kw_only=True):
    """The comparison of the kernel with the ledger."""

    verdict: Literal["proved", "open", "unknown"]
    findings: list[KernelFinding]
    """The gravest first, at most 20."""
    mappings: Count
    """Active mappings."""
    shut: list[str]
    """Active mappings that no packet from the WAN comes through."""
    flows: Count
    """Flows from outside to LAN hosts."""
    seconds: float
