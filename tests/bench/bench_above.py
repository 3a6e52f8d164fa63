"""A silent gateway above: the answers to one host beside the requests of another that wait for it, in one run.

    python -m tests.bench.bench_above [ROUNDS]

Two gateways in series. The process of the upper one stands still, so each port mapping waits four seconds for it.
As many of one host wait as may. Another host asks for what needs no gateway above: a pinhole, the external address,
a mapping that the policy refuses. ROUNDS of each (default 900), without and beside. Exit code 1 where p99 of one
kind is longer than ``BAR_S``.
"""

import os
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from tests.bench.samples import percentile
from tests.lab.end_to_end import ROUTER, pinhole, served_home
from tests.lab.gateways_in_series import BOTTOM, RACK, SHELF, Below, served_below
from tests.lab.igd_control_point import ControlPoint, Fault
from tests.lab.test_port5351 import talk
from upnp_gw.lab import HOME, Host, Topology, acquire
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.pcp import codec
from upnp_gw.protocols.pcp.messages import ANY_IPV4, MapData, Request, Response, ResultCode

TWO = Topology(lans=(replace(HOME, routers=(BOTTOM,)),))
ROUNDS = 900
WAITING = 32
"""Requests that wait for the gateway above: the most of one host (``servers.port5351.limits``)."""
PAUSE_S = 0.02
BAR_S = 0.1
Times = dict[str, list[float]]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    print(acquire())
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with served_home(directory, *ROUTER, topology=TWO) as home:
            host = home.lab.hosts[BOTTOM.host.name]
            with served_below(host, directory / "below", HOME, BOTTOM.host.number) as below:
                rack, shelf = (home.lab.hosts[one.name] for one in (RACK, SHELF))
                ask(shelf, 50)  # the first answers load code
                calm = ask(shelf, rounds)
                os.kill(home.daemon.pid, signal.SIGSTOP)
                try:
                    with waiting(rack, below) as counts:
                        beside = ask(shelf, rounds)
                finally:
                    os.kill(home.daemon.pid, signal.SIGCONT)
    slow = False
    print(f"{'':10} {'without, ms':>20} {'beside, ms':>20}   {counts[0]} requests waited in vain")
    print(f"{'':10} {'median':>10}{'p99':>10} {'median':>10}{'p99':>10}")
    for kind in calm:
        figures = [percentile(sorted(times[kind]), share) for times in (calm, beside) for share in (0.5, 0.99)]
        cells = [f"{1000 * figure:10.1f}" if figure is not None else f"{'-':>10}" for figure in figures]
        print(f"{kind:10} {cells[0]}{cells[1]} {cells[2]}{cells[3]}")
        slow |= figures[3] is not None and figures[3] > BAR_S
    if slow:
        sys.exit(f"p99 is over {BAR_S * 1000:.0f} ms")


def ask(host: Host, rounds: int) -> Times:
    """Seconds of each answer, by kind."""
    times: Times = defaultdict(list)
    point = ControlPoint(host, BOTTOM.lan.network[1], IgdVersion.IGD2)

    def refused() -> None:
        with suppress(Fault):
            point.add(8081, NewInternalClient=RACK_ADDRESS)

    kinds: dict[str, Callable[[], object]] = {
        "pinhole": lambda: pinhole(point),
        "read": point.external_address,
        "refused": refused,
    }
    for _ in range(rounds):
        for kind, question in kinds.items():
            began = time.perf_counter()
            question()
            times[kind].append(time.perf_counter() - began)
        time.sleep(PAUSE_S)
    return times


RACK_ADDRESS = BOTTOM.lan.network[RACK.number]


@contextmanager
def waiting(host: Host, below: Below) -> Iterator[list[int]]:
    """So many requests of this host wait; each that was refused is asked again with another port."""
    counts = [0]
    end = threading.Event()

    def keep(number: int) -> None:
        port = 20_000 + number
        with (
            suppress(TimeoutError),
            talk(host, server=BOTTOM.lan.network[1]) as line,
        ):  # a dropped one waits no more
            while not end.is_set():
                data = MapData(b"of the rack.", 6, port, port, ANY_IPV4)
                answer: Response = codec.parse_response(line.ask(codec.build_request(Request(600, line.own, data))))
                assert answer.result is not ResultCode.SUCCESS
                counts[0] += 1
                port += WAITING

    threads = [threading.Thread(target=keep, args=(number,), daemon=True) for number in range(WAITING)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        end.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
