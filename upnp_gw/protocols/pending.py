"""What a datagram of NAT-PMP or PCP asks of the gateway, and how its answer becomes bytes again."""

from collections.abc import Callable
from dataclasses import dataclass

from upnp_gw.model.request import MapRequest, ReleaseRequest, Reply


@dataclass(frozen=True, slots=True)
class PendingReply:
    request: MapRequest | ReleaseRequest
    answer: Callable[[Reply, int], bytes]
    """(reply, the epoch's seconds at that moment) -> the datagram to send back."""
    insists: bool = False
    """PCP: a mapping on another external address is of no use to the client (PREFER_FAILURE with the address)."""
