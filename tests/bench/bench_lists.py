"""The answers of a client that maps ports while the gateway loads a long address list:

    python -m tests.bench.bench_lists [--entries 100000] [--times 3]

The real daemon on nftables in a lab. One client maps and deletes a port, over and over, and no mapping is for the
hosts of the list but its own. Prints, for each way in which the list changes, how long the load took (from the new
file to the policy in force), and the median and the longest of the client's waits in that time; and how much of a
wait was processor time of the gateway, which other programs on the machine make no longer. Needs root, or user
namespaces.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import NamedTuple

from tests.bench import messages
from tests.bench.load import Request, one_by_one
from tests.lab.end_to_end import ROOMY, ROUTER, Home, Watch, served_home
from upnp_gw.lab import LabUnavailable, acquire

LIST, LEASE_S = "blocklist.txt", 3600
PAUSE_S = 0.005
"""Between two requests."""
CALM_S = 2.0
SET = """
[set.blocklist]
file = "blocklist.txt"
"""
POLICY = ROOMY.replace('who = "*"', 'who = "*"\nremote = { never = ["@blocklist"] }') + SET
PORTS = range(2_000, 2_300)


class Answer(NamedTuple):
    """Seconds that a client waited for an answer."""

    waited: float
    gateway: float
    """Of these, processor time of the gateway, all its threads together: what it is without other programs."""


class Client:
    """Maps and deletes, and notes how long each answer took."""

    def __init__(self, home: Home) -> None:
        point = home.point()
        self._host = home.console
        self._path = point.control["WANIPConnection"]
        self._server = (str(home.gateway.address), point.port)
        self._pid = home.daemon.pid
        self._done = 0

    def ask(self) -> Answer:
        """Asks for one change."""
        port = PORTS[self._done // 2 % len(PORTS)]
        words = messages.key(port) if self._done % 2 else messages.entry(port, self._host.address, LEASE_S)
        action = "DeletePortMapping" if self._done % 2 else "AddPortMapping"
        self._done += 1
        data = messages.post(f"{self._server[0]}:{self._server[1]}", self._path, action, words)
        before = processor_s(self._pid)
        result = one_by_one(self._server, [Request(self._host, data)])
        if result.refused:
            sys.exit(f"refused: {result.refused[0]!r}")
        return Answer(result.times[0], processor_s(self._pid) - before)

    def ask_until(self, done: Callable[[], bool]) -> list[Answer]:
        """Asks again and again."""
        answers = []
        while not done():
            answers.append(self.ask())
            time.sleep(PAUSE_S)
        return answers


def prefixes(count: int, first: int, version: int = 4) -> str:
    """A list of so many prefixes that do not touch."""
    if version == 4:
        base = int(IPv4Address("100.0.0.0")) + (first << 9)
        return "".join(f"{IPv4Address(base + (number << 9))}/24\n" for number in range(count))
    base = (0x2001 << 112) + (first << 81)
    return "".join(f"{IPv6Address(base + (number << 81))}/48\n" for number in range(count))


def measured(client: Client, watch: Watch, act: Callable[[], object]) -> tuple[float, Sequence[Answer]]:
    """Seconds from the act to the policy in force, and the client's answers meanwhile."""
    seen = len(watch.events)
    begun = time.perf_counter()
    thread = threading.Thread(target=act)
    thread.start()
    times = client.ask_until(lambda: any(one["event"] == "policy" for one in watch.events[seen:]))
    thread.join()
    return time.perf_counter() - begun, times


def row(name: str, answers: Sequence[Answer], load_s: float | None = None) -> None:
    shown = "" if load_s is None else f"{load_s:6.1f}"
    columns = ((one.waited for one in answers), (one.gateway for one in answers))
    cells = [f"{statistics.median(found) * 1000:8.1f} {max(found) * 1000:8.0f}" for found in map(list, columns)]
    print(f"{name:34} {shown:>6} {len(answers):6} {'  '.join(cells)}", flush=True)


def processor_s(pid: int) -> float:
    """Processor time of a process with its threads, seconds."""
    texts = [(task / "schedstat").read_text("ascii") for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int(text.split()[0]) for text in texts) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_lists")
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=3, help="how often each change is made")
    given = parser.parse_args()
    try:
        acquire()
    except LabUnavailable as problem:
        sys.exit(f"the benchmark needs network namespaces: {problem}")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write(directory, "192.0.2.0/24\n")
        with served_home(directory, *ROUTER, policy=POLICY) as home, home.watch() as watch:
            client = Client(home)
            client.ask_until(after(CALM_S))  # the first answers load code
            print(f"{'':41} {'':6} {'waited, ms':>17}  {'gateway, ms':>17}")
            columns = f"{'median':>8} {'longest':>8}"
            print(f"{'':34} {'load s':>6} {'asked':>6} {columns}  {columns}")
            row("no change", client.ask_until(after(CALM_S)))
            for number in range(given.times):
                changes(home, watch, client, directory, given.entries, number)
            print(f"the kernel beside the ledger: {home.unproved() or 'proved'}")


def changes(home: Home, watch: Watch, client: Client, directory: Path, entries: int, number: int) -> None:
    """Makes each change, and prints a row for it."""
    one, other = prefixes(entries, number), prefixes(entries, number + entries // 2)
    few = one.replace("/24\n", "/25\n", entries // 100)
    for name, text in (
        ("a list comes", one),
        ("one in a hundred is another", few),
        ("half of it is another", other),
        ("all are of IPv6", prefixes(entries, number, 6)),
        ("all are gone but one", "192.0.2.0/24\n"),
    ):
        load_s, times = measured(client, watch, partial(write, directory, text))
        row(name, times, load_s)
        if name == "half of it is another":
            asked = measured(client, watch, lambda: home.ask("POST", "/v1/reload"))
            row("reload, and nothing has changed", asked[1], asked[0])
    client.ask_until(after(0.5))


def after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def write(directory: Path, text: str) -> None:
    """Replaces the list as a whole."""
    new = directory / f"{LIST}.new"
    new.write_text(text)
    new.rename(directory / LIST)


if __name__ == "__main__":
    main()
