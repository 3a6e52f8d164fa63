"""The well-behaved client beside an attack: what it asks, and how long each answer takes."""

import math
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from tests.lab.attacks import PORT_CONTROL
from tests.lab.whole_way import Home

PAUSE_S = 0.02
"""Between two questions."""
NATPMP_EVERY = 5
"""Rounds: one host is answered 16 reads a second."""


@dataclass
class Honest:
    """A console that reads, refreshes its mapping, and asks over NAT-PMP; seconds of each answer by kind."""

    here: Home
    map_every: int = 1
    """Rounds. Under a home's own limits a device has 60 requests to map a minute."""
    times: dict[str, list[float]] = field(default_factory=dict)

    def ask(self, rounds: int | None = None, while_: Callable[[], bool] = lambda: True) -> None:
        """Every kind of question in turn. Each must be answered; a lost datagram is sent again, as clients do."""
        point = self.here.point()
        point.add(3074)
        done = 0
        while done != rounds and while_():
            self._timed("read", point.external_address)
            if done % self.map_every == 0:
                self._timed("map", lambda: point.add(3074))
            if done % NATPMP_EVERY == 0:
                self._timed("NAT-PMP", self._external_by_natpmp)
            time.sleep(PAUSE_S)
            done += 1

    def p99(self, kind: str) -> float:
        """Seconds."""
        ordered = sorted(self.times[kind])
        return ordered[math.ceil(len(ordered) * 0.99) - 1]

    def _timed(self, kind: str, act: Callable[[], object]) -> None:
        begun = time.perf_counter()
        act()
        self.times.setdefault(kind, []).append(time.perf_counter() - begun)

    def _external_by_natpmp(self) -> None:
        """RFC 6886 section 3.1: 250 ms, then twice as long each time."""
        with self.here.console.inside():
            asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with asker:
            for attempt in range(5):
                asker.settimeout(0.25 * 2**attempt)
                asker.sendto(bytes(2), (str(self.here.gateway.address), PORT_CONTROL))
                try:
                    answer = asker.recv(64)
                except TimeoutError:
                    continue
                assert answer[1:4] == b"\x80\x00\x00"
                return
        raise AssertionError("NAT-PMP was never answered")


@contextmanager
def attacked(here: Home, name: str, seconds: float, count: int) -> Iterator["Popen[str]"]:
    """The pc attacks; at the end of the block it has stopped. Its stdout has the number of tries."""
    point = here.point("pc")
    paths = (point.control["WANIPConnection"], point.events["WANIPConnection"])
    words = (name, str(here.gateway.address), str(seconds), str(count), *paths, str(here.pc.address))
    process = here.pc.popen([sys.executable, "-m", "tests.lab.attacks", *words], cwd=Path(__file__).parents[2])
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def memory_kb(pid: int) -> int:
    """VmRSS of a process."""
    (found,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"))
    return int(found)
