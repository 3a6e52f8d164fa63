"""Events of the hosts on a LAN link, as ``netwatch`` reports them. Pure values."""

from dataclasses import dataclass

from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.network import Neighbour

Place = tuple[IPAddress, str]
"""An address on a LAN interface."""


@dataclass(frozen=True, slots=True)
class NeighbourSeen:
    """A neighbour is new, or back. Another host may answer for the address as well."""

    neighbour: Neighbour


@dataclass(frozen=True, slots=True)
class AddressSettled:
    """All hosts of the link were asked: this one answers for the address, and no other."""

    neighbour: Neighbour


@dataclass(frozen=True, slots=True)
class AddressContested:
    """Another host claims the address: it is nobody's until ``AddressSettled`` or ``NeighbourGone``."""

    address: IPAddress
    interface: str


@dataclass(frozen=True, slots=True)
class AddressMoved:
    """The address belongs to another host now: the old one did not answer for it any more."""

    address: IPAddress
    old_mac: str
    new_mac: str
    interface: str


@dataclass(frozen=True, slots=True)
class NeighbourGone:
    """A host answered no probe. (An idle entry that the kernel drops tells nothing.)"""

    address: IPAddress
    mac: str
    interface: str


@dataclass(frozen=True, slots=True)
class AddressContest:
    """An address that several hosts claim. Packets to it may reach any of them."""

    address: IPAddress
    interface: str
    macs: tuple[str, ...]


NeighbourEvent = NeighbourSeen | AddressSettled | AddressContested | AddressMoved | NeighbourGone
