"""The start and the stop of the emulator (upnp_gw.testing), a hundred of them at once, and the memory of each.

    python -m tests.bench.bench_emulator [RUNS]

The limit is 60 ms for the start of a fixture. The imports come once for a test run, and are printed apart.
"""

import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from upnp_gw.testing import Emulator

LIMIT_S = 0.06
BESIDE = 100
IMPORT = "import pytest, time; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"


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
    timed("import of the plugin", imported("upnp_gw.pytest_plugin", 5))
    timed("import of upnp_gw.testing", imported("upnp_gw.testing", 5))
    started, stopped = starts(runs)
    median = timed("start of a fixture", started)
    timed("stop of a fixture", stopped)
    beside_each_other()
    return int(median > LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
