"""The shares of one source, and of all together, in UDP port 5351, in datagrams: no answer is larger than a request
rounded up to 24 bytes (SR-5, SR-22).

A source address proves nothing here. So requests that a flood can forge have their own room: requests that name a
mapping which stands, by its nonce where it has one, are not crowded out by others, nor are the reads. Senders are
told apart by ``Surroundings.sender_of``; made-up addresses are one sender.
"""

from collections import Counter
from collections.abc import Hashable
from enum import Enum

from upnp_gw.protocols.rate_limit import Rate, Throttle


class DatagramKind(Enum):
    """What a datagram asks for, and the room for it: (one source, all sources), in datagrams."""

    READ = (Rate(64, 16), Rate(512, 256))
    """Answered without the gateway: external address, ANNOUNCE, every error of form."""
    STANDING = (Rate(128, 8), Rate(1024, 512))
    """Renews or ends what stands: each costs a change of the kernel's table. A host with 400 mappings of a minute's
    lease sends seven a second."""
    NEW = (Rate(64, 8), Rate(512, 128))
    """Everything else. 50 hosts that come back with 8 mappings each after a new epoch fit in."""


HEARD = Rate(256, 64)
"""Datagrams of one sender that are looked at, whatever they ask for: at once as many as the three rooms above have
for it, and in the long run twice as many. What is over it is dropped before it is parsed; so does the kernel, where
it has our table."""


AT_ONCE, AT_ONCE_OF_ALL = 32, 512
"""Questions before the gateway at once, of one sender and of all: it answers in the order in which it is asked, so
whoever asks 128 things at once makes the next one wait for all of them. The sources' retries come back later."""


class DatagramLimits:
    """The rooms of all sockets together. Memory is bounded by the throttles."""

    def __init__(self) -> None:
        self._asking: Counter[Hashable] = Counter()
        self._throttles = {sort: Throttle[Hashable](*sort.value) for sort in DatagramKind}
        self._heard = Throttle[Hashable](HEARD)

    def hear(self, sender: Hashable, now: float) -> bool:
        """Whether one more datagram of this sender is looked at."""
        return self._heard.spend(sender, 1, now)

    def begin(self, sender: Hashable) -> bool:
        """Whether one more question of this sender goes to the gateway now; then ``done`` follows."""
        if self._asking[sender] >= AT_ONCE or self._asking.total() >= AT_ONCE_OF_ALL:
            return False
        self._asking[sender] += 1
        return True

    def done(self, sender: Hashable) -> None:
        """Ends a question of this sender, answered or given up."""
        self._asking[sender] -= 1
        if not self._asking[sender]:
            del self._asking[sender]

    def admit(self, sort: DatagramKind, sender: Hashable, now: float) -> bool:
        """Whether one more datagram of this sort is answered."""
        return self._throttles[sort].spend(sender, 1, now)
