"""A request of a NAT-PMP or PCP datagram to the gateway, with the function that makes the datagram of its reply."""

from collections.abc import Callable
from dataclasses import dataclass

from upnp_gw.model.request import MapRequest, ReleaseRequest, Reply


@dataclass(frozen=True, slots=True)
class PendingReply:
    """A request that waits for the gateway."""

    request: MapRequest | ReleaseRequest
    answer: Callable[[Reply, int], bytes]
    """(reply, the epoch's seconds at that moment) -> the datagram to send back."""
    insists: bool = False
    """PCP: the client accepts no other external address (PREFER_FAILURE with an address)."""
