"""``python -m tests.soak.series [--kills 20] [--seed 1]``: three gateways in series under load, and each is killed
so often. Afterwards no port is open above without its mapping below, once the longest lease above is over.

While it runs, clients of the bottom one open and delete ports over UPnP, NAT-PMP and PCP. Ends with 0 only if the
three tables agree at the end, a packet passes through every mapping, and nothing else is in the kernels' tables.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fixtures.needed_lab import need_lab
from tests.fixtures.waiting import until
from tests.lab.end_to_end import TCP
from tests.lab.gateways_in_series import RACK, SHELF, Below, Series, three_gateways
from tests.lab.igd_control_point import ControlPoint, Fault
from tests.lab.office import natpmpc, pcp
from upnp_gw.lab import Host
from upnp_gw.lab.daemon import LabDaemon
from upnp_gw.lab.probe import EchoServer
from upnp_gw.model.errors import WireError
from upnp_gw.protocols.igd_services import IgdVersion

LEASE_S = 120
"""The lease above, the shortest one."""
PORTS = 20
"""Ports of one client."""
LOAD_S = 1.0
"""Load between two kills, seconds."""
AGREED_S = LEASE_S + 30.0
"""After the last kill, seconds: what is above without a mapping below ends with its lease."""


class Client(threading.Thread):
    """Opens and deletes its ports at random. Answers are counted, not judged: gateways are killed meanwhile."""

    def __init__(self, series: Series, host: Host, number: int) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self.counts: Counter[str] = Counter()
        self._host, self._gateway = host, series.gateway
        self._dice = random.Random(number)
        self._first = 20_000 + PORTS * number
        self._protocol = ("igd", "natpmp", "pcp")[number % 3]
        self._end = threading.Event()

    def end(self) -> None:
        self._end.set()
        self.join()

    def run(self) -> None:
        while not self._end.is_set():
            port = self._first + self._dice.randrange(PORTS)
            word = self._dice.choice(("open", "open", "delete"))
            try:
                self._ask(port, word == "open")
                self.counts[f"{self._protocol} {word}: answered"] += 1
            except Fault:
                self.counts[f"{self._protocol} {word}: refused"] += 1
            except (OSError, WireError, ValueError, KeyError, AssertionError):
                self.counts[f"{self._protocol} {word}: no answer"] += 1
            self._end.wait(0.05)

    def _ask(self, port: int, opens: bool) -> None:
        if self._protocol == "igd":
            point = ControlPoint(self._host, self._gateway, IgdVersion.IGD1)
            point.add(port) if opens else point.delete(port)
        elif self._protocol == "pcp":
            pcp(self._host, port, 600 if opens else 0, server=self._gateway, suggested=port if opens else 0)
        else:
            lease = 600 if opens else 0
            natpmpc(self._host, "-a", port if opens else 0, port, "tcp", lease, server=self._gateway)


def run(series: Series, kills: int, dice: random.Random) -> list[str]:
    """The mistakes at the end, a sentence each."""
    clients = [Client(series, series.home.lab.hosts[(RACK, SHELF)[n % 2].name], n) for n in range(6)]
    for client in clients:
        client.start()
    hops: list[LabDaemon] = [series.home.daemon, series.middle.daemon, series.bottom.daemon] * kills
    dice.shuffle(hops)
    for number, daemon in enumerate(hops, 1):
        time.sleep(dice.uniform(0, LOAD_S))
        daemon.kill()
        time.sleep(dice.choice((0.0, 0.0, 0.5, 3.0)))
        daemon.start()
        if number % 10 == 0:
            print(f"{number} kills, rows: {[len(rows) for rows in series.tables]}", flush=True)
    time.sleep(LOAD_S)
    for client in clients:
        client.end()
    print("\n".join(f"  {count:5}  {what}" for what, count in sorted(counted(clients).items())))
    began = time.monotonic()
    agreed = until(lambda: not disagreement(series), AGREED_S)
    print(f"the tables agree after {time.monotonic() - began:.0f} s" if agreed else "the tables do not agree")
    print(f"rows: {[len(rows) for rows in series.tables]}", flush=True)
    return [*disagreement(series), *unreachable(series), *crashes(series)]


def counted(clients: list[Client]) -> Counter[str]:
    """The answers to all clients."""
    total: Counter[str] = Counter()
    for client in clients:
        total += client.counts
    return total


def disagreement(series: Series) -> list[str]:
    """Rows above without the row below that they lead to, and rows below without a lease above."""
    top, middle, bottom = series.tables
    return [
        *between("top", top, "middle", series.middle, middle),
        *between("middle", middle, "bottom", series.bottom, bottom),
    ]


def between(
    upper: str, above: list[dict[str, Any]], lower: str, gateway: Below, below: list[dict[str, Any]]
) -> list[str]:
    """The differences of two neighbours."""
    leads = {(row["transport"], row["internal_port"]) for row in above}
    asked = {(row["transport"], row["above"]["own_port"]) for row in below if row["above"] is not None}
    strange = [row for row in above if row["internal_client"] != str(gateway.own)]
    states = Counter(row["above"]["state"] for row in below if row["above"] is not None)
    return [
        *(f"{upper}: {row['id']} does not lead to the {lower}" for row in strange),
        *(f"{upper}: port {port} is open without a mapping of the {lower}" for _, port in sorted(leads - asked)),
        *(f"{lower}: port {port} has no mapping of the {upper}" for _, port in sorted(asked - leads)),
        *(f"{lower}: {count} mappings are {state}" for state, count in states.items() if state != "granted"),
    ]


def unreachable(series: Series) -> list[str]:
    """Mappings that no packet passes, of ten for each host."""
    wrong = []
    for host in (RACK, SHELF):
        machine = series.home.lab.hosts[host.name]
        rows = [row for row in series.bottom.rows() if row["internal_client"] == str(machine.address)]
        for row in rows[:10]:
            with EchoServer(machine, TCP, row["internal_port"]):
                if not series.arrives(row["external_port"]):
                    wrong.append(f"no packet passes to {host.name} by port {row['external_port']}")
    return wrong


def crashes(series: Series) -> list[str]:
    """Tracebacks in the logs."""
    daemons = {"top": series.home.daemon, "middle": series.middle.daemon, "bottom": series.bottom.daemon}
    return [
        "\n".join([f"{name}:", *daemon.output[max(0, at - 2) : at + 30]])
        for name, daemon in daemons.items()
        for at, line in enumerate(daemon.output)
        if "Traceback" in line
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak.series", description=(__doc__ or "").partition(":")[2]
    )
    parser.add_argument("--kills", type=int, default=20, help="of each gateway")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    need_lab()
    lease = f"lease = {LEASE_S}"
    with tempfile.TemporaryDirectory() as directory, three_gateways(Path(directory), lease) as series:
        wrong = run(series, given.kills, random.Random(given.seed))
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    print(f"{3 * given.kills} kills, wrong: {len(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
