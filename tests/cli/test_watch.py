"""The screen of ``list --watch``: what is on it at each size, and a real terminal whose size changes."""

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from msgspec.structs import replace

from tests.cli.test_devices import INCIDENT, QUESTION, Answering
from tests.cli.worst_case import WorstCase
from tests.fixtures.fake_operator import NOW, decision, mapping, served
from upnp_gw import api
from upnp_gw.cli.watch import CLEAR_SCREEN, Shown, draw
from upnp_gw.text.escape import width

SIZES = [(80, 24), (80, 25), (100, 30), (120, 50), (200, 60)]


def shown(mappings: int = 3, incidents: int = 0, questions: int = 0, denials: int = 0) -> Shown:
    return Shown(
        [mapping(number) for number in range(1, mappings + 1)],
        [replace(INCIDENT, device=f"02:00:00:00:00:{number:02}") for number in range(incidents)],
        [replace(QUESTION, number=number) for number in range(1, questions + 1)],
        [decision(number) for number in range(denials, 0, -1)],
    )


def lines_of(found: Shown, columns: int = 80, rows: int = 24) -> list[str]:
    return list(map(click.unstyle, draw(found, datetime.now(UTC), columns, rows)))


@pytest.mark.parametrize(("columns", "rows"), SIZES)
@pytest.mark.parametrize("count", [0, 1, 3, 200])
def test_it_fits_and_each_part_is_on_it(columns: int, rows: int, count: int) -> None:
    lines = lines_of(shown(count, count, count, min(count, 50)), columns, rows)
    assert max(map(width, lines)) <= columns
    assert len(lines) < rows
    titles = [line for line in lines if line.isupper() and not line.startswith("ID")]
    assert titles == (["INCIDENTS", "QUESTIONS", "LAST DENIALS"] if count else [])
    assert any(line.startswith("m1 ") for line in lines) == bool(count)


def test_the_longest_answers_fit() -> None:
    worst = WorstCase()
    found = Shown(worst.held, worst.open_incidents, worst.questions, worst.decided)
    for columns, rows in SIZES:
        lines = lines_of(found, columns, rows)
        assert max(map(width, lines)) <= columns
        assert len(lines) < rows, "\n".join(lines)


def test_what_has_no_room_is_counted_with_the_command_that_shows_it() -> None:
    lines = lines_of(shown(40, 9, 12, 30))
    assert "and 6 more: upnp-gw devices" in lines
    assert "and 9 more: upnp-gw queue" in lines
    assert [line for line in lines if line.endswith("more mappings: upnp-gw list")]
    assert lines[-1].endswith("more: upnp-gw log --verdict deny")
    rows = [line for line in lines if re.match(r"m\d+ ", line)]
    assert f"and {40 - len(rows)} more mappings: upnp-gw list" in lines


def test_denials_take_the_room_that_mappings_leave() -> None:
    few, many = lines_of(shown(1, denials=50)), lines_of(shown(40, denials=50))
    assert sum(" deny " in line for line in few) > sum(" deny " in line for line in many) >= 3
    assert len(few) == len(many) == 23


def test_the_words_of_each_part() -> None:
    lines = lines_of(shown(1, 1, 1, 2), 140)
    assert next(line for line in lines if "old-pc" in line).startswith(
        "old-pc (02:00:00:00:00:00) is frozen until "
    )
    assert "1: ps5 asks for udp -> 192.168.1.23:3074, 2 times: upnp-gw approve 1" in lines
    denials = lines[lines.index("LAST DENIALS") + 1 :]
    assert [line.endswith(": forbid never-admin-ports: internal port 445") for line in denials] == [True, True]
    assert denials[0] > denials[1], "the newest first"
    assert lines[lines.index("LAST DENIALS") - 1] == ""


@pytest.mark.spec("SR-21")
def test_text_of_a_device_cannot_act_on_the_terminal() -> None:
    evil = "\x1b[2J\r\nevil\u202e"
    found = shown(1, 1, 1, 1)
    hostile = Shown(
        [replace(found.mappings[0], description=evil, device_name=evil, rule=evil)],
        [replace(found.incidents[0], device_name=evil, device=evil)],
        [replace(found.questions[0], device_name=evil, description=evil, internal_client=evil)],
        [replace(found.denials[0], device_name=evil, reasons=(evil,), description=evil)],
    )
    lines = lines_of(hostile, 200)
    assert all(line.isprintable() for line in lines)
    assert sum("evil" in line for line in lines) == 4


WITHOUT_TIMER = """
from upnp_gw.cli import main, watch
watch.REDRAW_S = 3600.0
main(["list", "--watch"])
"""
"""It is drawn at an event or another size, and not because leases count down."""


@contextmanager
def terminal(directory: Path, columns: int, rows: int) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """``upnp-gw list --watch`` at a terminal of its own, and our end of it."""
    ours, theirs = os.openpty()
    resize(ours, columns, rows)
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    environment |= {"UPNP_GW_RUNTIME_DIR": str(directory), "TERM": "xterm"}
    program = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_TIMER],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that it gets the signal of a new size
        env=environment,
    )
    os.close(theirs)
    try:
        yield program, ours
    finally:
        program.kill()
        program.wait()
        os.close(ours)


def resize(ours: int, columns: int, rows: int) -> None:
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Screen:
    """The last whole screen that came."""

    def __init__(self, ours: int) -> None:
        self._ours = ours
        self._came = ""

    def until(self, height: int, *words: str) -> list[str]:
        """The first screen from now on of this height with these words."""
        while True:
            assert select.select([self._ours], [], [], 20)[0], f"no screen has {words}:\n{self._came}"
            self._came += os.read(self._ours, 65536).decode().replace("\r\n", "\n")
            for screen in self._came.split(CLEAR_SCREEN)[1:]:
                if screen.count("\n") == height and all(word in screen for word in words):
                    self._came = ""
                    return click.unstyle(screen).splitlines()

    def rest(self) -> str:
        """Everything until the program ends."""
        try:
            while came := os.read(self._ours, 65536):
                self._came += came.decode().replace("\r\n", "\n")
        except OSError:  # Linux says so if nobody has the other end
            pass
        return "\n" + self._came


def test_a_terminal_that_is_resized_and_a_question_that_comes(tmp_path: Path) -> None:
    operator = Answering()
    operator.held = [mapping(number) for number in range(1, 61)]
    operator.questions, operator.decided = [], [decision(number) for number in range(1, 40)]
    with served(tmp_path, operator) as daemon, terminal(tmp_path, 80, 24) as (program, ours):
        screen = Screen(ours)
        lines = screen.until(23, "LAST DENIALS")
        assert max(map(width, lines)) <= 80
        resize(ours, 150, 40)
        lines = screen.until(39, "LAST DENIALS")
        assert max(map(width, lines)) > 80
        daemon.operator.questions = [replace(QUESTION, number=7)]
        daemon.publish(api.Event(event="question", at=NOW))
        screen.until(39, "QUESTIONS", "7: ps5 asks for udp")
        daemon.publish(None)
        assert screen.rest().endswith("\nupnp-gw stopped\n")
        assert program.wait(10) == 0


def test_a_smaller_terminal_scrolls() -> None:
    found = shown(9, 9, 9, 9)
    assert lines_of(found, 80, 5) == lines_of(found, 80, 24)
    assert max(map(width, lines_of(found, 30, 8))) <= 60
