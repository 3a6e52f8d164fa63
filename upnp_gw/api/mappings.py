"""Mappings, and the operator's request for one."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from upnp_gw.api.above import Above
from upnp_gw.api.values import MAX_LEASE_S, Count, FieldError, Port, address, prefix
from upnp_gw.model.mapping import IPAddress, IPNetwork, MappingKind, Transport, Via


class Mapping(Struct, frozen=True, kw_only=True):
    """A port mapping or pinhole as it is now."""

    id: str
    kind: MappingKind
    transport: Transport
    external_address: str | None
    """The address that the internet uses: an external address, for a pinhole that of its client, with a gateway
    above one of its own; null: none now."""
    external_port: Port
    internal_client: str
    internal_port: Port
    remote_host: str | None
    """The remote hosts that may connect: addresses or prefixes, separated by spaces. A PCP FILTER with a port adds
    ``:PORT`` (IPv6: ``[ADDRESS]:PORT``). Or address lists of the policy, such as ``only @office, never @bots``;
    null: any remote host."""
    via: Via
    """The protocol of the first request."""
    device: str
    """The MAC address of its holder, its address if no MAC address is known, or ``operator``."""
    description: str
    granted_at: datetime
    expires_at: datetime | None
    """End of its last lease; null: permanent, renewed by the gateway."""
    lease_left_s: Count | None
    """Seconds to ``expires_at``, rounded up; null: permanent."""
    connections: Count
    bytes: Count
    """In both directions, since the grant."""
    last_used: datetime | None
    rule: str
    """The grant that was charged, or ``operator``."""
    decision: str
    state: Literal["active", "parked", "contested", "disabled", "waiting"]
    """parked: the device does not answer, or the gateway above gives no lease (``above``), and its port stays
    reserved; contested: two hosts claim the internal client's address, and the port stays reserved; disabled:
    requested with NewEnabled 0; waiting: the gateway above is asked for the first time."""
    device_name: str | None = None
    vias: list[Via] = []
    """The protocols with a lease on it; each has its own."""
    remote_port: int | None = None
    """The source port of the remote host (only for pinholes); null: any."""
    above: Above | None = None
    """The lease at the gateway above; null: none is needed."""


class Added(Mapping, frozen=True, kw_only=True):
    """The mapping that the operator opened."""

    crosses: list[str] = []
    """A sentence for each ``[[never]]`` of the policy that it crosses, with the line of the file. Only the floor
    refuses the operator."""


class Traffic(Struct, frozen=True, kw_only=True):
    """The traffic of the internal port of a mapping over the last two days, over renewals and restarts."""

    slot_s: Count
    """Seconds of a slot."""
    ends_at: datetime
    """The end of the last slot, which is not over yet."""
    bytes: list[Count]
    """In each slot, oldest first."""


class AddMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A port to open for the operator. An IPv6 internal client, or one on a LAN without NAT, makes a pinhole."""

    transport: Transport
    external_port: Port
    internal_client: str
    internal_port: Port | None = None
    """null: the external port."""
    external_address: str | None = None
    """One of several external addresses; null: all."""
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
            raise FieldError("internal_port", "accepted: the external port, because a pinhole does not translate")
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
