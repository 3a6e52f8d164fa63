"""The daemon's memory: one heap for all threads."""

import platform
import subprocess
import sys

import pytest

THREADS = """
import ctypes, sys, threading
from upnp_gw.system.process import bound_heap

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
if sys.argv[1] == "bound":
    bound_heap()
allocated = threading.Barrier(5)


def allocate():
    libc.malloc(1000)
    allocated.wait()


threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
allocated.wait()
libc.malloc_stats()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
@pytest.mark.parametrize(("how", "one"), [("bound", True), ("as usual", False)])
def test_all_threads_share_one_heap(how: str, one: bool) -> None:
    done = subprocess.run([sys.executable, "-c", THREADS, how], capture_output=True, text=True, check=True)
    heaps = done.stderr.count("Arena ")
    assert (heaps == 1) is one, done.stderr
