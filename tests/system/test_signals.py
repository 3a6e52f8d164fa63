"""Signals are heard from the first moment to the last, and many of one kind are one wish."""

import asyncio
import os
import signal

from upnp_gw.system.signals import Signals


async def test_several_signals_of_one_kind_count_as_one() -> None:
    signals = Signals()
    with signals.handled():
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(5):
            await signals.reload.wait()
            assert not signals.stop.is_set()
            os.kill(os.getpid(), signal.SIGTERM)
            await signals.stop.wait()
            signals.stop.clear()
            os.kill(os.getpid(), signal.SIGINT)
            await signals.stop.wait()


async def test_the_handlers_are_removed_at_the_end() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with Signals().handled():
        assert signal.getsignal(signal.SIGHUP) is not before
    assert signal.getsignal(signal.SIGHUP) is before
