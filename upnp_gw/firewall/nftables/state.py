"""Our own record of the contents of the maps. A ``RulesetDelta`` works out each change to it."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from upnp_gw.firewall.base import HostLists
from upnp_gw.firewall.nftables.elements import HeldForward, Key, Slot
from upnp_gw.firewall.nftables.names import Names
from upnp_gw.model.mapping import Screen
from upnp_gw.model.network import Network

LIVE_GRACE_S = 90.0
"""Seconds that a carrying element outlives its opening element. Flows of an expired mapping are cut after 60 s."""


@dataclass(slots=True)
class RulesetState:
    """Everything that we have put into the maps."""

    network: Network
    size: int
    """The most mappings (SR-5). The maps have room for twice as many: see ``ruleset``."""
    live_grace_s: float = LIVE_GRACE_S
    hosts: HostLists = field(default_factory=dict)
    """The contents of the interval sets of hosts."""
    screens: tuple[Screen, ...] = ()
    """The screens whose maps and rules are there."""
    router: bool = False
    """Router mode: our masquerade avoids the external ports of mappings."""
    forwards: dict[str, HeldForward] = field(default_factory=dict)
    slots: dict[Slot, str] = field(default_factory=dict)
    """Slot -> id of the forward in it."""
    many: int = 0
    """The number of slots in the maps of ``MANY_FOR_ONE``."""
    special_until: float = 0.0
    """The monotonic second at which the set of transports with special lookups is empty."""
    users: dict[Key, Names] = field(default_factory=dict)
    """Internal endpoint -> the forwards that lead to it, oldest first."""
    ports: dict[Key, Names] = field(default_factory=dict)
    """External port -> the port mappings with it. Only in router mode."""
    outs: dict[Key, str] = field(default_factory=dict)
    """Internal endpoint -> the forward whose external port it keeps."""
    outs_external: tuple[IPv4Address, ...] = ()
    """The external address, if there is one, that the elements of ``outs`` lead to where their forward has none."""
    closed: dict[Slot, HeldForward] = field(default_factory=dict)
    """Carrying slot -> a closed forward whose flows it still carries, oldest first."""
    closed_at: dict[Key, tuple[Slot, ...]] = field(default_factory=dict)
    """External endpoint of the forward -> its slots in ``closed``."""
