"""The figures of the soak and of the benchmark of memory: they name what grew, and how fast."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import ROOT
from tests.memory.asking import Asking
from tests.memory.resident import resident, slope
from upnp_gw.system.process import HEAP_VARIABLES

GROWING = """
import gc, sys
from tests.memory import inside
inside.install()

class Kept:
    pass

class Cycle:
    def __init__(self):
        self.own = self

kept = []
print("ready", flush=True)
for line in sys.stdin:
    kept += [Kept() for _ in range(3000)]
    alive = Cycle()
    gc.collect()
    gc.freeze()
    del alive
    print("grown", flush=True)
"""


@contextmanager
def growing(asking: Asking) -> Iterator[subprocess.Popen[str]]:
    """A program that keeps 3,000 objects more, and sets aside one that becomes garbage, for each line."""
    environment = {**os.environ, **asking.environment}
    argv = [sys.executable, "-c", GROWING]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, env=environment, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def grow(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "grown\n"


def test_what_grew_is_named(tmp_path: Path) -> None:
    asking = Asking(tmp_path, trace=True)
    with growing(asking) as process:
        grow(process)
        asking.ask(process.pid, objects=True)
        asking.ask(process.pid)
        grow(process)
        assert "malloc in use" in asking.ask(process.pid, objects=True)
        assert asking.set_aside["__main__.Cycle"] == 2
        text = "\n".join(asking.growth())
    assert "from report 1 to report 3" in text
    assert "in +3000 __main__.Kept (now 6000)" in text
    assert "2 __main__.Cycle\n" in text, "they were set aside, and are garbage"
    assert 'File "<string>", line 1' in text


def test_the_figures_of_the_allocators_grow_with_the_objects(tmp_path: Path) -> None:
    asking = Asking(tmp_path)
    with growing(asking) as process:
        asking.ask(process.pid)
        grow(process)
        asking.ask(process.pid)
    first, second = asking.figures(0), asking.figures(1)
    assert asking.growth() == [], "no report has objects"
    assert 100 < second["Python's blocks in use"] - first["Python's blocks in use"] < 1000
    assert second["malloc in use"] > 100


KEEPING = """
import ctypes, json
from concurrent.futures import ThreadPoolExecutor
from tests.memory.heap import heap_kib
from upnp_gw.system.process import bound_heap

bound_heap()
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def allocate():
    return [library.malloc(size) for size in range(24, 1033, 16) for _ in range(20)]

def free(blocks):
    for block in blocks:
        library.free(block)

# in threads that are there already: a new one is an object as well
with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
    for thread in (one, other):
        thread.submit(free, thread.submit(allocate).result()).result()
    large = [library.malloc(100_000) for _ in range(3)]
    before = heap_kib()
    library.free(large[1])
    freed = heap_kib()
    one.submit(free, other.submit(allocate).result()).result()
    print(json.dumps([before, freed, heap_kib()]))
"""


KEPT = "malloc kept by threads"


def kept_by_threads(**environment: str) -> list[dict[str, float]]:
    """The figures before a large block is freed, after it, and after more small ones were freed."""
    others = {name: value for name, value in os.environ.items() if name not in HEAP_VARIABLES}
    environment = {**others, **environment}
    argv = [sys.executable, "-c", KEEPING]
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    found: list[dict[str, float]] = json.loads(run.stdout)
    return found


def test_blocks_that_threads_keep() -> None:
    before, freed, after = kept_by_threads()
    most_kib = 7 * sum(range(32, 1041, 16)) / 1024
    assert 2 * most_kib <= before[KEPT] <= 3 * most_kib, "seven blocks of each size for each of two threads"
    assert 95 < freed["malloc free, large blocks"] - before["malloc free, large blocks"] < 110
    assert after[KEPT] <= 3 * most_kib, "more than seven are not kept"


def test_threads_keep_no_blocks_in_the_environment_of_the_daemon() -> None:
    """Else the memory of a gateway grows for hours, by 235 KiB for each of its threads."""
    assert [figures[KEPT] for figures in kept_by_threads(**HEAP_VARIABLES)] == [0, 0, 0]


def test_resident_memory_by_kind() -> None:
    found = resident(os.getpid())
    assert found.total == found.anonymous + found.file + found.shared
    assert found.anonymous > 1000


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([(0.0, 5.0), (1.0, 7.0), (2.0, 9.0)], 2.0),
        ([(0.0, 5.0), (10.0, 5.0)], 0.0),
        ([(3.0, 5.0)], 0.0),
    ],
)
def test_slope(samples: list[tuple[float, float]], expected: float) -> None:
    assert slope(samples) == pytest.approx(expected)
