"""The state of the gateway that every server of the LAN reads."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from upnp_gw.model.mapping import Instant
from upnp_gw.model.network import Network
from upnp_gw.model.request import Source


@dataclass(frozen=True, slots=True)
class LanContext:
    """Shared by the servers: the network, the clock and the sender's share."""

    network: Callable[[], Network]
    """The network as it is now."""
    clock: Callable[[], Instant]
    share_of: Callable[[Source], Hashable] = lambda source: source.address
    """Sources with an equal value share the limits of one host."""
