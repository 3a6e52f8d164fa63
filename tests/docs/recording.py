"""Records ``upnp-gw demo`` at a terminal and draws it: ``python -m tests.docs.recording`` makes docs/demo.svg.

It needs what the demo needs, and takes as long. The drawing plays once and then stands still. A reader who asks for
less motion sees its last screen alone. Colours follow the reader's preference for light or dark.

The demo prints lines in colour and moves no cursor, so no emulator of a terminal is needed: another escape sequence
is an error.
"""

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tests import ROOT

TARGET = ROOT / "docs" / "demo.svg"
COLUMNS, ROWS = 80, 26
CHAR, LINE, FONT = 8.0, 18, 13.3
"""Pixels: the width of a character, the height of a line, the size of the font."""
MARGIN = 14
LONGEST_PAUSE_S = 1.2
"""The drawing makes longer pauses shorter: the demo waits half a minute for the kernel to end a lease."""
LEAST_PAUSE_S = 0.12
"""A line stands alone for that long, so that it can be seen."""

STYLES = {"1": "h", "31": "bad", "32": "good", "33": "care", "31;1": "bad"}
"""Codes of colour and weight -> the class in the drawing."""
_SGR = re.compile(r"\x1b\[([\d;]*)m")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the output. ``at``: seconds since the start."""

    at: float
    runs: tuple[tuple[str, str], ...]
    """(class, text)."""

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.runs)


def record(command: Sequence[str]) -> list[Line]:
    """Runs a command at a terminal. Raises CalledProcessError if it fails."""
    lines: list[Line] = []
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "LINES": str(ROWS)}
    environment.pop("NO_COLOR", None)
    started = time.monotonic()
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        pending = b""
        while True:
            try:
                data = os.read(leader, 65536)
            except OSError:  # the other end was closed
                break
            *whole, pending = (pending + data).split(b"\n")
            at = time.monotonic() - started
            lines += [parsed(at, each.decode().rstrip("\r")) for each in whole]
    os.close(leader)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, "\n".join(line.text for line in lines))
    return lines


def parsed(at: float, text: str) -> Line:
    """A line with its colours. Raises ValueError for another escape sequence."""
    runs, style = [], ""
    parts = _SGR.split(text)
    for place, part in enumerate(parts):
        if place % 2:
            style = ";".join(filter(None, (style, part))) if part not in ("", "0") else ""
            if style and style not in STYLES:
                raise ValueError(f"a colour without a class: {style}")
        elif "\x1b" in part:
            raise ValueError(f"an escape sequence that is no colour: {part!r}")
        elif part:
            runs.append((STYLES.get(style, ""), part))
    return Line(at, tuple(runs))


def paced(lines: Sequence[Line]) -> list[float]:
    """The time of each line in the drawing, seconds."""
    times, before, now = [], 0.0, 0.0
    for line in lines:
        now += min(max(line.at - before, LEAST_PAUSE_S), LONGEST_PAUSE_S)
        before = line.at
        times.append(now)
    return times


def drawn(lines: Sequence[Line], title: str) -> str:
    """The SVG."""
    times = paced(lines)
    width, height = COLUMNS * CHAR + 2 * MARGIN, ROWS * LINE + 2 * MARGIN
    shift = max(0, len(lines) - ROWS)
    texts = "".join(_text(number, line) for number, line in enumerate(lines))
    space = f'viewBox="0 0 {width:g} {height:g}" xml:space="preserve"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {space} role="img">
<title>{escape(title)}</title>
<style>{STYLE}
#s{{transform:translateY({-shift * LINE}px)}}
#c{{transform:translateY({min(len(lines), ROWS) * LINE}px)}}
@media (prefers-reduced-motion:no-preference){{
#s{{animation:s {times[-1]:.2f}s step-end 1}}
#c{{animation:c {times[-1]:.2f}s step-end 1}}
}}
@keyframes s{{{_frames(times, lambda count: -max(0, count - ROWS))}}}
@keyframes c{{{_frames(times, lambda count: min(count, ROWS))}}}
</style>
<rect class="w" width="{width:g}" height="{height:g}" rx="8"/>
<svg x="{MARGIN}" y="{MARGIN}" width="{COLUMNS * CHAR:g}" height="{ROWS * LINE}"><g id="s">
{texts}</g><rect class="w" id="c" width="100%" height="100%"/></svg>
</svg>
"""


STYLE = """
text{font:13.3px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#1f2328}
text{white-space:pre}
.w{fill:#f6f8fa}.h{font-weight:bold}.good{fill:#116329}.care{fill:#7d4e00}.bad{fill:#a40e26;font-weight:bold}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}.w{fill:#161b22}.good{fill:#56d364}.care{fill:#e3b341}.bad{fill:#ff7b72}
}"""


def _text(number: int, line: Line) -> str:
    y, column, found = number * LINE + FONT, 0, []
    for style, text in line.runs:
        start = len(text) - len(text.lstrip(" "))
        if words := text.strip(" "):
            kind = f' class="{style}"' if style else ""
            x, length = (column + start) * CHAR, len(words) * CHAR
            found.append(f'<text{kind} x="{x:g}" y="{y:g}" textLength="{length:g}">{escape(words)}</text>\n')
        column += len(text)
    return "".join(found)


def _frames(times: Sequence[float], lines_at: Callable[[int], int]) -> str:
    """Keyframes: at each time so many lines of the output are there."""
    frames = {0.0: lines_at(0)}
    for count, at in enumerate(times, 1):
        frames[round(100 * at / times[-1], 2)] = lines_at(count)
    shown: list[str] = []
    last: int | None = None
    for percent, lines in frames.items():
        if lines != last or percent == 100.0:
            shown.append(f"{percent:g}%{{transform:translateY({lines * LINE}px)}}")
        last = lines
    return "".join(shown)


def lines_of(svg: str) -> Iterable[str]:
    """The texts of a drawing."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


if __name__ == "__main__":
    command = [sys.executable, "-m", "upnp_gw", "demo"]
    typed = Line(0.0, (("h", "$ upnp-gw demo"),))
    TARGET.write_text(
        drawn([typed, *record(command)], "A terminal: upnp-gw demo, from its start to its end"), "utf-8"
    )
