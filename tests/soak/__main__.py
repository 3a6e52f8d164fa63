"""``python -m tests.soak --minutes N [--kills 200] [--seed 1]``: a home under load and faults, and the invariants.

``--figures`` prints what the memory is made of, and by which objects it grew, and fails for garbage that is never
freed; ``--trace`` also prints by which lines of the program it grew, and slows the daemon down.

First so many kills -9; then the other faults until the time is over, with one daemon, so that its memory says
something. After each fault, and every few seconds, the clients rest for a moment and it is asked:

- do the ledger, the kernel and the store agree, row by row?
- is every acknowledged mapping in force, and none that was refused or deleted?
- is it proved that the kernel lets in nothing but mappings?

Ends with 0 only where the answer was yes every time, and memory did not grow.
"""

import argparse
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from tests.fixtures.needed_lab import need_lab
from tests.fixtures.waiting import until
from tests.memory.asking import Asking
from tests.soak.faults import Calamities, Kills, Memory
from tests.soak.household import Household, household
from tests.soak.load import Load
from tests.soak.people import FIRST, Programs

EVERY_S = 3.0
"""Between two checks while nothing fails."""
REST_S = 0.05
"""Of each client between two requests: the machine is to be busy, not the judge of the run."""
SETTLE_S = 20.0
"""Until links, neighbours and heals are done with, and the ledger agrees with the kernel again."""
GROWTH_KIB = 5.0
"""A minute, at most, over an hour of one daemon."""
GROWING_UP_KIB = 200.0
"""The same in a shorter run: caches fill up, and every port is asked for once."""
HOUR = 60.0
SAMPLES = 30


class Soak:
    """One run."""

    def __init__(self, home: Household, load: Load, dice: random.Random, asking: Asking | None) -> None:
        self.home, self.load = home, load
        self.asking = asking
        self.programs = Programs(home)
        self.kills, self.calamities = Kills(dice), Calamities(dice)
        self.memory = Memory()
        self.seen: Counter[str] = Counter()
        self.errors: list[str] = []
        self.checks = 0
        self._read = 0
        """Lines of the daemon's log."""
        self._begun = time.monotonic()

    def run(self, minutes: float, kills: int) -> None:
        end = self._begun + 60 * minutes
        self.load.open()
        while self.kills.count < kills and time.monotonic() < end:
            self._fault(self.kills)
        self._print(f"{self.kills.count} kills")
        if self.asking:
            self.asking.restarted()
        self.programs.start()
        with closing(self.programs):
            for part_end in ((time.monotonic() + end) / 2, end):
                while time.monotonic() < part_end:
                    self._fault(self.calamities)
                    self.load.await_answers(30)
                    self._check("some seconds of peace")
                    time.sleep(EVERY_S)
                self.load.shut()
                self._explain(objects=True)
                self.load.open()

    def _fault(self, fault: Kills | Calamities) -> None:
        what = "?"
        try:
            what = fault(self.home, self.load)
        except AssertionError as error:
            self._wrong(f"{fault}: {error}")
        self.seen[what] += 1
        self._check(what)

    def _check(self, after: str) -> None:
        """With the clients at rest."""
        self.load.shut()
        with self.programs.round:
            self._give_back()
            agreed = until(lambda: not self._differs(), SETTLE_S)
            found = self.load.judge() if agreed else [self.home.disagreement()]
            found += filter(None, [self.home.unproved()])
        for one in (*found, *self._tracebacks()):
            self._wrong(f"after {after}: {one}")
        self.checks += 1
        self.memory.take(self.home.daemon.pid)
        if self.checks % SAMPLES == 0:
            total = self.memory.samples[-1][1].total
            self._print(f"{self.checks} checks, {self.load.answered} answers, {total:,.0f} KiB")
            if self.programs.is_alive():
                self._explain()
        self.load.open()

    def _explain(self, objects: bool = False) -> None:
        """With the clients at rest. While the daemon is killed again and again there is nothing to compare."""
        if self.asking is not None:
            self._print(f"    {self.asking.ask(self.home.daemon.pid, objects)}")

    def _tracebacks(self) -> Iterator[str]:
        """Those that the log has got since the last check."""
        lines = self.home.daemon.output[self._read :]
        self._read += len(lines)
        for number, line in enumerate(lines):
            if "Traceback" in line:
                yield "\n".join(lines[max(0, number - 3) : number + 40])

    def _give_back(self) -> None:
        """Deletes, as the operator, the mappings that a program could not delete during a fault."""
        for row in self.home.rows():
            if row["external_port"] >= FIRST:
                self.home.ask("DELETE", f"/v1/mappings/{row['id']}")

    def _differs(self) -> bool:
        try:
            return bool(self.home.disagreement())
        except (OSError, KeyError):
            return True

    def _wrong(self, what: str) -> None:
        self.errors.append(what)
        self._print(f"WRONG: {what}")
        for line in self._story(what):
            print(f"          {line}", flush=True)

    def _story(self, what: str) -> list[str]:
        """The decisions about the ports in question, and the answers to their clients."""
        records = [
            r for port in re.findall(r"\b\d{5}\b", what) for r in self.home.ask("GET", f"/v1/decisions?port={port}")
        ]
        decided = [
            f"{r['id']} {r['verdict']} {r['action']} {r['mapping']} {r['reasons']}" for r in reversed(records)
        ]
        ports = set(re.findall(r"\b\d{5}\b", what))
        seen = [f"{c.name}: {line}" for c in self.load.clients for line in c.story if ports & set(line.split())]
        return decided[-8:] + seen[-12:]

    def _print(self, what: str) -> None:
        print(f"{time.monotonic() - self._begun:7.1f} s  {what}", flush=True)

    def summary(self) -> bool:
        samples = self.memory.samples
        print("\nfaults")
        for what, count in sorted(self.seen.items()):
            print(f"  {count:5}  {what}")
        print("clients")
        for what, count in sorted((self.load.counts + self.programs.counts).items()):
            print(f"  {count:5}  {what}")
        healed = self.home.ask("GET", "/v1/status")["healed"]
        print(f"healed by the last daemon: {healed}")
        print(f"memory of the last daemon: {samples[0][1].total:,} -> {samples[-1][1].total:,} KiB")
        print(f"over {len(samples)} samples in {self.memory.minutes:.0f} minutes")
        flat = self._flat() if len(samples) >= SAMPLES else True
        print(f"checks: {self.checks}, wrong: {len(self.errors)}")
        leaked = self.asking is not None and bool(self.asking.set_aside)
        if leaked:
            print("garbage was set aside: it is never freed")
        return not self.errors and flat and not leaked

    def _flat(self) -> bool:
        most = GROWTH_KIB if self.memory.minutes >= 0.95 * HOUR else GROWING_UP_KIB
        slopes = self.memory.slopes()
        print(f"slope over the second half: {slopes.total:+.1f} KiB a minute (at most {most:.0f})")
        kinds = ", ".join(f"{name} {kib:+.1f}" for name, kib in slopes._asdict().items() if name != "total")
        print(f"of which {kinds}")
        if self.asking is not None:
            print("\n".join(self.asking.growth()))
        return slopes.total < most


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--figures", action="store_true", help="what the memory is made of, and what grew")
    parser.add_argument("--trace", action="store_true", help="the same by line of the program; slow")
    given = parser.parse_args()
    need_lab()
    with ExitStack() as stack:
        directory, reports = (Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2))
        asking = Asking(reports, given.trace) if given.figures or given.trace else None
        home = stack.enter_context(household(directory, environment=asking.environment if asking else None))
        with closing(Load(home, REST_S)) as load:
            soak = Soak(home, load, random.Random(given.seed), asking)
            soak.run(given.minutes, given.kills)
            load.shut()
        good = soak.summary()
    print("PASSED" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
