"""What the supervisor says by signals: SIGTERM and SIGINT stop the daemon, SIGHUP has it read its policy again.

They are heard from the first moment to the last. By default a SIGHUP before the daemon is ready would end it, and a
second SIGTERM would end it in the middle of its stop: without byebye, and with open what ``--flush`` ends.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Signals:
    """However often a signal comes, it is one wish until somebody attends to it."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.reload = asyncio.Event()
        """Whoever attends to it clears it first, so that what comes meanwhile is another wish."""

    @contextmanager
    def heard(self) -> Iterator[None]:
        """On the running loop, in the main thread."""
        loop = asyncio.get_running_loop()
        wishes = {signal.SIGTERM: self.stop, signal.SIGINT: self.stop, signal.SIGHUP: self.reload}
        for number, requested in wishes.items():
            loop.add_signal_handler(number, requested.set)
        try:
            yield
        finally:
            for number in wishes:
                loop.remove_signal_handler(number)
