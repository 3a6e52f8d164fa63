"""Events of the hosts on a LAN link, as ``network_monitor`` reports them. Pure values.

An address is *settled* when all hosts of the link were asked and only one answered for it. It is *contested* while
several hosts claim it.
"""

from dataclasses import dataclass

from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.network import Neighbour

Place = tuple[IPAddress, str]
"""An address on a LAN interface."""


@dataclass(frozen=True, slots=True)
class NeighbourSeen:
    """A new neighbour entry. Another host may answer for the address too: that is not known yet."""

    neighbour: Neighbour


@dataclass(frozen=True, slots=True)
class AddressSettled:
    """Only this host answers for the address."""

    neighbour: Neighbour


@dataclass(frozen=True, slots=True)
class AddressContested:
    """Another host claims the address. It belongs to no host until ``AddressSettled`` or ``NeighbourGone``."""

    address: IPAddress
    interface: str


@dataclass(frozen=True, slots=True)
class AddressMoved:
    """The address belongs to another host now; the old one does not answer for it any more."""

    address: IPAddress
    old_mac: str
    new_mac: str
    interface: str


@dataclass(frozen=True, slots=True)
class NeighbourGone:
    """The host did not answer probes. (An entry that the kernel drops because it is idle causes no event.)"""

    address: IPAddress
    mac: str
    interface: str


@dataclass(frozen=True, slots=True)
class AddressContest:
    """A contested address with the hosts that claim it. Packets to it may reach any of them."""

    address: IPAddress
    interface: str
    macs: tuple[str, ...]


NeighbourEvent = NeighbourSeen | AddressSettled | AddressContested | AddressMoved | NeighbourGone
