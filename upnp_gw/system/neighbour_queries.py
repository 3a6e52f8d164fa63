"""A question to the hosts of a link, "who has this address?", and waiting for its answers."""

import asyncio
import errno
from collections.abc import Callable, Mapping
from typing import Protocol

NOT_ALLOWED = frozenset(
    {errno.EPERM, errno.EACCES}  # no CAP_NET_RAW
    | {errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EOPNOTSUPP, errno.ENOSYS}  # a sandbox without AF_PACKET
)
"""Errors that tell that this process may not ask. Any other error keeps us from asking now, and settles nothing: a
link that is down, too many open questions, a link that takes no more for now."""


class NeighbourQuery(Protocol):
    """``who_has.NeighbourQuery``, or ``presence.KernelProbe``."""

    @property
    def by_kernel(self) -> bool:
        """True: asking writes the neighbour entry."""
        ...

    @property
    def answers(self) -> Mapping[str, None]:
        """The MAC addresses that have answered, in order."""
        ...

    @property
    def heard(self) -> asyncio.Event:
        """Set at each new one."""
        ...

    def ask(self, *hosts: str) -> None:
        """Asks all hosts of the link, and these ones by their MAC address too. Raises OSError."""
        ...

    def close(self) -> None: ...


async def hear(question: NeighbourQuery, until: float, enough: Callable[[], bool]) -> bool:
    """True as soon as the answers are enough; False at that loop time."""
    loop = asyncio.get_running_loop()
    while not enough():
        left = until - loop.time()
        if left <= 0:
            return False
        question.heard.clear()
        try:
            async with asyncio.timeout(left):
                await question.heard.wait()
        except TimeoutError:
            continue
    return True
