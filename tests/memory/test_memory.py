"""The figures of the soak and of the benchmark of memory: they name what grew, and how fast."""

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
