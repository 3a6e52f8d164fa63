"""Signals are heard from the first moment to the last, and many of one kind are one wish."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from tests.fixtures.waiting import EVENT_S
from upnp_gw.system.signals import Signals


async def test_several_signals_of_one_kind_count_as_one() -> None:
    signals = Signals()
    with signals.handled():
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(EVENT_S):
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


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_between_the_stop_and_the_end_of_the_process_changes_nothing(loop: str, number: str) -> None:
    code = f"""
import asyncio, os, signal, {loop}
from upnp_gw.system.signals import Signals
async def main():
    with Signals().handled(ignored_after=True):
        pass
    os.kill(os.getpid(), signal.{number})
with asyncio.Runner(loop_factory={loop}.new_event_loop) as runner:
    runner.run(main())
os.kill(os.getpid(), signal.{number})
print("ended by itself")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "ended by itself\n")
