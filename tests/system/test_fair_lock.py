"""A lock that goes to the thread that waits."""

import threading
import time

from upnp_gw.system.fair_lock import FairLock


def test_the_thread_that_waits_gets_it_before_the_one_that_had_it() -> None:
    lock, order = FairLock(), []

    def wait() -> None:
        with lock:
            order.append("waited")

    waiting = threading.Thread(target=wait)
    with lock:
        waiting.start()
        while not lock.awaited:
            time.sleep(0.001)
        order.append("had it")
    with lock:
        order.append("had it again")
    waiting.join()
    assert order == ["had it", "waited", "had it again"]
    assert not lock.awaited


def test_it_is_free_after_an_error() -> None:
    lock = FairLock()
    for _ in range(2):
        try:
            with lock:
                raise ValueError
        except ValueError:
            continue
