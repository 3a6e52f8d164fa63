"""The table for people and the JSON for programs. Pure."""

from collections.abc import Mapping, Sequence

from tests.bench.bars import JUDGED, PEER, PEER_AT_10_000, Judgement, peer_figure
from tests.bench.one_host import HostLimit
from tests.bench.samples import Point, Samples, Table

STATISTICS = {"median": "median", "p99": "p99", "p999": "p99.9", "max": "slowest"}


def markdown(
    facts: Mapping[str, object],
    table: Table,
    judgements: Sequence[Judgement],
    limits: Sequence[HostLimit],
    gateways: Sequence[str],
) -> str:
    """Everything as Markdown. ``gateways``: the columns."""
    parts = [_head(facts)]
    parts += [_point(table, point, gateways) for point in table.points]
    if judgements:
        parts.append(_bars(judgements))
    if limits:
        parts.append(_one_host(limits))
    return "\n".join(parts)


def as_json(
    facts: Mapping[str, object], table: Table, judgements: Sequence[Judgement], limits: Sequence[HostLimit]
) -> dict[str, object]:
    figures = [
        {
            "gateway": gateway,
            "row": row,
            "mappings": point.mappings,
            "conntrack": point.conntrack,
            **samples.as_json(),
        }
        for (gateway, row, point), samples in table.cells.items()
    ]
    bars = [
        {
            "row": judgement.bar.row,
            "statistic": STATISTICS[judgement.bar.statistic],
            "mappings": judgement.point.mappings,
            "conntrack": judgement.point.conntrack,
            "limit": judgement.bar.limit,
            "stretch": judgement.bar.stretch,
            "compared": judgement.bar.reference.value,
            "measured": judgement.measured,
            "unit": judgement.unit,
            "met": judgement.met,
            "noisy": judgement.noisy,
            "between": judgement.between,
        }
        for judgement in judgements
    ]
    one_host = [
        {"what": limit.what, "first_second": limit.first, "lasting_per_s": limit.lasting, "why": limit.why}
        for limit in limits
    ]
    return {"facts": dict(facts), "figures": figures, "bars": bars, "one_host": one_host}


def _head(facts: Mapping[str, object]) -> str:
    versions = facts["versions"]
    assert isinstance(versions, Mapping)
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    whole = "" if facts["whole"] else "**The run was interrupted.** "
    noise = ": every figure is noise" if facts["busy"] else ""
    return (
        f"{whole}{facts['date']}, commit {facts['commit']}, {facts['cpu']}, {facts['cores']} cores, "
        f"kernel {facts['kernel']}, Python {facts['python']}. {named}.\n"
        f"Other processes used {facts['others_percent']} % of the machine{noise}. Load average {facts['load']}.\n\n"
        "Milliseconds are medians, with the p99 in brackets where there are enough samples. "
        "~: the rounds differ by more than a quarter of the median. "
        "Ratio: upnp-gw with full durability to miniupnpd.\n"
    )


def _point(table: Table, point: Point, gateways: Sequence[str]) -> str:
    columns = [name for name in gateways if any(table.get(name, row, point) for row in table.rows(point))]
    from_table = PEER not in columns and point == Point(10_000, 0)
    heads = [*columns, *([f"{PEER}, once"] if from_table else [])]
    compared = PEER in columns or from_table
    title = f"{point.mappings:,} mappings" + (
        f", {point.conntrack:,} connections tracked" if point.conntrack else ""
    )
    lines = [f"\n### {title}\n", _row("", *heads, *(["ratio"] if compared else []))]
    lines.append("| --- |" + " ---: |" * (len(heads) + compared))
    for row in table.rows(point):
        cells = [_cell(table.get(name, row, point)) for name in columns]
        unit = next(s.unit for (_, name, at), s in table.cells.items() if (name, at) == (row, point))
        if from_table:
            cells.append(f"{PEER_AT_10_000[row]:g}" if row in PEER_AT_10_000 else "")
        if compared:
            cells.append(_ratio(table, row, point))
        lines.append(_row(f"{row}, {unit}".replace("a second, /s", "a second"), *cells))
    return "\n".join(lines) + "\n"


def _cell(samples: Samples | None) -> str:
    if samples is None:
        return ""
    text = ("~" if samples.noisy else "") + number(samples.median)
    if samples.p99 is not None:
        text += f" ({number(samples.p99)}"
        text += (
            f"; p99.9 {number(samples.p999)}, max {number(max(samples.values))})"
            if samples.p999 is not None
            else ")"
        )
    if samples.unanswered:
        text += f", {samples.unanswered} unanswered"
    return text


def _ratio(table: Table, row: str, point: Point) -> str:
    own = table.get(JUDGED, row, point)
    if own is None:
        return ""
    ratios = []
    for statistic in ("median", "p99"):
        figure, peer = own.statistic(statistic), peer_figure(table, row, point, statistic)
        if figure is not None and peer:
            ratios.append(number(figure / peer))
    return " ".join([*ratios[:1], *(f"({ratio})" for ratio in ratios[1:])])


def _bars(judgements: Sequence[Judgement]) -> str:
    lines = ["\n### Bars\n", _row("", "at", "limit", "measured", ""), "| --- | --- | ---: | ---: | --- |"]
    for judgement in judgements:
        bar, point = judgement.bar, judgement.point
        place = f"{point.mappings:,}" + (f", {point.conntrack:,} connections" if point.conntrack else "")
        sign = "at least " if bar.at_least else ""
        unit = "x" if judgement.unit == "x" else f" {judgement.unit}"
        lines.append(
            _row(
                f"{bar.row}, {STATISTICS[bar.statistic]}{' ' + bar.reference.value if bar.reference.value else ''}",
                place,
                f"{sign}{bar.limit:g}{unit}",
                f"{number(judgement.measured)}{unit}{_between(judgement)}",
                judgement.verdict,
            )
        )
    return "\n".join(lines) + "\n"


def _between(judgement: Judgement) -> str:
    return f" ({' to '.join(map(number, judgement.between))})" if judgement.between is not None else ""


def _one_host(limits: Sequence[HostLimit]) -> str:
    lines = ["\n### One LAN host alone\n", _row("answers", "in the first second", "a second, lasting", "why")]
    lines.append("| --- | ---: | ---: | --- |")
    lines += [_row(limit.what, f"{limit.first:.0f}", f"{limit.lasting:.0f}", limit.why) for limit in limits]
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    if not value:
        return "0"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.4f}".rstrip("0")
