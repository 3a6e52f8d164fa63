"""The benchmark works: its short form measures every row, and bars are judged by the figures they name."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from tests import ROOT
from tests.bench import bars, first_packet, lifecycle, mixed, rows
from tests.bench.bars import JUDGED, PEER, judge
from tests.bench.flame import with_title
from tests.bench.load import Address, Request, Result
from tests.bench.rows import ADD, CROWD_RATE, DELETE, MEMORY
from tests.bench.samples import Point, Samples, Table, paired, percentile

DEADLINE_S = 240
EMPTY = Point(0, 0)


def series(*values: float) -> Table:
    """A table in which upnp-gw adds in so many milliseconds, and the peer in 2.0."""
    table = Table()
    table.add(JUDGED, ADD, EMPTY, "ms", list(values))
    table.add(PEER, ADD, EMPTY, "ms", [2.0])
    return table


@pytest.mark.lab
def test_the_quick_form_measures_every_row(namespaces: None, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.bench", "--quick", "--out", str(tmp_path)]
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert run.returncode == 0, run.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["facts"]["whole"]
    measured = {figure["row"] for figure in results["figures"] if figure["gateway"] == JUDGED}
    expected = {
        value
        for module in (rows, lifecycle, mixed, first_packet)
        for value in vars(module).values()
        if _is_row(value)
    }
    assert measured == expected
    assert {figure["row"] for figure in results["figures"] if figure["gateway"] == "no-op"} >= {ADD, CROWD_RATE}
    points = {
        (figure["mappings"], bool(figure["conntrack"])) for figure in results["figures"] if figure["row"] == ADD
    }
    assert points == {(0, False), (0, True), (60, False), (60, True)}
    assert all(figure["unanswered"] == 0 for figure in results["figures"])
    assert [limit["first_second"] > 0 for limit in results["one_host"]] == [True] * 3
    assert results["bars"] == [], "a short run judges nothing"
    for name in ("latency-mappings", "latency-conntrack", "throughput-mappings", "throughput-conntrack"):
        assert ElementTree.parse(tmp_path / f"{name}.svg").getroot().tag.endswith("svg")
    assert ADD in (tmp_path / "table.md").read_text()


@pytest.mark.lab
def test_the_benchmark_of_the_page_measures_the_first_page_and_the_ratio(namespaces: None) -> None:
    argv = [sys.executable, "-m", "upnp_gw.lab.enter", sys.executable, "-m", "tests.bench.bench_page"]
    argv += ["--mappings", "20", "--rounds", "2", "--requests", "5"]
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert "first page, 20 mappings: median" in run.stdout, run.stderr
    assert "a renewal, 10 pages: median" in run.stdout, run.stderr
    assert "ratio " in run.stdout, run.stderr


ROWS = {bar.row for bar in bars.BARS} | {rows.CPU, MEMORY, lifecycle.FIRST_DATAGRAM}


def _is_row(value: object) -> bool:
    return isinstance(value, str) and value in ROWS


def test_percentiles_need_samples_beyond_them() -> None:
    assert percentile([float(n) for n in range(1, 801)], 0.99) == 792
    assert percentile([float(n) for n in range(1, 800)], 0.99) is None


@pytest.mark.parametrize(
    ("milliseconds", "verdict"),
    [(0.5, "met (and the stretch)"), (1.1, "met"), (2.4, "missed by 2.0x")],
)
def test_a_bar_is_judged_by_the_ratio_to_the_peer(milliseconds: float, verdict: str) -> None:
    (judgement,) = judge(series(milliseconds), busy=False)
    assert (judgement.bar.row, judgement.verdict) == (ADD, verdict)


def test_a_rate_has_to_reach_its_bar() -> None:
    table = Table()
    table.add(JUDGED, CROWD_RATE, EMPTY, "/s", [300.0])
    table.add(PEER, CROWD_RATE, EMPTY, "/s", [100.0])
    (judgement,) = judge(table, busy=False)
    assert judgement.verdict == "missed by 2.0x"


def test_the_peer_at_ten_thousand_may_be_a_known_figure() -> None:
    table = Table()
    table.add(JUDGED, DELETE, Point(10_000, 0), "ms", [0.444])
    (judgement,) = judge(table, busy=False)
    assert judgement.measured == pytest.approx(0.001)
    assert judgement.met


def test_a_ratio_to_one_rule_is_that_of_the_same_rounds() -> None:
    """A machine that is slow for some rounds is slow for both."""
    table = Table()
    for slowness in (1.0, 3.0, 1.0, 2.0, 1.0, 1.0, 4.0, 1.0):
        table.add(JUDGED, first_packet.UDP_IN, EMPTY, "us", [10.5 * slowness] * 3)
        table.add(first_packet.BARE, first_packet.UDP_IN, EMPTY, "us", [10.0 * slowness] * 3)
    (judgement,) = judge(table, busy=False)
    assert judgement.measured == pytest.approx(1.05)
    assert judgement.between == pytest.approx((1.05, 1.05))
    assert judgement.verdict == "met"


def silent_for(monkeypatch: pytest.MonkeyPatch, answers: Iterator[bool]) -> Any:
    """A gateway that answers requests over UDP as ``answers`` say; in ``asked``, how many it got."""
    host = SimpleNamespace(name="host5")
    gateway = SimpleNamespace(name="a gateway", hosts=[host], lab=SimpleNamespace(external=[None]), asked=0)
    gateway.ports, gateway.datagrams = lambda host: range(1100, 1200), ("192.168.1.1", 5351)
    gateway.shares = SimpleNamespace(spend=lambda host, **counts: None)

    def ask(server: Address, requests: Sequence[Request]) -> Result:
        gateway.asked += 1
        return Result(unanswered=0 if next(answers) else len(requests))

    monkeypatch.setattr(first_packet, "datagrams_one_by_one", ask)
    return gateway


def test_a_mapping_for_first_packets_is_asked_for_until_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state before that is measured answers nothing for five seconds of each ten, with 60,000 mappings."""
    gateway = silent_for(monkeypatch, iter([False, False, True, True]))
    with first_packet.mapped(gateway) as way:
        assert (way.name, way.port, gateway.asked) == ("a gateway", 1199, 3)


def test_a_gateway_that_answers_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = silent_for(monkeypatch, iter([False] * 100))
    with pytest.raises(first_packet.NoWay, match="a gateway answers no request for port 1199 of host5"):
        first_packet.mapped(gateway).__enter__()


def test_a_gateway_that_lets_no_packet_through_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_packet(way: object, flows: int) -> list[tuple[str, list[float]]]:
        raise TimeoutError

    monkeypatch.setattr(first_packet, "_udp", no_packet)
    way: Any = SimpleNamespace(name="a gateway", port=1199)
    with pytest.raises(first_packet.NoWay, match="a gateway: no packet came through port 1199 in 5 s"):
        first_packet.measure(Table(), [way], EMPTY, rounds=1, flows=1)


@pytest.mark.parametrize(
    ("ratios", "low", "high"),
    [
        ([1.3, 1.0, 1.1], 1.0, 1.3),
        ([1.0, 1.1, 1.2, 1.3, 1.4, 1.5], 1.0, 1.5),
        ([1.0 + n / 100 for n in range(20)], 1.05, 1.14),
    ],
    ids=["three", "six", "twenty"],
)
def test_the_interval_of_a_ratio_leaves_out_the_rounds_beyond_it(
    ratios: list[float], low: float, high: float
) -> None:
    """Sign test: of 20 values the sixth from each end, of up to 8 the outermost ones."""
    one, other = Samples("us", [[ratio] for ratio in ratios]), Samples("us", [[1.0]] * len(ratios))
    ratio = paired(one, other)
    assert ratio is not None
    assert (ratio.low, ratio.high) == pytest.approx((low, high))


def test_a_ratio_is_noise_where_the_limit_is_within_its_interval() -> None:
    table = Table()
    for own in (10.0, 11.0, 12.0, 10.0, 11.0, 12.0):
        table.add(JUDGED, first_packet.UDP_IN, EMPTY, "us", [own])
        table.add(first_packet.BARE, first_packet.UDP_IN, EMPTY, "us", [10.0])
    (judgement,) = judge(table, busy=False)
    assert judgement.verdict == "met, noise"


def test_a_figure_whose_rounds_differ_is_noise() -> None:
    samples = Samples("ms", [[1.0, 1.0], [1.0, 1.1], [1.5, 1.5]])
    assert samples.noisy
    assert not Samples("ms", [[1.0], [1.1], [1.2]]).noisy
    (judgement,) = judge(series(0.5), busy=True)
    assert judgement.verdict.endswith(", noise")


def test_a_flame_graph_has_a_title_in_place_of_the_command_line() -> None:
    svg = '<svg><text id="title" y="24.00">/home/me/py-spy record</text><text id="details">x</text></svg>'
    expected = '<svg><text id="title" y="24.00">upnp-gw full</text><text id="details">x</text></svg>'
    assert with_title(svg, "upnp-gw full") == expected
