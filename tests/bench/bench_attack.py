"""The honest client under each attack: p99 of its answers, without and with it, in one run on one daemon.

    python -m tests.bench.bench_attack [SECONDS [COUNT [ATTACK ...]]]

SECONDS of each attack at most (default 8), COUNT tries at most (default 50000; a flood lasts its SECONDS). Calm
phases before each attack are what it is compared with. Attacker, honest client and gateway are three processes on
the same cores: part of a slow answer is only that. The row ``flood-nobody`` shows how much: the same flood to a
port where nobody listens.

``lost``: first tries that were not answered in the client's own time. ``us/try``: processor time of the gateway for
each try of the attacker, the honest client's questions among it. ``load``: of the whole machine.

Exit code 1 where a flood made p99 longer than ``BAR_S`` or lost a first try.
"""

import os
import sys
import tempfile
from pathlib import Path

from tests.lab.attacks import ATTACKS, FLOODS, NOBODY
from tests.lab.end_to_end import ROUTER, Home, served_home
from tests.lab.well_behaved_client import WellBehavedClient, attacked, cpu_s, memory_kb
from upnp_gw.lab import acquire

CALM_ROUNDS = 60
KINDS = ("read", "map", "NAT-PMP", "PCP", "SSDP")
BAR_S = 0.1


def measure(home: Home, name: str, seconds: float, count: int, map_every: int = 1) -> bool:
    """Prints one row; True where the honest client was served as if there were no flood."""
    calm, pressed = WellBehavedClient(home, map_every), WellBehavedClient(home, map_every)
    calm.ask(CALM_ROUNDS)
    before, used = memory_kb(home.daemon.pid), cpu_s(home.daemon.pid)
    with attacked(home, name, seconds, count) as attack:
        pressed.ask(while_=lambda: attack.poll() is None)
        assert attack.stdout is not None
        tries = int(attack.stdout.read())
    grown, used = memory_kb(home.daemon.pid) - before, cpu_s(home.daemon.pid) - used
    cells = [f"{calm.p99(kind) * 1000:5.1f} ->{pressed.p99(kind) * 1000:7.1f}" for kind in KINDS]
    lost = sum(pressed.lost.values())
    stored = sum(path.stat().st_size for path in home.daemon.state_dir.iterdir()) // 1024
    row = f"{name:14} {tries:8} {used * 1e6 / tries:6.1f} {len(pressed.times['read']):6} {'  '.join(cells)}"
    print(f"{row} {lost:4} {grown:+6} {stored:7} {os.getloadavg()[0]:5.1f}", flush=True)
    return not lost and max(map(pressed.p99, KINDS)) < BAR_S


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 8.0
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 50_000
    served: dict[str, bool] = {}
    print(acquire())
    with tempfile.TemporaryDirectory() as directory, served_home(Path(directory), *ROUTER) as home:
        WellBehavedClient(home).ask(CALM_ROUNDS)  # the first answers load code
        columns = "  ".join(f"{kind + ' p99, ms':15}" for kind in KINDS)
        print(f"{'attack':14} {'tries':>8} us/try honest {columns} lost RSS kB   state  load")
        for name in sys.argv[3:] or (NOBODY, *ATTACKS):
            served[name] = measure(home, name, seconds, count)
        home.agree()
    if not sys.argv[3:]:
        with tempfile.TemporaryDirectory() as directory, served_home(Path(directory), *ROUTER, policy=None) as home:
            print("by the home policy, until 50,000 are refused:")
            measure(home, "changes", 600.0, 50_000, map_every=50)
            home.agree()
    if failed := [name for name in FLOODS if not served.get(name, True)]:
        sys.exit(f"not under {BAR_S * 1000:.0f} ms without a loss: {', '.join(failed)}")


if __name__ == "__main__":
    main()
