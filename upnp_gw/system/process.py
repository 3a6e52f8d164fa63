"""The start, the memory and the end of the daemon's process.

A start makes hundreds of thousands of objects, and nearly all of them stay. The garbage collector would look at
them again and again: a sixth of the processor time of a start with 10,000 mappings. At the end Python would free
each of them, which takes as long as all the rest of a stop.
"""

import ctypes
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from upnp_gw.system.without_openssl import leave_out_openssl

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Options of mallopt(3)."""
HEAP_VARIABLES = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
"""Of the daemon's environment in the unit, in the container and in the lab: no thread keeps freed blocks for itself
(docs/decisions/0056). The C library reads it before the program begins; there is no call for it."""
SWITCH_S = 0.0005


def prepare_imports() -> None:
    """Call this before the imports of the daemon. Switches the garbage collector off, and leaves OpenSSL out."""
    gc.disable()
    leave_out_openssl()


def bound_heap() -> None:
    """Has glibc's malloc keep few free blocks (docs/decisions/0039). Call it before there are threads. Other C
    libraries have no such settings.

    By default each thread has a heap of its own, and free blocks of one are no use to another. And a buffer of
    128 KiB, as for each netlink message, is a mapping of its own: 15 us of system calls and page faults.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, 1 << 18), (M_TRIM_THRESHOLD, 1 << 17)):
            mallopt(option, value)


def give_back_memory() -> None:
    """Gives free blocks of glibc's malloc back to the kernel, wherever they are. Call it after a piece of work that
    needed much memory for a moment; it takes some milliseconds, and other threads go on. Other C libraries have no
    such call."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def share_interpreter() -> None:
    """A thread that works in Python gives way after half a millisecond, in place of 5 ms. So long at most the event
    loop waits for the readings of counters, the search for flows and the store."""
    sys.setswitchinterval(SWITCH_S)


def begin_collection() -> None:
    """Collects, sets all remaining objects aside, and switches the collector on. Later passes skip these objects:
    a pass over them stops the loop for 5 ms for each 1000 mappings."""
    gc.collect()
    gc.freeze()
    gc.enable()


@contextmanager
def collection_paused() -> Iterator[None]:
    """No collection within the block, which makes many objects that stay: a refill after a foreign flush."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def end_process(code: int) -> NoReturn:
    """Ends the process without freeing its objects. Everything that has to be closed is closed before."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader of the pipe is gone, or the stream is closed
            stream.flush()
    os._exit(code)
