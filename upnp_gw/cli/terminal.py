"""The terminal: how wide it is, text that wraps to it, and colour.

On a terminal no line is wider than its columns, except commands to paste. Elsewhere nothing is wrapped, so that
other programs get one row a line. Colour repeats what the words say. Callers escape foreign text.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import click

from upnp_gw.text.escape import cut, width

DEFAULT_COLUMNS = 80
"""Columns of a terminal that does not report its width."""
UNLIMITED = 1_000_000
"""Columns if the output is not a terminal."""
LONGEST_TEXT = 2000
"""Characters kept of a text that wraps; enough that no address in it is cut."""
NARROWEST = 40
"""Columns of text on a terminal that is narrower."""

GOOD, CAUTION, BAD, HEADING = "good", "caution", "bad", "heading"
STYLES: dict[str, dict[str, Any]] = {
    GOOD: {"fg": "green"},
    CAUTION: {"fg": "yellow"},
    BAD: {"fg": "red", "bold": True},
    HEADING: {"bold": True},
}
VERDICTS = {"allow": GOOD, "deny": BAD, "ask": CAUTION, "busy": CAUTION}
"""Verdict of the gate -> its style."""

_OPTION = r"-[\w-]+(?:=\S+| [^\s-]\S*)?"
"""An option with its value. There is only one way to split a text into options, so matching takes linear time:
foreign text may look like a command with many options."""
_ARGUMENT = r"(?:tcp|udp)\b|[^\s-]*[^\sa-z,.;()]\S*"
"""An argument of a command and not a word of the sentence: it has a digit, a capital or a sign."""
GLUE = "\x00"
"""Stands for a space where no line may end. No text contains it: control characters are escaped."""


def table_columns() -> int:
    """Columns for tables: COLUMNS, else those of the terminal, else UNLIMITED."""
    return shutil.get_terminal_size((DEFAULT_COLUMNS if sys.stdout.isatty() else UNLIMITED, 24)).columns


def text_columns(*, err: bool = False) -> int:
    """Columns for sentences: those of the terminal; UNLIMITED without one, even if COLUMNS is set."""
    stream = sys.stderr if err else sys.stdout
    return shutil.get_terminal_size((DEFAULT_COLUMNS, 24)).columns if stream.isatty() else UNLIMITED


@cache
def _unbroken_text() -> re.Pattern[str]:
    """Matches text to paste: text in backticks, and a upnp-gw command with options and arguments."""
    from upnp_gw.cli import COMMANDS

    names = "|".join(("policy [a-z]+", *COMMANDS))
    return re.compile(rf"`[^`]*`|(?:sudo )?upnp-gw (?:{_OPTION} )*(?:{names})\b(?: (?:{_OPTION}|{_ARGUMENT}))*")


def glue(text: str) -> str:
    """The text without a place where a line may end."""
    return text.replace(" ", GLUE)


def wrap(text: str, most: int, further: str = "", first: str = "", *, whole: bool = False) -> list[str]:
    """The text in lines of at most ``most`` columns, broken at spaces; ``first`` and ``further`` begin the lines.

    A command or a path is never broken; if it is wider than a line, it has a line of its own. ``whole``: the same
    for every word; otherwise a word that is wider than a line is broken.
    """
    most = max(most, NARROWEST)
    if _width(first) + _width(text) <= most:
        return [(first + text.replace(GLUE, " ")).rstrip()]
    lines: list[str] = []
    line, begins = first, True
    for word in _unbroken_text().sub(lambda found: glue(found[0]), text).split(" "):
        if not begins and _width(line) + 1 + _width(word) > most:
            lines.append(line)
            line, begins = _indent(further, word, most) if whole or _is_unbroken(word) else further, True
        line += word if begins else " " + word
        begins = False
        while not whole and not _is_unbroken(word) and _width(line) > most:
            head = _that_fits(line, most)
            lines.append(head)
            line = word = further + line[len(head) :]
    return [each.replace(GLUE, " ").rstrip() for each in [*lines, line]]


def _is_unbroken(word: str) -> bool:
    return GLUE in word or "/" in word


def _indent(further: str, word: str, most: int) -> str:
    """The indent of an unbroken word, less if the word does not fit otherwise."""
    return further if further.strip() else further[: max(0, most - _width(word))]


def _that_fits(text: str, most: int) -> str:
    """The first characters, as many as fit."""
    return text[: len(cut(text + "  ", most + 1)) - 1]


def _width(text: str) -> int:
    return width(click.unstyle(text))


def wrap_labelled(label: str, text: str, most: int, room: int, *, whole: bool = False) -> list[str]:
    """The text, wrapped beside a label of ``room`` columns."""
    indent = " " * (room + 1)
    return wrap(text, most, indent, f"{label:<{room}} ", whole=whole)


def print_text(text: str, *, further: str = "    ", err: bool = False) -> None:
    """Prints a sentence, wrapped to the terminal."""
    click.echo("\n".join(wrap(text, text_columns(err=err), further)), err=err)


# -- colour


def paint(text: str, style: str | None) -> str:
    """The text in the colour of a style, if colours are on."""
    return click.style(text, **STYLES[style]) if style and text and _in_colour() else text


def _in_colour() -> bool:
    context = click.get_current_context(silent=True)
    if context is None:
        return False
    return sys.stdout.isatty() if context.color is None else context.color


def _paint_word(line: str, style: str | None) -> str:
    """The line with its first word in the colour of a style."""
    word = line.lstrip(" ").split(" ", 1)[0]
    return line.replace(word, paint(word, style), 1) if word else line


def paint_first(lines: Iterable[str], style: str | None) -> list[str]:
    """The lines, with the first word in colour."""
    first, *rest = lines
    return [_paint_word(first, style), *rest]


def colour_choice(choice: str, environ: Mapping[str, str]) -> bool | None:
    """True: colours; False: none; None: on terminals only. NO_COLOR: no-color.org."""
    if choice != "auto":
        return choice == "always"
    return False if environ.get("NO_COLOR") or environ.get("TERM") == "dumb" else None


def _choose_colour(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.color = colour_choice(value, os.environ)
        ctx.find_root().color = ctx.color


def colour_option(*, command: bool = False) -> click.Option:
    """``--color``. ``command``: the hidden copy after a command name."""
    return click.Option(
        ["--color"],
        type=click.Choice(["auto", "always", "never"]),
        default=None if command else "auto",
        show_default=not command,
        is_eager=True,
        expose_value=False,
        hidden=command,
        callback=_choose_colour,
        help="auto: colours on a terminal, unless NO_COLOR is set.",
    )


class Formatter(click.HelpFormatter):
    """Help with its headings in bold."""

    def write_heading(self, heading: str) -> None:
        self.write(f"{'':>{self.current_indent}}{paint(heading + ':', HEADING)}\n")

    def write_text(self, text: str) -> None:
        """Wraps paragraphs; one that begins with ``\\b`` is not wrapped (click's convention)."""
        indent = " " * self.current_indent
        for at, paragraph in enumerate(text.split("\n\n")):
            if at:
                self.write("\n")
            first, _, rest = paragraph.partition("\n")
            kept = rest.split("\n") if first.strip() == "\b" else None
            lines = kept or wrap(" ".join(paragraph.split()), self.width - len(indent))
            for line in lines:
                self.write(f"{indent}{line}\n")


class Context(click.Context):
    formatter_class = Formatter

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        if self.parent is None:
            self.color = colour_choice("auto", os.environ)  # click may handle --help before --color


def prepare(command: click.Command) -> click.Command:
    """The command, and the commands of its group, with ``--color`` and headings in bold."""
    if command.context_class is not Context:
        command.context_class = Context
        command.params.append(colour_option(command=True))
        for below in command.commands.values() if isinstance(command, click.Group) else ():
            prepare(below)
    return command


def show_error(error: click.ClickException) -> None:
    """Prints the error on stderr, wrapped and in colour; for wrong usage also the usage line."""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        with error.ctx.scope(cleanup=False):
            _show_usage(error, error.ctx)
    else:
        _show_message(error)


def _show_usage(error: click.UsageError, context: click.Context) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    click.echo(f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n", err=True)
    _show_message(error)


def _show_message(error: click.ClickException) -> None:
    lines = wrap(f"Error: {error.format_message()}", text_columns(err=True), "  ")
    click.echo("\n".join(paint_first(lines, BAD)), err=True)
