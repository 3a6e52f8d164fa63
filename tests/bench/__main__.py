"""upnp-gw beside miniupnpd and a server that does nothing, by one client, in one run: ``python -m tests.bench``.

Each gateway runs in a lab of its own; they take turns. Prints the table, writes it with JSON and plots to --out.
docs/benchmark.md says how to read it. --quick only checks that the benchmark works.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests import ROOT
from tests.bench import (
    bars,
    connections,
    first_packet,
    flame,
    lifecycle,
    machine,
    mixed,
    one_host,
    plots,
    report,
    rows,
)
from tests.bench.gateways import Gateway, daemon_of, find_peer, lab_of, miniupnpd, noop, peer_version, served
from tests.bench.load import raise_descriptor_limit
from tests.bench.one_host import HostLimit
from tests.bench.rows import Plan
from tests.bench.samples import Point, Table
from tests.fixtures.needed_lab import need_lab

BEFORE = "before full"
RESULTS = ("<!-- results -->\n", "<!-- end of results -->\n")
"""The lines of docs/benchmark.md between which --publish puts the table."""
LIFECYCLE_MAPPINGS = 10_000
FULL_SIZES = (0, 1_000, 10_000, 36_000, 60_000)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line."""

    sizes: tuple[int, ...]
    peer_sizes: tuple[int, ...]
    conntrack: int
    durabilities: tuple[str, ...]
    hosts: int
    plan: Plan
    starts: int
    storm: int
    """PCP clients of each host."""
    mixed: int
    one_host_s: float
    peer: Path | None
    before: Path | None
    flame_s: int
    out: Path
    quick: bool


QUICK = Options(
    sizes=(0, 60),
    peer_sizes=(0, 60),
    conntrack=1_000,
    durabilities=("full",),
    hosts=6,
    plan=Plan(rounds=2, block=8, datagrams=3, crowd_rounds=1, crowd=32, walks=1, listings=2, flows=10),
    starts=1,
    storm=4,
    mixed=60,
    one_host_s=0.5,
    peer=None,
    before=None,
    flame_s=0,
    out=Path(),
    quick=True,
)


def parsed(arguments: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 seconds that only check that it works; no peer")
    parser.add_argument("--full", action="store_true", help=f"sizes {FULL_SIZES}, and 100,000 mixed requests")
    parser.add_argument("--sizes", type=_numbers, help="mappings present (default: 0,1000,10000)")
    parser.add_argument(
        "--peer-sizes", type=_numbers, default=(0, 1_000), help="those that the peer is measured at"
    )
    parser.add_argument(
        "--conntrack",
        type=int,
        default=100_000,
        help="connections tracked at the least and most mappings, second axis; 0: none",
    )
    parser.add_argument("--durability", choices=("full", "normal", "both"), default="both")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of 50 requests of each row (default: 20)")
    parser.add_argument("--mixed", type=int, help="mixed requests on the full gateway (default: 20000); 0: none")
    parser.add_argument("--peer", type=Path, help="the program miniupnpd; default: Debian's package, unpacked")
    parser.add_argument("--no-peer", action="store_true", help="without miniupnpd")
    parser.add_argument("--before", type=Path, help="another checkout of upnp-gw, measured beside this one")
    parser.add_argument(
        "--flame", type=int, nargs="?", const=10, default=0, help="seconds of a flame graph by py-spy"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench", help="where the files go")
    parser.add_argument("--publish", action="store_true", help="put the files and the table into the documentation")
    given = parser.parse_args(arguments)
    peer = given.peer
    if peer is None and not (given.no_peer or given.quick):
        peer = find_peer(ROOT / "build/miniupnpd")
        if peer is None:
            print(
                "without miniupnpd: Debian's package could not be unpacked here; name it with --peer",
                file=sys.stderr,
            )
    if peer is not None and not peer_version(peer):
        parser.error(f"--peer {peer} does not run here")
    out = ROOT / "docs/benchmark" if given.publish else given.out
    before = given.before and given.before.resolve()
    if given.quick:
        return replace(QUICK, peer=peer, out=out, flame_s=given.flame, before=before)
    return Options(
        sizes=given.sizes or (FULL_SIZES if given.full else (0, 1_000, 10_000)),
        peer_sizes=given.peer_sizes,
        conntrack=given.conntrack,
        durabilities=("full", "normal") if given.durability == "both" else (given.durability,),
        hosts=34,
        plan=Plan(rounds=given.rounds),
        starts=3,
        storm=30,
        mixed=given.mixed if given.mixed is not None else 100_000 if given.full else 20_000,
        one_host_s=6.0,
        peer=peer,
        before=before,
        flame_s=given.flame,
        out=out,
        quick=False,
    )


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(sorted({int(part) for part in text.split(",")}))
    if not numbers or numbers[0] < 0 or numbers[-1] > FULL_SIZES[-1]:
        raise argparse.ArgumentTypeError(f"numbers from 0 to {FULL_SIZES[-1]}, such as 0,1000,10000")
    return numbers


@dataclass(slots=True)
class Run:
    """One run: its gateways, and what was measured so far."""

    options: Options
    directory: Path
    table: Table = field(default_factory=Table)
    limits: list[HostLimit] = field(default_factory=list)
    gateways: dict[str, Gateway] = field(default_factory=dict)
    """By name, in the order of the columns."""
    present: dict[str, int] = field(default_factory=dict)
    """Mappings of each gateway."""
    bare: first_packet.Way | None = None
    started: float = field(default_factory=time.monotonic)

    def log(self, text: str) -> None:
        print(f"{time.monotonic() - self.started:6.0f} s  {text}", file=sys.stderr, flush=True)

    def cpu_s(self) -> float:
        """Of every gateway that runs now."""
        return sum(gateway.cpu_s() for gateway in self.gateways.values())

    def start(self, stack: ExitStack) -> None:
        """Starts every gateway, each in a lab of its own."""
        options = self.options
        own = [(f"upnp-gw {durability}", durability, None) for durability in options.durabilities]
        before = [(BEFORE, "full", options.before)] if options.before else []
        for name, durability, checkout in [*own, *before]:
            self.log(f"{name}: starts")
            lab = stack.enter_context(lab_of(options.hosts))
            directory = self.directory / name.replace(" ", "-")
            directory.mkdir()
            daemon = daemon_of(lab, directory, durability, checkout)
            stack.callback(daemon.stop)
            lifecycle.bare_start(self.table, name, daemon, options.starts)
            self.gateways[name] = served(name, lab, daemon)
            self.table.add(name, lifecycle.BARE_MEMORY, Point(0, 0), "MiB", [self.gateways[name].memory_mib()])
        first = next(iter(self.gateways.values()))
        self.gateways = {"no-op": stack.enter_context(noop(first.lab)), **self.gateways}
        self.bare = stack.enter_context(first_packet.bare_rule())
        if options.peer is not None:
            lab = stack.enter_context(lab_of(options.hosts))
            directory = self.directory / "peer"
            directory.mkdir()
            self.gateways[bars.PEER] = stack.enter_context(miniupnpd(lab, directory, options.peer))

    def measure(self) -> Iterator[Point]:
        """Every point, and the rows of upnp-gw alone at some; each point when it is done."""
        options = self.options
        restarted = max((size for size in options.sizes if size <= LIFECYCLE_MAPPINGS), default=options.sizes[-1])
        for size in options.sizes:
            here = [g for g in self.gateways.values() if g.name != bars.PEER or size in options.peer_sizes]
            for gateway in here:
                self.log(f"{gateway.name}: to {size:,} mappings")
                rows.fill(gateway, self.present.get(gateway.name, 0), size)
                self.present[gateway.name] = size
            # the second axis at the ends of the first one: a run over all its points takes twice as long
            at_an_end = size in (options.sizes[0], options.sizes[-1])
            for entries in dict.fromkeys((0, options.conntrack) if at_an_end else (0,)):
                point = Point(size, entries)
                self.log(f"at {size:,} mappings, {entries:,} connections tracked")
                if entries:
                    connections.fill(here, entries)
                rows.measure(self.table, here, point, options.plan, self.log)
                if not entries and self.bare is not None:
                    self.first_packets(point)
                if not entries and size == restarted:
                    self.restart(point)
                    here = [self.gateways[gateway.name] for gateway in here]
                if size == options.sizes[-1] and entries == options.conntrack:
                    self.mix(point)
                connections.clear(here)
                yield point

    def first_packets(self, point: Point) -> None:
        """Flows through a mapping of each upnp-gw, beside one rule."""
        assert self.bare is not None
        self.log("first packets")
        plan = self.options.plan
        with ExitStack() as stack:
            own = [gateway for gateway in self.gateways.values() if gateway.daemon is not None]
            ways = [stack.enter_context(first_packet.mapped(gateway)) for gateway in own]
            first_packet.measure(self.table, [*ways, self.bare], point, plan.rounds, plan.flows)

    def restart(self, point: Point) -> None:
        """The rows of start, stop and healing; every upnp-gw runs again at the end, with its mappings."""
        for name, gateway in list(self.gateways.items()):
            if gateway.daemon is None:
                continue
            self.log(f"{name}: list, heal, stop, start")
            before = self.table.get(name, rows.MEMORY, Point(0, 0))
            if point.mappings and before is not None:
                grown_kib = (gateway.memory_mib() - before.median) * 1024
                self.table.add(name, lifecycle.EACH_MAPPING, point, "KiB", [grown_kib / point.mappings])
            self.gateways[name] = lifecycle.restarts(self.table, gateway, point, self.options.starts)
            rows.introduce(self.gateways[name])

    def mix(self, point: Point) -> None:
        """The mixed requests, at the last point, by a daemon that keeps few decisions."""
        name = bars.JUDGED
        gateway = self.gateways.get(name)
        if gateway is None or gateway.daemon is None or not self.options.mixed:
            return
        self.log(f"{name}: {self.options.mixed:,} mixed requests")
        gateway.daemon.stop()
        shares = gateway.shares
        directory = gateway.daemon.state_dir.parent
        daemon_of(gateway.lab, directory, "full", keep_decisions=mixed.KEEP_DECISIONS)  # writes the configuration
        gateway.daemon.start(120.0)
        self.gateways[name] = gateway = served(name, gateway.lab, gateway.daemon)
        gateway.shares = shares
        rows.introduce(gateway)
        mixed.measure(self.table, gateway, point, self.options.mixed, self.log)

    def alone(self) -> None:
        """The limits of one host, and a renew storm: with few mappings present, as the first rows."""
        gateway = self.gateways.get(bars.JUDGED)
        if gateway is not None:
            self.log("first datagrams")
            lifecycle.first_datagrams(self.table, gateway, Point(0, 0))
        for other in self.gateways.values():
            rows.introduce(other)
        if gateway is None:
            return
        self.log("one host alone")
        self.limits = one_host.measure(gateway, self.options.one_host_s)
        self.log("renew storm")
        lifecycle.renew_storm(self.table, gateway, Point(0, 0), self.options.storm)


def main(arguments: list[str] | None = None) -> int:
    options = parsed(arguments)
    need_lab()
    raise_descriptor_limit()
    options.out.mkdir(parents=True, exist_ok=True)
    version = peer_version(options.peer) if options.peer else ""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        run = Run(options, Path(directory))
        run.start(stack)
        load = machine.OtherLoad(run.cpu_s)
        whole = False
        try:
            run.alone()
            for _ in run.measure():
                _save(run, _facts(run, load.share(), version, whole))
            _flames(run)
            whole = True
        finally:  # an interrupted run keeps what it measured
            _write(run, _facts(run, load.share(), version, whole))
    return 0


def _facts(run: Run, others: float, version: str, whole: bool) -> dict[str, object]:
    """``others``: the share of the machine that other processes used; ``version``: of the peer."""
    return {
        **machine.describe(version),
        "whole": whole,
        "others_percent": round(others * 100),
        "busy": others > machine.BUSY,
        "load": f"{os.getloadavg()[0]:.1f}",
        "seconds": round(time.monotonic() - run.started),
    }


def _flames(run: Run) -> None:
    """A flame graph of this checkout, and of the one before."""
    if not run.options.flame_s:
        return
    program = flame.profiler()
    if program is None:
        print("no flame graph: py-spy is not installed (pip install py-spy)", file=sys.stderr)
        return
    for name in (bars.JUDGED, BEFORE):
        if gateway := run.gateways.get(name):
            run.log(f"{name}: flame graph")
            svg = run.options.out / f"flame-{name.replace(' ', '-')}.svg"
            flame.record(program, gateway, Point(run.options.sizes[-1], 1), run.options.flame_s, svg)


def _save(run: Run, facts: dict[str, object]) -> str:
    """Writes table and JSON; the answer is the table."""
    out, names = run.options.out, [*run.gateways, first_packet.BARE]
    judgements = [] if run.options.quick else bars.judge(run.table, bool(facts["busy"]))
    text = report.markdown(facts, run.table, judgements, run.limits, names)
    (out / "table.md").write_text(text, "utf-8")
    values = report.as_json(facts, run.table, judgements, run.limits)
    (out / "results.json").write_text(json.dumps(values, indent=1) + "\n", "utf-8")
    return text


def _write(run: Run, facts: dict[str, object]) -> None:
    """Prints the table and writes every file."""
    out, names = run.options.out, list(run.gateways)
    text = _save(run, facts)
    print(text)
    program = plots.png_program()
    if program is None:
        print("SVG only: neither rsvg-convert nor chromium is here to make a PNG", file=sys.stderr)
    for name, svg in plots.plots(run.table, names).items():
        path = out / f"{name}.svg"
        path.write_text(svg, "utf-8")
        if program and not run.options.quick:
            plots.write_png(program, path, path.with_suffix(".png"))
    page = ROOT / "docs/benchmark.md"
    if out == ROOT / "docs/benchmark":
        head, _, rest = page.read_text("utf-8").partition(RESULTS[0])
        tail = rest.partition(RESULTS[1])[2]
        page.write_text(f"{head}{RESULTS[0]}\n{text}\n{RESULTS[1]}{tail}", "utf-8")
    run.log(f"written: {out}")


if __name__ == "__main__":
    sys.exit(main())
