"""Signals: SIGTERM and SIGINT stop the daemon, SIGHUP makes it read the policy again.

They are handled from the start of the daemon to its end. By default a SIGHUP before the daemon is ready would kill
it, and a second SIGTERM would kill it while it stops: without byebye, and before ``--flush`` has ended the
mappings.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Signals:
    """Several signals of one kind count as one until it is handled."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.reload = asyncio.Event()
        """Clear it before the reload, so that a signal during the reload causes another one."""

    @contextmanager
    def handled(self, *, ignored_after: bool = False) -> Iterator[None]:
        """Installs the handlers. On the running loop, in the main thread.

        ``ignored_after``: the process ends after it, and a signal before its end must not change the exit code.
        """
        loop = asyncio.get_running_loop()
        events = {signal.SIGTERM: self.stop, signal.SIGINT: self.stop, signal.SIGHUP: self.reload}
        for number, event in events.items():
            loop.add_signal_handler(number, event.set)
        try:
            yield
        finally:
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, events)
            for number in events:
                loop.remove_signal_handler(number)
                if ignored_after:
                    signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
