"""Plots as SVG, written here: four pictures of lines need no library. PNG by a program that is there."""

import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from tests.bench.bars import PEER, peer_figure
from tests.bench.report import number
from tests.bench.rows import ADD, CROWD_RATE
from tests.bench.samples import Point, Table

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 50, 60
COLORS = ("#1f5fa8", "#c4501b", "#3a7d34", "#7a4fa3", "#666666")
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True, slots=True)
class Line:
    """One series: a value for each place on the axis, None where it was not measured."""

    name: str
    values: Sequence[float | None]
    color: str
    dashed: bool = False


def draw(title: str, x_title: str, y_title: str, places: Sequence[str], lines: Sequence[Line]) -> str:
    """An SVG with evenly spaced places and a logarithmic y axis."""
    values = [value for line in lines for value in line.values if value]
    low = 10 ** math.floor(math.log10(min(values)))
    high = 10 ** math.ceil(math.log10(max(values) * 1.0001))
    step = (WIDTH - LEFT - RIGHT) / max(1, len(places) - 1)

    def at(place: int, value: float) -> tuple[float, float]:
        share = math.log(value / low) / math.log(high / low)
        return LEFT + place * step, HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 25, title, "start", 16),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 15, x_title),
        f'<text x="18" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 18 {HEIGHT / 2})">'
        f"{escape(y_title)}</text>",
    ]
    for exponent in range(round(math.log10(low)), round(math.log10(high)) + 1):
        _, y = at(0, 10.0**exponent)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{10.0**exponent:g}", "end"))
    parts += [_text(at(n, low)[0], HEIGHT - BOTTOM + 20, place) for n, place in enumerate(places)]
    for position, line in enumerate(lines):
        points = [(at(n, value), value) for n, value in enumerate(line.values) if value]
        path = " ".join(f"{x:.1f},{y:.1f}" for (x, y), _ in points)
        style = f'stroke="{line.color}"' + (' stroke-dasharray="5 4"' if line.dashed else "")
        parts.append(f'<polyline points="{path}" fill="none" stroke-width="2" {style}/>')
        for (x, y), value in points:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{line.color}"><title>')
            parts.append(f"{escape(line.name)}: {number(value)}</title></circle>")
        y = TOP + 10 + position * 20
        parts.append(f'<path d="M{WIDTH - RIGHT + 15} {y}h25" stroke-width="2" {style}/>')
        parts.append(_text(WIDTH - RIGHT + 46, y + 4, line.name, "start", 12))
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str = "middle", size: int = 13) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def plots(table: Table, gateways: Sequence[str]) -> dict[str, str]:
    """File name without its ending -> SVG: latency and throughput, against mappings and connections."""
    by_mappings = [point for point in table.points if not point.conntrack and table.rows(point) != []]
    by_mappings = [point for point in by_mappings if any(table.get(name, ADD, point) for name in gateways)]
    tracked = [point.mappings for point in table.points if point.conntrack and ADD in table.rows(point)]
    mappings = max((m for m in tracked if m <= 1_000), default=0)
    by_conntrack = [point for point in table.points if point.mappings == mappings and ADD in table.rows(point)]
    pictures = {}
    for axis, points, x_title in (
        ("mappings", by_mappings, "mappings present"),
        ("conntrack", by_conntrack, f"connections tracked, {mappings:,} mappings present"),
    ):
        if not points:
            continue
        places = [f"{getattr(point, axis):,}" for point in points]
        latency = [*_lines(table, gateways, ADD, points, "median"), *_lines(table, gateways, ADD, points, "p99")]
        title = "AddPortMapping, one client"
        pictures[f"latency-{axis}"] = draw(title, x_title, "milliseconds", places, latency)
        rate = _lines(table, gateways, CROWD_RATE, points, "median")
        title = "AddPortMapping, 16 clients on 4 hosts"
        if not rate:
            continue
        pictures[f"throughput-{axis}"] = draw(title, x_title, "answers a second", places, rate)
    return pictures


def _lines(table: Table, gateways: Sequence[str], row: str, points: Sequence[Point], statistic: str) -> list[Line]:
    lines = []
    for name, color in zip(gateways, COLORS, strict=False):
        cells = [table.get(name, row, point) for point in points]
        values = [samples.statistic(statistic) if samples else None for samples in cells]
        if name == PEER:
            values = [peer_figure(table, row, point, statistic) for point in points]
        if any(values):
            p99 = statistic == "p99"
            lines.append(Line(f"{name}, p99" if p99 else name, values, color, dashed=p99))
    return lines


def png_program() -> str | None:
    """The first program here that makes a PNG of an SVG."""
    return next((path for name in ("rsvg-convert", *CHROMIUMS) if (path := shutil.which(name))), None)


def write_png(program: str, svg: Path, png: Path) -> bool:
    """Makes the PNG; False where the program could not."""
    if program.endswith("rsvg-convert"):
        argv = [program, "-o", str(png), str(svg)]
    else:
        argv = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        argv += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={png}", svg.absolute().as_uri()]
    try:
        subprocess.run(argv, capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"no {png.name}: {error}", file=sys.stderr)
    return png.exists()
