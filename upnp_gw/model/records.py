"""Decisions as they are stored and shown by ``upnp-gw log``: device, request, verdict and reasons."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from upnp_gw.model.mapping import DecisionId, Transport, Via


class DecisionFields(Struct, frozen=True, kw_only=True):
    """One answer of the gate: the fields that the audit log and the control API (``api.Decision``) share."""

    id: DecisionId
    verdict: Literal["allow", "deny", "ask", "busy"]
    """busy: the gate allowed it and the ledger did not, since the port is taken or no port is free."""
    action: str
    """``map``, ``renew``, ``restore``, ``reload``, ``approve`` or ``unmap``."""
    via: Via
    device: str
    """MAC address, ``MAC@LAN``, IP address, ``operator``, or ``gateway``: about all mappings at once."""
    address: str
    """The source address of the request; empty: the gateway itself."""
    transport: Transport | None
    external_port: int | None
    """The requested external port; 0: any."""
    internal_client: str | None
    internal_port: int | None
    remote_host: str | None
    lease_s: int | None
    """The requested lease in seconds; null: as long as possible."""
    description: str
    """As the client sent it."""
    refusal: str | None
    """The reason of a refusal, a value of ``upnp_gw.model.request.Refusal``; null: allowed."""
    rule: str | None
    """The grant that was charged or the forbid that matched."""
    reasons: tuple[str, ...]
    """The steps of the decision in order. The last one is the answer in one sentence."""
    policy: str = ""
    """The hash of the policy that decided."""
    mapping: str | None = None
    """The id of the mapping that was made, renewed or removed."""
    facts: dict[str, Any] = {}
    """The gate's facts beside the request, enough to decide again; empty: not an answer to a map request."""
    choice: Literal["exact", "suggested"] | None = None
    """``suggested``: the gateway could choose another external port."""
    granted_s: int | None = None
    """The granted lease in seconds; null: not allowed."""
    count: Annotated[int, Meta(ge=0)] = 1
    """The number of requests refused like this one within a minute, because the device asked too often."""
    unchanged: bool = False
    """The gateway decided again about an existing mapping (reload, restore, renew), and it stays as it is."""

    def shared_fields(self) -> dict[str, Any]:
        """These fields by name, to make one kind of record from the other."""
        return {name: getattr(self, name) for name in DecisionFields.__struct_fields__}


class DecisionRecord(DecisionFields, frozen=True, kw_only=True):
    """A decision in the audit log."""

    at: float
    """Wall-clock seconds."""
    holder: dict[str, Any] | None = None
    """busy: the mapping in the way (``upnp_gw.engine.audit.holder_of``). Only the operator sees it."""


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """The filter of ``upnp-gw log``; None: any."""

    devices: tuple[str, ...] = ()
    """Records of any of these devices; empty: of all devices."""
    verdict: str | None = None
    via: str | None = None
    since: float | None = None
    """Wall-clock seconds, inclusive."""
    until: float | None = None
    """Wall-clock seconds, exclusive."""
    rule: str | None = None
    port: int | None = None
    """The external or internal port."""
    before: int | None = None
    """Only decisions with a smaller number: the next page."""
    id: str | None = None
    changes: bool = False
    """True: without records that are ``unchanged``."""
    limit: int = 100
