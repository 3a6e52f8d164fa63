"""The honest client under each attack: p99 of its answers as a ratio to the p99 without, in one run on one daemon.

    python -m tests.bench.bench_attack [SECONDS [COUNT [ATTACK ...]]]

SECONDS of each attack at most (default 8), COUNT tries at most (default 50000). Calm phases before each attack are
what it is compared with. Attacker, honest client and gateway are three processes on the same cores: part of a ratio
is only that.
"""

import sys
import tempfile
from pathlib import Path

from tests.lab.attacks import ATTACKS
from tests.lab.honest import Honest, attacked, memory_kb
from tests.lab.whole_way import ROUTER, Home, home
from upnp_gw.lab import acquire

CALM_ROUNDS = 60
KINDS = ("read", "map", "NAT-PMP")


def measure(here: Home, name: str, seconds: float, count: int, map_every: int = 1) -> str:
    """One row."""
    calm, pressed = Honest(here, map_every), Honest(here, map_every)
    calm.ask(CALM_ROUNDS)
    before = memory_kb(here.daemon.pid)
    with attacked(here, name, seconds, count) as attack:
        pressed.ask(while_=lambda: attack.poll() is None)
        assert attack.stdout is not None
        tries = int(attack.stdout.read())
    grown = memory_kb(here.daemon.pid) - before
    pairs = [(calm.p99(kind) * 1000, pressed.p99(kind) * 1000) for kind in KINDS]
    cells = [f"{idle:6.1f} -> {busy:6.1f} ms {busy / idle:5.1f}x" for idle, busy in pairs]
    stored = sum(path.stat().st_size for path in here.daemon.state_dir.iterdir()) // 1024
    return f"{name:15} {tries:8} {len(pressed.times['read']):6}  {'  '.join(cells)}  {grown:+6} {stored:7}"


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 8.0
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 50_000
    print(acquire())
    with tempfile.TemporaryDirectory() as directory, home(Path(directory), *ROUTER) as here:
        Honest(here).ask(CALM_ROUNDS)  # the first answers load code
        columns = "  ".join(f"{kind + ' p99':27}" for kind in KINDS)
        print(f"{'attack':15} {'tries':>8} {'honest':>6}  {columns}  RSS kB  state kB")
        for name in sys.argv[3:] or ATTACKS:
            print(measure(here, name, seconds, count), flush=True)
        here.agree()
    if not sys.argv[3:]:
        with tempfile.TemporaryDirectory() as directory, home(Path(directory), *ROUTER, policy=None) as here:
            print("by the home policy, until 50,000 are refused:")
            print(measure(here, "changes", 600.0, 50_000, map_every=50), flush=True)
            here.agree()


if __name__ == "__main__":
    main()
