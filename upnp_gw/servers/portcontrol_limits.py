"""How much of UDP port 5351 one source, and all together, may take: by datagrams, since no answer is larger than
a request rounded up to 24 bytes (SR-5, SR-22).

A source address proves nothing here. So what a forged flood can ask for has its own room: requests that name a
mapping which stands, by its nonce where it has one, are not crowded out by others, nor are the reads.
"""

from enum import Enum

from upnp_gw.model import IPAddress
from upnp_gw.throttle import Rate, Throttle


class Sort(Enum):
    """What a datagram asks for, and the room for it: (one source, all sources), in datagrams."""

    READ = (Rate(64, 16), Rate(512, 256))
    """Answered without the gateway: external address, ANNOUNCE, every error of form."""
    STANDING = (Rate(128, 32), Rate(1024, 512))
    """Renews or ends what stands."""
    NEW = (Rate(64, 8), Rate(512, 128))
    """Everything else. 50 hosts that come back with 8 mappings each after a new epoch fit in."""


class Limits:
    """The rooms of all sockets together. Memory is bounded by the throttles."""

    def __init__(self) -> None:
        self._throttles = {sort: Throttle[IPAddress](*sort.value) for sort in Sort}

    def admit(self, sort: Sort, source: IPAddress, now: float) -> bool:
        return self._throttles[sort].spend(source, 1, now)
