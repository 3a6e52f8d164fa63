"""The time that `upnp-gw list` takes from its start to its table, imports included (the limit is 0.25 s).

    python -m tests.bench.bench_start [RUNS]

Serves 100 mappings on a control socket of its own and calls the real command. Prints the fastest, the median and
the processor's time, which does not depend on what else the machine does.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fixtures.fake_operator import mapping, served

LIMIT_S = 0.25


def timed(what: str, arguments: list[str], runs: int) -> float:
    """Prints the figures; the answer is the median, seconds."""
    taken, before = [], resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=os.environ)
        taken.append(time.perf_counter() - began)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / runs
    fastest, median = min(taken), statistics.median(taken)
    print(
        f"{what:<13} fastest {fastest * 1000:.0f} ms, median {median * 1000:.0f} ms, processor {busy * 1000:.0f} ms"
    )
    return median


def main() -> int:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as directory, served(Path(directory)) as daemon:
        daemon.operator.held = [mapping(number) for number in range(1, 101)]
        timed("python alone", ["-c", "pass"], runs)
        median = timed("upnp-gw list", ["-m", "upnp_gw", "list", "--runtime-dir", directory], runs)
    return int(median > LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
