"""The start and the stop of the emulator (upnp_gw.testing), a hundred of them at once, and the memory of each.

    python -m tests.bench.bench_emulator [RUNS]

The limits are 60 ms for the start of a fixture, and 5 ms for the plugin in a run of pytest that does not use it. A
run that does has the import of the emulator once, which is printed apart.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests import ROOT
from upnp_gw.testing import Emulator

LIMIT_S, PLUGIN_LIMIT_S = 0.06, 0.005
BESIDE = 100
IMPORT = "import pytest, time; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"

LIST = """
import importlib.metadata, sys, time
from _pytest.config import _iter_rewritable_modules
[installed] = importlib.metadata.distributions(name="upnp-gw", path=sys.argv[1:])
began = time.perf_counter()
list(_iter_rewritable_modules(str(file) for file in installed.files or ()))
print(time.perf_counter() - began)
"""


def resident_kib() -> int:
    """The memory of this process that is its own."""
    lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def timed(what: str, seconds: Sequence[float]) -> float:
    """Prints the figures; the answer is the median, seconds."""
    median = statistics.median(seconds)
    print(f"{what:<30} fastest {min(seconds) * 1000:.1f} ms, median {median * 1000:.1f} ms")
    return median


def imported(modules: str, runs: int) -> list[float]:
    argv = [sys.executable, "-c", IMPORT.format(modules)]
    return [
        float(subprocess.run(argv, check=True, capture_output=True, env=os.environ).stdout) for _ in range(runs)
    ]


def starts(runs: int) -> tuple[list[float], list[float]]:
    """Seconds of each start and stop, after one that is not counted."""
    started, stopped = [], []
    for _ in range(runs + 1):
        emulator, began = Emulator(), time.perf_counter()
        emulator.start()
        started.append(time.perf_counter() - began)
        began = time.perf_counter()
        emulator.stop()
        stopped.append(time.perf_counter() - began)
    return started[1:], stopped[1:]


def starts_on_a_loop(runs: int) -> list[float]:
    """Seconds of each start on the event loop of an asynchronous test, after one that is not counted."""

    async def started() -> list[float]:
        found = []
        for _ in range(runs + 1):
            began = time.perf_counter()
            async with Emulator():
                found.append(time.perf_counter() - began)
        return found[1:]

    return asyncio.run(started())


def list_of_files(runs: int) -> list[float]:
    """Seconds in which pytest reads the list of the files of this distribution, as pip has installed its wheel. It
    does so at each start, for every distribution with a plugin."""
    with TemporaryDirectory() as directory:
        site, wheels = Path(directory, "site"), Path(directory, "wheels")
        pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
        build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(wheels), str(ROOT)]
        subprocess.run([*pip, *build], check=True)
        install = ["install", "--no-deps", "--no-index", "--target", str(site), *map(str, wheels.iterdir())]
        subprocess.run([*pip, *install], check=True)
        argv = [sys.executable, "-c", LIST, str(site)]
        return [float(subprocess.run(argv, check=True, capture_output=True).stdout) for _ in range(runs)]


def beside_each_other() -> None:
    before, began = resident_kib(), time.perf_counter()
    with ExitStack() as stack:
        emulators = [stack.enter_context(Emulator()) for _ in range(BESIDE)]
        running_s = time.perf_counter() - began
        each_kib = (resident_kib() - before) / BESIDE
        for emulator in emulators:
            urllib.request.urlopen(emulator.location).read()
    print(
        f"{BESIDE} beside each other: started within {running_s:.1f} s, {each_kib:.0f} KiB each, each one answers"
    )


def main() -> int:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    cost = timed("import of the plugin", imported("upnp_gw.pytest_plugin", 5))
    cost += timed("pytest lists its files", list_of_files(runs))
    timed("import of upnp_gw.testing", imported("upnp_gw.testing", 5))
    started, stopped = starts(runs)
    median = timed("start of a fixture", started)
    timed("stop of a fixture", stopped)
    timed("start on the test's own loop", starts_on_a_loop(runs))
    beside_each_other()
    return int(median > LIMIT_S or cost > PLUGIN_LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
