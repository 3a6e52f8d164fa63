"""docs/demo.svg shows the steps of today's demo, stops, and is small. The recorder is tried with other programs."""

import re
import subprocess
import sys

import pytest
from lxml import etree

from tests.docs.recording import COLUMNS, ROWS, TARGET, Line, drawn, lines_of, paced, parsed, record
from upnp_gw.lab.demo.steps import STEPS

LARGEST = 200_000
"""Bytes: the drawing is at the top of the README."""


def test_the_drawing_has_every_step_of_the_demo_and_all_are_proved() -> None:
    texts = list(lines_of(TARGET.read_text("utf-8")))
    shown = " ".join(texts)
    for _, title, _ in STEPS:
        assert title.replace("&", "&amp;") in shown, "run: python -m tests.docs.recording"
    assert texts[0] == "$ upnp-gw demo"
    assert re.fullmatch(rf"{len(STEPS) + 1} steps in [\d.]+ s: {len(STEPS) + 1} proved\.", texts[-1])


def test_the_drawing_is_small_loads_nothing_and_stands_still_for_those_who_ask() -> None:
    text = TARGET.read_text("utf-8")
    assert len(text) < LARGEST
    etree.fromstring(text.encode())
    assert not re.search(r"\b(href|src|url|script|foreignObject|import)\b", text)
    moving = text.partition("@media (prefers-reduced-motion:no-preference)")[2]
    assert text.count("animation:") == moving.count("animation:") == 2
    assert "infinite" not in text
    assert "@media (prefers-color-scheme:dark)" in text


def test_a_program_is_recorded_with_its_colours_and_its_pauses() -> None:
    program = (
        "import time; print('\\x1b[32mgreen\\x1b[0m <a>', flush=True); time.sleep(0.3); print('\\x1b[31m\\x1b[1mb')"
    )
    first, second = record([sys.executable, "-c", program])
    assert first.runs == (("good", "green"), ("", " <a>"))
    assert second.runs == (("bad", "b"),)
    assert second.at - first.at >= 0.25
    svg = drawn([first, second], "two & more")
    assert list(lines_of(svg)) == ["green", "&lt;a&gt;", "b"]
    etree.fromstring(svg.encode())


def test_a_program_that_fails_or_moves_the_cursor_is_not_recorded() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        record([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(ValueError, match="no colour"):
        record([sys.executable, "-c", "print('\\x1b[2J')"])


def test_pauses_are_shortened_and_the_last_lines_stay() -> None:
    lines = [Line(float(at), (("", f"line {at}"),)) for at in (0, 1, 60)]
    first, second, third = paced(lines)
    assert second - first == pytest.approx(1.0)
    assert third - second == pytest.approx(1.2)
    many = [parsed(0.0, f"line {number}") for number in range(ROWS + 10)]
    svg = drawn(many, "many")
    assert "#s{transform:translateY(-180px)}" in svg
    assert COLUMNS == 80
