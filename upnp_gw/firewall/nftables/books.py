"""What the maps hold by our own knowledge. A change is worked out in a ``Draft`` over it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from upnp_gw.errors import FirewallError
from upnp_gw.firewall.base import Change, most_for_remotes
from upnp_gw.firewall.nftables.draft import Draft
from upnp_gw.firewall.nftables.elements import Held, Inner, Place, Slot
from upnp_gw.model import Transport
from upnp_gw.network import Network

LIVE_GRACE_S = 90.0
"""How much longer an element that carries lives than the one that opens, seconds: flows of an expired mapping are
cut after 60."""


@dataclass(slots=True)
class Books:
    """Everything that we have put into the maps."""

    network: Network
    size: int
    """Mappings at most (SR-5). The maps' own bound is twice that: see ``ruleset``."""
    live_grace_s: float = LIVE_GRACE_S
    router: bool = False
    """Our own masquerade keeps off the external ports of mappings."""
    forwards: dict[str, Held] = field(default_factory=dict)
    slots: dict[Slot, str] = field(default_factory=dict)
    """Slot -> id of the forward in it."""
    many: int = 0
    """Those of the slots that are in ``MANY_FOR_ONE``."""
    users: dict[Inner, tuple[str, ...]] = field(default_factory=dict)
    """Internal endpoint -> the forwards that lead to it, oldest first."""
    ports: dict[tuple[Transport, int], tuple[str, ...]] = field(default_factory=dict)
    """External port -> the port mappings that have it. Router mode alone."""
    outs: dict[Inner, tuple[str, str]] = field(default_factory=dict)
    """Internal endpoint -> the forward whose external port it keeps, and the element's data."""
    closed: dict[Slot, Held] = field(default_factory=dict)
    """What still carries flows of forwards that were closed, oldest first."""
    closed_at: dict[Place, tuple[Slot, ...]] = field(default_factory=dict)
    """The same by the place of the forward."""

    def draft(self, changes: Iterable[Change], now: float) -> Draft:
        """Works out the changes; ``now`` is the monotonic second. Raises FirewallError for impossible ones."""
        draft = Draft(self, now)
        for change in changes:
            draft.add(change)
        draft.settle()
        single, many = draft.filled
        most_single, most_many = max(self.size, len(self.slots) - self.many), most_for_remotes(self.size)
        if single > most_single or many > max(most_many, self.many):
            raise FirewallError("the table is full")
        return draft
