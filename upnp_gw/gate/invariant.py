"""``[[never]]`` and ``[[always]]`` of a policy file: what no request, or every request, of a kind gets."""

from dataclasses import dataclass, field
from enum import StrEnum

from upnp_gw.gate.decision import PortRanges
from upnp_gw.gate.hours import Hours
from upnp_gw.gate.remote import RemoteHosts
from upnp_gw.model.mapping import IPNetwork, Transport, Via
from upnp_gw.text.escape import shown

LONGEST_NAME = 64
"""Characters of a name that a message repeats."""


class InvariantKind(StrEnum):
    """NEVER: no request of this kind is allowed or asked about. ALWAYS: every request of this kind is allowed."""

    NEVER = "never"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Sender:
    """``from``: the requesters. A missing condition matches everyone."""

    devices: frozenset[str] | None = None
    """Device names, groups resolved."""
    excluded: frozenset[str] = frozenset()
    """``not``: everyone but these devices."""
    zone: str | None = None
    addresses: tuple[IPNetwork, ...] = ()
    mac: str | None = None
    lan: str | None = None
    vias: frozenset[Via] | None = None


@dataclass(frozen=True, slots=True)
class Requested:
    """``request``: the requests. A missing condition matches every request."""

    transports: frozenset[Transport] | None = None
    versions: frozenset[int] = frozenset()
    """IP versions, 4 or 6; empty: both."""
    int_ports: PortRanges | None = None
    ext_ports: PortRanges | None = None
    targets: tuple[IPNetwork, ...] = ()
    """``for``: internal clients; empty: any."""
    remote: RemoteHosts | None = None
    """Remote hosts that could connect; None: any."""
    hours: Hours | None = None
    """``at``."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """``unless`` of a ``[[never]]``: a mapping within all of these is no violation."""

    ext_ports: PortRanges | None = None
    remote: RemoteHosts | None = None
    lease_s: int | None = None


@dataclass(frozen=True, slots=True)
class Invariant:
    """One of them. It decides nothing: a policy that violates it is not loaded."""

    kind: InvariantKind
    name: str
    key: str
    """Its place in the file: ``never[3]``."""
    sender: Sender = field(default_factory=Sender)
    requested: Requested = field(default_factory=Requested)
    unless: Bounds | None = None


def named(invariant: Invariant) -> str:
    """``never "guests open nothing"``."""
    return f'{invariant.kind} "{shown(invariant.name, LONGEST_NAME)}"'
