"""The findings of a proof, and the packets that they name. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

FINDINGS_MOST = 20


class Verdict(StrEnum):
    """PROVED: nothing else gets in. OPEN: a packet does. UNKNOWN: a packet may, and a rule cannot be decided."""

    PROVED = "proved"
    OPEN = "open"
    UNKNOWN = "unknown"


class Fault(StrEnum):
    """The fault of a packet that gets through."""

    NO_MAPPING = "no-mapping"
    NO_TIMEOUT = "no-timeout"
    OUTLIVES = "outlives"
    """Its element ends later than its mapping says."""
    FLOW = "flow"
    """It belongs to a flow that no mapping lets in."""
    FLOW_LASTS = "flow-lasts"
    """It would belong to a flow of a mapping that has ended. There may be no such flow now."""
    NOT_ALLOWED = "not-allowed"
    """The policy in force cannot allow its mapping."""
    UNKNOWN = "unknown"


class Packet(NamedTuple):
    """A packet that gets through. Addresses are numbers."""

    version: int
    protocol: int
    source: int
    sport: int
    destination: int
    """As the sender writes it."""
    dport: int
    host: int
    """The LAN host that gets it."""
    host_port: int
    lan: str
    state: str
    """Of connection tracking: new, established, invalid, untracked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A packet that gets through and should not, or may get through."""

    fault: Fault
    packet: Packet | None
    """None: nothing is known of it."""
    rules: tuple[str, ...]
    """The rules and policies that let it through; UNKNOWN: those that cannot be decided."""
    mapping: str = ""
    """NO_TIMEOUT, OUTLIVES, NOT_ALLOWED: the mapping."""
    expires_s: float | None = None
    """OUTLIVES: seconds until its element ends."""
    others: bool = False
    """Another table translates the packet, or the flow did not come through our maps: a static forward."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The findings, and the extent of the check."""

    findings: tuple[Finding, ...]
    flows: int
    """Flows from outside that go on."""
    open_mappings: frozenset[str]
    """The mappings that a packet of each was found to come through."""

    @property
    def verdict(self) -> Verdict:
        if any(finding.fault is not Fault.UNKNOWN for finding in self.findings):
            return Verdict.OPEN
        return Verdict.UNKNOWN if self.findings else Verdict.PROVED


def _gravity(finding: Finding) -> tuple[bool, bool, bool]:
    """Sort key: certain findings first, packets that begin a flow before invalid ones, TCP before the others."""
    packet = finding.packet
    if packet is None:
        return finding.fault is Fault.UNKNOWN, False, False
    return finding.fault is Fault.UNKNOWN, packet.state in ("invalid", "untracked"), packet.protocol != 6


def gravest(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The first finding of each kind, the gravest first: of a kind the same rules let the packets in, and translate
    them alike."""
    kinds: dict[object, Finding] = {}
    for one in sorted(findings, key=_gravity):
        packet = one.packet
        if packet is None or packet.state == "established":
            kinds[one] = one
            continue
        translated = (packet.destination, packet.dport) != (packet.host, packet.host_port)
        ends = (packet.protocol, packet.destination, packet.dport, packet.host, packet.host_port)
        kind = one.fault, packet.version, packet.lan, one.rules, one.mapping, ends if translated else ()
        kinds.setdefault(kind, one)
    return tuple(list(kinds.values())[:FINDINGS_MOST])
