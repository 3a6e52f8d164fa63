"""Mappings as they are, and what the operator asks for."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from upnp_gw.api.values import MAX_LEASE_S, Count, FieldError, Port, address, prefix
from upnp_gw.model.mapping import IPAddress, IPNetwork, MappingKind, Transport, Via


class Mapping(Struct, frozen=True, kw_only=True):
    """A port mapping or pinhole as it is now."""

    id: str
    kind: MappingKind
    transport: Transport
    external_address: str | None
    """Where the internet finds it: one of our external addresses, or the pinhole's own; null: none now."""
    external_port: Port
    internal_client: str
    internal_port: Port
    remote_host: str | None
    """The remote hosts that may connect: addresses or prefixes, separated by spaces. A PCP FILTER with a port adds
    ``:PORT`` (IPv6: ``[ADDRESS]:PORT``); null: any remote host."""
    via: Via
    """The way by which it was first asked for."""
    device: str
    """The MAC address of its holder, its address where no MAC is known, ``operator``."""
    description: str
    granted_at: datetime
    expires_at: datetime | None
    """When its last lease ends; null: permanent, renewed by the gateway."""
    lease_left_s: Count | None
    """Seconds to ``expires_at``, rounded up; null: permanent."""
    connections: Count
    bytes: Count
    """Both ways, since the grant."""
    last_used: datetime | None
    rule: str
    """The grant that was charged, or ``operator``."""
    decision: str
    state: Literal["active", "parked", "contested", "disabled"]
    """parked: the device is away and its port stays reserved; contested: two hosts claim the internal client's
    address and the port stays reserved; disabled: requested with NewEnabled 0."""
    device_name: str | None = None
    vias: list[Via] = []
    """The ways by which it is held: each protocol has its own lease on it."""
    remote_port: int | None = None
    """The port that the remote host connects from (pinholes alone); null: any."""


class AddMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator asks for. An IPv6 internal client makes a pinhole."""

    transport: Transport
    external_port: Port
    internal_client: str
    internal_port: Port | None = None
    """null: the external port."""
    external_address: str | None = None
    """One of several external addresses; null: all of them."""
    remote_host: str | None = None
    """An address or a prefix; null: anyone."""
    lease_s: Annotated[int, Meta(ge=1, le=MAX_LEASE_S)] | None = None
    """null: as long as the limits allow."""
    permanent: bool = False
    """Renewed by the gateway until it is deleted; excludes ``lease_s``."""
    description: Annotated[str, Meta(max_length=256)] = ""

    def __post_init__(self) -> None:
        client, remote, external = self.client, self.remote, self.external
        if client.version == 6 and self.internal_port not in (None, self.external_port):
            raise FieldError("internal_port", "accepted: the external port, since a pinhole is not translated")
        if remote is not None and remote.version != client.version:
            raise FieldError("remote_host", f"accepted: IPv{client.version}, like internal_client")
        if external is not None and (client.version == 6 or external.version == 6):
            raise FieldError("external_address", "accepted: an IPv4 address, and only for a port mapping")
        if self.permanent and self.lease_s is not None:
            raise FieldError("lease_s", "accepted: either lease_s or permanent")

    @property
    def client(self) -> IPAddress:
        return address("internal_client", self.internal_client)

    @property
    def external(self) -> IPAddress | None:
        return None if self.external_address is None else address("external_address", self.external_address)

    @property
    def remote(self) -> IPNetwork | None:
        if self.remote_host is None:
            return None
        return prefix("remote_host", self.remote_host)

    @property
    def target_port(self) -> int:
        """The internal port, 1..65535."""
        return self.external_port if self.internal_port is None else self.internal_port
