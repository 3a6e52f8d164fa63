"""Decisions as they are stored and shown by ``upnp-gw log``: who asked for what, how, what was answered and why."""

from dataclasses import asdict, dataclass, field
from typing import Any

from upnp_gw.model.mapping import DecisionId


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
    """The facts beside the request (``engine.audit``). Empty: not an answer to a map request."""
    choice: str | None = None
    """A map request's: ``exact`` or ``suggested``."""
    lease_s: int | None = None
    """Where it was allowed: the seconds that the lease lives by the rule's clamps."""
    holder: dict[str, Any] | None = None
    """busy: the mapping that was in the way (``upnp_gw.engine.audit.holder_of``). For the operator alone."""
    count: int = 1
    """How many requests of this device were refused like this one for asking too often; only the first is kept."""
    unchanged: bool = False
    """The gateway decided again about a mapping that stands (reload, restore, renew), and nothing changed."""

    def body(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def of_body(cls, body: dict[str, Any]) -> "DecisionRecord":
        return cls(**{**body, "reasons": tuple(body["reasons"])})


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """What ``upnp-gw log`` asks for; None: any."""

    devices: tuple[str, ...] = ()
    """Records of any of these devices; empty: of all."""
    verdict: str | None = None
    via: str | None = None
    since: float | None = None
    """Wall-clock seconds; the moment itself is in."""
    until: float | None = None
    """Wall-clock seconds; the moment itself is not."""
    rule: str | None = None
    port: int | None = None
    """The external or the internal one."""
    before: int | None = None
    """Decisions with a smaller number than this one's: the next page."""
    id: str | None = None
    changes: bool = False
    """True: without the records that say ``unchanged``."""
    limit: int = 100

    def sql(self) -> tuple[str, list[Any]]:
        """A WHERE clause of fixed text, and its values."""
        tests: dict[str, Any] = {
            "verdict = ?": self.verdict,
            "via = ?": self.via,
            "at >= ?": self.since,
            "at < ?": self.until,
            "json_extract(body, '$.rule') = ?": self.rule,
            "? IN (json_extract(body, '$.external_port'), json_extract(body, '$.internal_port'))": self.port,
            "number < ?": self.before,
            "id = ?": self.id,
        }
        wanted = [(test, [value]) for test, value in tests.items() if value is not None]
        if self.devices:
            wanted.append((f"device IN ({','.join('?' * len(self.devices))})", [*self.devices]))
        if self.changes:
            wanted.append(("json_extract(body, '$.unchanged') IS NOT 1", []))
        where = " AND ".join(test for test, _ in wanted)
        return (f"WHERE {where}" if where else ""), [value for _, values in wanted for value in values]
