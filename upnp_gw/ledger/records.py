"""Decisions as they are stored and shown by ``upnp-gw log``: who asked for what, how, what was answered and why."""

from dataclasses import asdict, dataclass, field
from typing import Any

from upnp_gw.model import DecisionId


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One answer of the gate, in plain values."""

    id: DecisionId
    at: float
    """Wall-clock seconds."""
    via: str
    device: str
    source: str
    action: str
    """map, unmap, renew, restore, expire ..."""
    transport: str | None
    external_port: int | None
    internal_client: str | None
    internal_port: int | None
    remote: str | None
    lifetime_s: int | None
    description: str
    verdict: str
    """allow, deny, ask, busy (the port is another's, or there is none: the ledger's answer)"""
    refusal: str | None
    rule: str | None
    reasons: tuple[str, ...]
    policy: str
    mapping: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def of_body(cls, body: dict[str, Any]) -> "DecisionRecord":
        return cls(**{**body, "reasons": tuple(body["reasons"])})


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """What ``upnp-gw log`` asks for; None: any."""

    device: str | None = None
    verdict: str | None = None
    via: str | None = None
    since: float | None = None
    """Wall-clock seconds."""
    id: str | None = None
    limit: int = 100

    def sql(self) -> tuple[str, list[Any]]:
        """A WHERE clause of fixed text, and its values."""
        tests = {
            "device = ?": self.device,
            "verdict = ?": self.verdict,
            "via = ?": self.via,
            "at >= ?": self.since,
            "id = ?": self.id,
        }
        wanted = {test: value for test, value in tests.items() if value is not None}
        return (f"WHERE {' AND '.join(wanted)}" if wanted else ""), list(wanted.values())
