"""How much of UDP port 5351 one source, and all together, may take: by datagrams, since no answer is larger than
a request rounded up to 24 bytes (SR-5, SR-22).

A source address proves nothing here. So what a forged flood can ask for has its own room: requests that name a
mapping which stands, by its nonce where it has one, are not crowded out by others, nor are the reads. A sender is
what ``Surroundings.sender_of`` says; made-up addresses are one.
"""

from collections.abc import Hashable
from enum import Enum

from upnp_gw.throttle import Rate, Throttle


class Sort(Enum):
    """What a datagram asks for, and the room for it: (one source, all sources), in datagrams."""

    READ = (Rate(64, 16), Rate(512, 256))
    """Answered without the gateway: external address, ANNOUNCE, every error of form."""
    STANDING = (Rate(128, 32), Rate(1024, 512))
    """Renews or ends what stands."""
    NEW = (Rate(64, 8), Rate(512, 128))
    """Everything else. 50 hosts that come back with 8 mappings each after a new epoch fit in."""


HEARD = Rate(256, 64)
"""Datagrams of one sender that are looked at, whatever they ask for: a little more than the three rooms above have
for it. What is over it is dropped before it is parsed; so does the kernel, where it has our table."""


class Limits:
    """The rooms of all sockets together. Memory is bounded by the throttles."""

    def __init__(self) -> None:
        self._throttles = {sort: Throttle[Hashable](*sort.value) for sort in Sort}
        self._heard = Throttle[Hashable](HEARD)

    def hear(self, sender: Hashable, now: float) -> bool:
        """Whether one more datagram of this sender is looked at."""
        return self._heard.spend(sender, 1, now)

    def admit(self, sort: Sort, sender: Hashable, now: float) -> bool:
        """Whether one more datagram of this sort is answered."""
        return self._throttles[sort].spend(sender, 1, now)
