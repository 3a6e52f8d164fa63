"""Types of ``take_over``: leases of the gateway that ran on this machine before."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from upnp_gw.api.values import MAX_LEASE_S, Count, FieldError, Port, address, prefix
from upnp_gw.model.mapping import IPAddress, IPNetwork, Transport, Via

MOST_LEASES = 64
"""The most leases of one request: a preview decides about them at once, and others wait for that."""


class ForeignLease(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lease that another gateway granted. It is decided as the request of its internal client."""

    transport: Transport
    external_port: Port
    internal_client: str
    internal_port: Port
    via: Literal["igd1", "igd2", "natpmp", "pcp"]
    """The protocol of the client, which renews the lease over it."""
    lease_s: Annotated[int, Meta(ge=1, le=MAX_LEASE_S)] | None = None
    """Seconds that it still lasts; null: as long as the policy allows."""
    remote_host: str | None = None
    """An address or a prefix; null: anyone."""
    remote_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """The source port of the remote host (only for pinholes); 0: any."""
    description: Annotated[str, Meta(max_length=256)] = ""

    def __post_init__(self) -> None:
        client, remote = self.client, self.remote
        if client.version == 6 and self.internal_port != self.external_port:
            raise FieldError("internal_port", "accepted: the external port, because a pinhole does not translate")
        if remote is not None and remote.version != client.version:
            raise FieldError("remote_host", f"accepted: IPv{client.version}, like internal_client")
        if self.remote_port and client.version == 4:
            raise FieldError("remote_port", "accepted: 0, because only a pinhole has one")

    @property
    def client(self) -> IPAddress:
        return address("internal_client", self.internal_client)

    @property
    def remote(self) -> IPNetwork | None:
        return None if self.remote_host is None else prefix("remote_host", self.remote_host)

    @property
    def protocol(self) -> Via:
        return Via(self.via)


class TakeOver(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Leases to take over."""

    leases: Annotated[list[ForeignLease], Meta(max_length=MOST_LEASES)]
    preview: bool = False
    """Only show the answers."""


class TakenLease(Struct, frozen=True, kw_only=True):
    """The answer about one lease; with ``preview``: what it would be."""

    outcome: Literal["taken", "stands", "asked", "refused", "absent"]
    """stands: its client has a mapping of this port here already, which is not changed; asked: the operator is
    asked; absent: its client does not answer now, and nothing was decided."""
    mapping: str | None = None
    lease_s: Count | None = None
    """Seconds that the mapping lasts."""
    decision: str | None = None
    rule: str | None = None
    """The rule that allowed it or refused it; null: the floor, a limit, or no rule."""
    refusal: str | None = None
    message: str | None = None
    """The reason of a refusal."""


class TakenOver(Struct, frozen=True, kw_only=True):
    """The answers, in the order of the leases."""

    leases: list[TakenLease]
