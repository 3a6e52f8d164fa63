"""The query "who has this address?" to the hosts of a LAN link, and waiting for its answers.

``who_has.SocketQuery`` asks all hosts at once by sockets of our own. ``neighbour_table.KernelQuery`` makes the
kernel ask known hosts one by one, for a daemon that may not open such sockets.
"""

import asyncio
import errno
from collections.abc import Callable, Mapping
from typing import Protocol

NOT_ALLOWED = frozenset(
    {errno.EPERM, errno.EACCES}  # no CAP_NET_RAW
    | {errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EOPNOTSUPP, errno.ENOSYS}  # a sandbox without AF_PACKET
)
"""Errors that mean: this process may never ask. Any other error (the link is down, too many open queries, a full
queue) means: not now."""


class AddressQuery(Protocol):
    """``who_has.SocketQuery`` or ``neighbour_table.KernelQuery``."""

    @property
    def by_kernel(self) -> bool:
        """True: the kernel asks, and asking changes the neighbour entry."""
        ...

    @property
    def answers(self) -> Mapping[str, None]:
        """The MAC addresses that have answered, in order."""
        ...

    @property
    def new_answer(self) -> asyncio.Event:
        """Set at each new answer."""
        ...

    def ask(self, *hosts: str) -> None:
        """Asks all hosts of the link, and these MAC addresses by unicast too. Raises OSError."""
        ...

    def close(self) -> None: ...


async def wait_for_answers(query: AddressQuery, until: float, enough: Callable[[], bool]) -> bool:
    """True as soon as ``enough()`` is; False at the loop time ``until``."""
    loop = asyncio.get_running_loop()
    while not enough():
        remaining_s = until - loop.time()
        if remaining_s <= 0:
            return False
        query.new_answer.clear()
        try:
            async with asyncio.timeout(remaining_s):
                await query.new_answer.wait()
        except TimeoutError:
            continue
    return True
