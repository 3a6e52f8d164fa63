"""Which element of which map a forward is. Typed values in, nft text out."""

import math
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

from upnp_gw.firewall.base import TABLE, Forward
from upnp_gw.firewall.nftables.ruleset import CARRYING, INTERVALS
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Endpoint, IPAddress, Transport
from upnp_gw.model.prefixes import overlap

LINE = 150
"""Elements of one command. Six commands stay below 208 KiB, which any socket may send."""
ID = re.compile(r"[a-z0-9-]{1,32}")
ANYWHERE = IPv4Network("0.0.0.0/0")
ANYWHERE6 = IPv6Network("::/0")


class InnerEndpoint(NamedTuple):
    """An internal endpoint of one transport: what ``live``, ``out`` and ``cut`` are about."""

    transport: Transport
    endpoint: Endpoint

    @property
    def key(self) -> str:
        return f"{self.transport.number} . {self.endpoint.address} . {port(self.endpoint.port)}"


Place = tuple[Transport, IPAddress | None, int]
"""The external side of a forward, for any remote host."""


class Slot(NamedTuple):
    """The place of an element: no two forwards can have the same."""

    map: str
    key: str


class Element(NamedTuple):
    """What stands in a slot."""

    data: str
    """``address . port`` behind a map's colon, empty in a set."""
    comment: str
    timeout_s: int

    def text(self, key: str) -> str:
        comment = f' comment "{self.comment}"' if self.comment else ""
        data = f" : {self.data}" if self.data else ""
        return f"{key} timeout {self.timeout_s}s{comment}{data}"


class ElementEdit(NamedTuple):
    """A change of one slot."""

    old: Element | None
    """The element that may be there; None: no element. With other data the kernel refuses the transaction."""
    new: Element | None

    @classmethod
    def renewing(cls, element: Element) -> "ElementEdit":
        return cls(element, element)


class HeldForward(NamedTuple):
    """A forward in the maps, or one that was closed and whose flows are not cut yet."""

    forward: Forward
    until: float
    """The monotonic second at which it expires in the kernel."""


def inner_of(forward: Forward) -> InnerEndpoint:
    return InnerEndpoint(forward.transport, forward.internal)


def slot_of(forward: Forward) -> Slot:
    """Where the forward stands. Raises FirewallError for one that makes no sense (IPv6 remote host of IPv4)."""
    remote = forward.remote
    if remote is not None and remote.version != forward.internal.address.version:
        raise FirewallError("the remote host and the internal client have different address families")
    if forward.remote_port:
        remote = remote or (ANYWHERE6 if forward.internal.address.version == 6 else ANYWHERE)
    elif remote is not None and remote.prefixlen == 0:
        remote = None
    if isinstance(forward.internal.address, IPv6Address):
        if forward.internal.address.scope_id is not None:
            raise FirewallError("a pinhole to a link-local address leads nowhere")
        return _pinhole_slot(forward, remote)
    peer = f"{forward.transport.number} . {port(forward.external_port)}"
    own = forward.external_address
    if own is not None and not isinstance(own, IPv4Address):
        raise FirewallError("the external address of a port mapping is an IPv4 address")
    name = "pm" + ("_ip" if own is not None else "")
    if remote is None:
        parts: list[object] = [own, peer]
    elif remote.prefixlen == remote.max_prefixlen and not forward.remote_port:
        name, parts = f"{name}_rh", [own, peer, remote.network_address]
    else:
        name, parts = f"{name}_net", [own, peer, remote, _from_port(forward)]
    return Slot(name, " . ".join(str(part) for part in parts if part is not None))


def carrying(slot: Slot) -> Slot:
    """The slot that carries the flows of an opening slot."""
    return Slot(CARRYING[slot.map], slot.key)


def place_of(forward: Forward) -> Place:
    return forward.transport, forward.external_address, forward.external_port


def collide(one: Forward, other: Forward) -> bool:
    """True if the kernel cannot hold both forwards of one place: their ranges of remote hosts overlap."""
    ranges = slot_of(one).map in INTERVALS and slot_of(one).map == slot_of(other).map
    ports_meet = one.remote_port in (0, other.remote_port) or other.remote_port == 0
    hosts_meet = one.remote is None or other.remote is None or overlap(one.remote, other.remote)
    return ranges and ports_meet and hosts_meet


def _pinhole_slot(forward: Forward, remote: IPv4Network | IPv6Network | None) -> Slot:
    key = inner_of(forward).key
    if remote is None:
        return Slot("hole6", key)
    if remote.prefixlen == remote.max_prefixlen and not forward.remote_port:
        return Slot("hole6_rh", f"{key} . {remote.network_address}")
    return Slot("hole6_net", f"{key} . {remote} . {_from_port(forward)}")


def _from_port(forward: Forward) -> str:
    """The remote host's own port, or all of them."""
    return str(port(forward.remote_port)) if forward.remote_port else "0-65535"


def element_of(forward: Forward) -> Element:
    """The forward as an element. Its comment is its id and nothing else (SR-12)."""
    if not ID.fullmatch(forward.id):
        raise FirewallError("a forward's id is [a-z0-9-], 1 to 32 characters")
    v6 = forward.internal.address.version == 6
    data = "" if v6 else f"{forward.internal.address} . {port(forward.internal.port)}"
    return Element(data, forward.id, seconds(forward.timeout_s))


def port(number: int) -> int:
    """The number itself, 1..65535. Raises FirewallError."""
    if not 1 <= int(number) <= 65535:
        raise FirewallError("a port is 1..65535")
    return int(number)


def seconds(timeout_s: float) -> int:
    """A timeout for the kernel: rounded up, at least 1, since 0 would mean permanent (SR-29)."""
    return max(1, math.ceil(timeout_s))


def command_lines(verb: str, elements: Mapping[str, Sequence[str]]) -> list[str]:
    """The commands, at most ``LINE`` elements each. A transaction may be split between commands."""
    return [
        f"{verb} element {TABLE} {name} {{ {', '.join(keys[at : at + LINE])} }}"
        for name, keys in elements.items()
        for at in range(0, len(keys), LINE)
    ]
