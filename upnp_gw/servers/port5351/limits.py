"""Rate limits of UDP port 5351, in datagrams, for each sender and for all of them together (SR-5, SR-22).

No answer is longer than its request rounded up to 24 bytes, so counting datagrams bounds the bytes. A source
address proves nothing here. So requests that a flood can forge have a bucket of their own: they use up neither the
bucket of requests that renew an existing mapping (and know its nonce, if it has one) nor that of reads.
``LanContext.share_of`` names the sender; all made-up addresses of a link are one sender.
"""

from collections import Counter
from collections.abc import Hashable
from enum import Enum

from upnp_gw.protocols.rate_limit import Rate, Throttle


class DatagramKind(Enum):
    """Kinds of requests, each with its limits: (one sender, all senders)."""

    READ = (Rate(64, 16), Rate(512, 256))
    """Answered without the gateway: external address, ANNOUNCE, malformed requests."""
    RENEWAL = (Rate(128, 8), Rate(1024, 512))
    """Renews or ends an existing mapping: each changes the kernel's table. A host with 400 mappings of a minute's
    lease sends seven a second."""
    NEW = (Rate(64, 8), Rate(512, 128))
    """Every other request. 50 hosts that ask for 8 mappings each after a new epoch fit in."""


READ_RATE = Rate(256, 64)
"""Datagrams of one sender that are parsed, of every kind: the burst is the sum of the three above, the rate twice
theirs. More are dropped unread, by the kernel too where it has our table."""
MOST_RUNNING, MOST_RUNNING_IN_ALL = 32, 1024
"""Requests of one sender, and of all, that wait for the gateway at once. It answers in order, so one host with 128
waiting requests would delay everybody. Clients retransmit dropped ones, over PCP after 3 s. So all of them together
may have as many as may renew at once: a power cut brings back all hosts of a LAN in the same second."""


class DatagramLimits:
    """The limits of all sockets together. ``Throttle`` bounds the memory."""

    def __init__(self) -> None:
        self._running: Counter[Hashable] = Counter()
        self._throttles = {kind: Throttle[Hashable](*kind.value) for kind in DatagramKind}
        self._reads = Throttle[Hashable](READ_RATE)

    def may_parse(self, sender: Hashable, now: float) -> bool:
        """Counts one datagram of this sender; False: it is over the limit."""
        return self._reads.spend(sender, 1, now)

    def admit(self, kind: DatagramKind, sender: Hashable, now: float) -> bool:
        """Counts one request of this kind; False: it is over the limit."""
        return self._throttles[kind].spend(sender, 1, now)

    def begin(self, sender: Hashable) -> bool:
        """Counts a request that waits for the gateway; False: too many wait. After True, call ``done``."""
        if self._running[sender] >= MOST_RUNNING or self._running.total() >= MOST_RUNNING_IN_ALL:
            return False
        self._running[sender] += 1
        return True

    def done(self, sender: Hashable) -> None:
        """Ends a waiting request, whether it was answered or not."""
        self._running[sender] -= 1
        if not self._running[sender]:
            del self._running[sender]
