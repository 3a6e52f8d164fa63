"""The map and the element for each forward: typed values in, bytes out as the kernel has them.

A key is the values of its parts, each padded with zeros to four bytes. Numbers are in network byte order.
"""

import math
import re
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

from msgspec import Struct

from upnp_gw.firewall.base import Forward
from upnp_gw.firewall.nftables.ruleset import CARRYING, INTERVALS
from upnp_gw.firewall.nftables.screens import own_of
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import (
    NO_SCREEN,
    DecisionId,
    Endpoint,
    IPAddress,
    IPNetwork,
    MappingKind,
    Screen,
    Transport,
    kind_of,
)
from upnp_gw.model.prefixes import intersects

ID = re.compile(r"[a-z0-9-]{1,32}")
ANYWHERE = IPv4Network("0.0.0.0/0")
ANYWHERE6 = IPv6Network("::/0")
_PROTOCOL, _PORT = struct.Struct("Bxxx"), struct.Struct("!Hxx")
_EVERY_PORT = _PORT.pack(0), _PORT.pack(0xFFFF)


Key = bytes
"""The key of an element, or a part of it: it compares and hashes faster than the values."""


class Slot(Struct, frozen=True, gc=False):
    """The place of an element: no two forwards can have the same."""

    map: str
    key: Key
    """Of a range: its first value."""
    end: Key = b""
    """The last value of a range, empty where the map has no ranges."""


class Element(NamedTuple):
    """The element in a slot."""

    data: bytes
    """Address and port that a map leads to, each padded like a part of a key; empty in a set."""
    comment: str
    timeout_s: int


class HeldForward(Struct, frozen=True, gc=False):
    """A forward in the maps, or one that was closed and whose flows are not cut yet. Its fields are the forward's:
    one object for each of 60,000 instead of two."""

    id: str
    decision: DecisionId
    transport: Transport
    external_address: IPAddress | None
    external_port: int
    remote: IPNetwork | None
    internal: Endpoint
    keep_source_port: bool
    remote_port: int
    screen: Screen
    until: float
    """The monotonic second at which it expires in the kernel."""

    @classmethod
    def of(cls, forward: Forward, until: float) -> "HeldForward":
        """The forward, which expires at this monotonic second."""
        return cls(
            forward.id,
            forward.decision,
            forward.transport,
            forward.external_address,
            forward.external_port,
            forward.remote,
            forward.internal,
            forward.keep_source_port,
            forward.remote_port,
            forward.screen,
            until,
        )

    def forward(self, now: float) -> Forward:
        """The forward with the time that is left at the monotonic second ``now``."""
        return Forward(
            id=self.id,
            decision=self.decision,
            transport=self.transport,
            external_address=self.external_address,
            external_port=self.external_port,
            remote=self.remote,
            internal=self.internal,
            timeout_s=max(1.0, self.until - now),
            keep_source_port=self.keep_source_port,
            remote_port=self.remote_port,
            screen=self.screen,
        )

    @property
    def kind(self) -> MappingKind:
        return kind_of(self.external_address, self.external_port, self.internal)

    def differs(self, other: Forward) -> bool:
        """True if anything but the decision and the time differs."""
        return (
            self.internal != other.internal
            or self.external_port != other.external_port
            or self.external_address != other.external_address
            or self.transport is not other.transport
            or self.remote != other.remote
            or self.remote_port != other.remote_port
            or self.screen != other.screen
            or self.keep_source_port != other.keep_source_port
            or self.id != other.id
        )


def internal_key(transport: Transport, endpoint: Endpoint) -> Key:
    """The key of an internal endpoint in ``out``, ``cut`` and ``cut6``. Raises FirewallError."""
    return _PROTOCOL.pack(transport.number) + endpoint.address.packed + port_key(endpoint.port)


def internal_key_of(forward: Forward) -> Key:
    """The same of the internal endpoint of a forward."""
    return internal_key(forward.transport, forward.internal)


def is_ipv6(internal: Key) -> bool:
    """True for an IPv6 internal endpoint."""
    return len(internal) == _INTERNAL6


_INTERNAL6 = _PROTOCOL.size + 16 + _PORT.size


def slot_of(forward: Forward | HeldForward) -> Slot:
    """The slot of the forward. Raises FirewallError for one that makes no sense (IPv6 remote host of IPv4)."""
    if forward.kind is MappingKind.PINHOLE:
        return _slot(f"hole{forward.internal.address.version}", external_key(forward), forward)
    return _slot("pm" if forward.external_address is None else "pm_ip", external_key(forward), forward)


def external_key(forward: Forward | HeldForward) -> Key:
    """The external side of the forward, for any remote host: the key of ``pm``, ``pm_ip``, ``hole4`` or ``hole6``.

    Raises FirewallError.
    """
    address = forward.internal.address
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise FirewallError("a pinhole to a link-local address leads nowhere")
    if forward.kind is MappingKind.PINHOLE:
        return internal_key(forward.transport, forward.internal)
    peer = peer_key(forward.transport, forward.external_port)
    if forward.external_address is None:
        return peer
    if not isinstance(forward.external_address, IPv4Address):
        raise FirewallError("the external address of a port mapping is an IPv4 address")
    return forward.external_address.packed + peer


def _slot(name: str, key: Key, forward: Forward | HeldForward) -> Slot:
    """The slot of a forward with this key for any remote host: its map depends on the remote hosts."""
    if forward.remote is None and not forward.remote_port:
        return Slot(name if forward.screen is NO_SCREEN else own_of(name, forward.screen), key)
    remote = _remote_of(forward)
    if remote is None:
        return Slot(name, key)
    if remote.prefixlen == remote.max_prefixlen and not forward.remote_port:
        return Slot(f"{name}_rh", key + remote.network_address.packed)
    first, last = (port_key(forward.remote_port),) * 2 if forward.remote_port else _EVERY_PORT
    return Slot(
        f"{name}_net", key + remote.network_address.packed + first, key + remote.broadcast_address.packed + last
    )


def _remote_of(forward: Forward | HeldForward) -> IPv4Network | IPv6Network | None:
    """The remote hosts as the key needs them: None for any host from any port."""
    remote = forward.remote
    if remote is not None and remote.version != forward.internal.address.version:
        raise FirewallError("the remote host and the internal client have different address families")
    if forward.remote_port:
        return remote or (ANYWHERE6 if forward.internal.address.version == 6 else ANYWHERE)
    return None if remote is None or remote.prefixlen == 0 else remote


def carrying(slot: Slot) -> Slot:
    """The slot that carries the flows of an opening slot."""
    return Slot(CARRYING[slot.map], slot.key, slot.end)


def ranges_overlap(one: HeldForward, other: Forward) -> bool:
    """True if the kernel cannot hold both forwards of an external endpoint: their remote hosts overlap."""
    ranges = slot_of(one).map in INTERVALS and slot_of(one).map == slot_of(other).map
    ports_meet = one.remote_port in (0, other.remote_port) or other.remote_port == 0
    hosts_meet = one.remote is None or other.remote is None or intersects(one.remote, other.remote)
    return ranges and ports_meet and hosts_meet


def element_of(forward: Forward) -> Element:
    """The forward as an element. Its comment is its id and nothing else (SR-12)."""
    if not ID.fullmatch(forward.id):
        raise FirewallError("a forward's id is [a-z0-9-], 1 to 32 characters")
    pinhole = forward.kind is MappingKind.PINHOLE
    data = b"" if pinhole else endpoint_data(forward.internal.address, forward.internal.port)
    return Element(data, forward.id, timeout_seconds(forward.timeout_s))


def peer_key(transport: Transport, port: int) -> Key:
    """Transport and external port: the key of ``pm`` and ``external_ports``. Raises FirewallError."""
    return _PROTOCOL.pack(transport.number) + port_key(port)


def transport_key(transport: Transport) -> bytes:
    """The key of ``special``. A key of one part is not padded."""
    return bytes([transport.number])


def endpoint_data(address: IPAddress, port: int) -> bytes:
    """The data of a map: the address and port that it leads to. Raises FirewallError."""
    return address.packed + port_key(port)


def keeps_source_port(forward: Forward | HeldForward) -> bool:
    """True if packets of its internal endpoint are translated to its external address and port."""
    return forward.keep_source_port and forward.kind is MappingKind.PORT_MAPPING


def out_element(forward: HeldForward, external: Sequence[IPv4Address], timeout_s: int) -> Element | None:
    """The element of ``out``: the external address and port that packets of the internal endpoint leave with. None
    without an external address. ``external``: the gateway's, the first one counts."""
    own = forward.external_address or next(iter(external), None)
    return Element(endpoint_data(own, forward.external_port), "", timeout_s) if own is not None else None


def port_key(port: int) -> Key:
    """A port as a part of a key. Raises FirewallError."""
    return _PORT.pack(checked_port(port))


def checked_port(number: int) -> int:
    """The number itself, 1..65535. Raises FirewallError."""
    if not 1 <= int(number) <= 65535:
        raise FirewallError("a port is 1..65535")
    return int(number)


def timeout_seconds(timeout_s: float) -> int:
    """A timeout for the kernel: rounded up, at least 1, since 0 would mean permanent (SR-29)."""
    return max(1, math.ceil(timeout_s))
