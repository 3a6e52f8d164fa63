"""A flame graph of the daemon under AddPortMapping, by py-spy, where that is installed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench.gateways import Gateway
from tests.bench.rows import Plan, measure
from tests.bench.samples import Point, Table

SAMPLES_PER_S = 500
PLAN = Plan(rounds=2, datagrams=10, crowd_rounds=0, walks=0, listings=0)


def profiler() -> str | None:
    """py-spy, from the search path or beside this Python."""
    return shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))


def record(program: str, gateway: Gateway, point: Point, seconds: int, svg: Path) -> bool:
    """The requests of one client for so long, with the profiler beside them; False where it made no graph."""
    argv = [program, "record", "--pid", str(gateway.pid), "--duration", str(seconds), "--threads"]
    argv += ["--rate", str(SAMPLES_PER_S), "--format", "flamegraph", "--output", str(svg)]
    profiled = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while profiled.poll() is None:
        measure(Table(), [gateway], point, PLAN, lambda text: None)
    assert profiled.stderr is not None
    with profiled.stderr as errors:
        words = errors.read()
    if not svg.exists():
        print(f"no {svg.name}: {words.strip()}", file=sys.stderr)
        return False
    title = f"{gateway.name}: AddPortMapping, one client, {seconds} s"
    svg.write_text(with_title(svg.read_text(), title))
    return True


def with_title(svg: str, title: str) -> str:
    """The graph with this title in place of the command line, which has paths of the machine."""
    return re.sub(r"(<text id=\"title\"[^>]*>)[^<]*", lambda found: found[1] + title, svg, count=1)
