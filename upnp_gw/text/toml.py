"""Parses TOML of the operator, and finds the line of a key for the message about a mistake. Pure.

Refuses what no key accepts and Python cannot print, so that no reader of a value has to handle it: integers with
thousands of digits and deeply nested tables.
"""

import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from pathlib import PurePath
from typing import Any

from upnp_gw.model.errors import ConfigError
from upnp_gw.text.escape import shown

DEEPEST = 16
"""Most levels of nested tables and lists; the files of upnp-gw use five."""
LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){64}""", re.ASCII)
"""The first 64 names of a dotted key. The parser needs memory by the square of their number: more than 20 GB for a
key of 400 KB."""
MOST_BITS = 1024
"""Most bits of an integer. The largest that any key accepts has 24; Python does not print more than 14,000."""
LONGEST_KEY = 120
LONGEST_VALUE = 64
"""Characters of a value that a message repeats."""
_TWICE = "set twice; write each name and each table once"
_OPEN = 'a text has no closing quote, or has a control character; write it as "eth0"'
_ESCAPE = 'not a character; write four digits after \\u, such as "\\u00e9", or the character itself'
NOT_TOML = {
    "Expected '='": 'a line is a name, "=" and a value, such as version = 1',
    "Expected newline": "text after the value; write one setting a line",
    "Expected ']]'": 'a table of several ends with "]]", such as [[grant]]',
    "Expected ']'": 'a table ends with "]", such as [lan]',
    "Invalid statement": "neither a setting nor a table; write version = 1, or [lan]",
    "Invalid value": 'not a value; write a text in quotes such as "eth0", a number, true, false or a list',
    "Invalid initial": 'a name is missing here; write version = 1, and no comma before "}" or at the end of a line',
    "Unclosed array": 'a list is not closed; write "]" at its end, such as ["eth0"]',
    "Unclosed inline": 'a table is not closed; write "}" at its end, such as { device = "ps5" }',
    "Expected": _OPEN,
    "Unterminated": _OPEN,
    "Illegal character": _OPEN,
    "Found invalid": "a control character; remove it",
    "Invalid hex": _ESCAPE,
    "Escaped": _ESCAPE,
    "Unescaped": "a backslash in a text; write it twice, or put the text in single quotes, such as 'a\\b'",
    "Invalid date": "not a date; write 2027-05-01",
    "Cannot overwrite": _TWICE,
    "Cannot declare": _TWICE,
    "Cannot redefine": _TWICE,
    "Cannot mutate": _TWICE,
    "Duplicate": _TWICE,
}
"""Beginning of a message of the parser -> what is wrong, and what to write."""
MOST_TRIED = 1_000_000
"""Most characters to parse while looking for the line of a mistake; then the message has no line."""


def parse_tables(text: str, where: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises ConfigError. ``where``: the name of the file for the error."""
    if text.startswith("\ufeff"):
        raise ConfigError(
            where, "", "not TOML: a byte order mark before the first line; save it as UTF-8 without", 1
        )
    long_key = LONG_KEY.search(text)
    if long_key is not None:
        problem = "a key of 64 or more names with dots between them; no key has so many"
        raise ConfigError(where, "", problem, text.count("\n", 0, long_key.start()) + 1)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(str(error), text, where) from None
    except (RecursionError, ValueError):  # nested very deep, or an integer with thousands of digits
        raise ConfigError(where, "", "not TOML: nested too deep, or a number too long") from None
    with locate_errors(text, where):
        _check(document, where)
    return document


_AT = re.compile(r"\(at (?:line (\d+), column (\d+)|end of document)\)$")


def _not_toml(problem: str, text: str, where: str) -> ConfigError:
    """The parser's message in plain words, with the line."""
    words = next(
        (advice for begins, advice in NOT_TOML.items() if problem.startswith(begins)), "cannot be read here"
    )
    at = _AT.search(problem)
    if at is None:
        return ConfigError(where, "", f"not TOML: {words}")
    if at[1] is None:
        return ConfigError(where, "", f"not TOML: {words} (at the end)", max(1, len(text.splitlines())))
    return ConfigError(where, "", f"not TOML: {words} (at column {at[2]})", int(at[1]))


def not_utf8(where: str, data: bytes, at: int) -> ConfigError:
    """The error for a file that is not UTF-8. ``at``: the index of the first bad byte."""
    problem = f"not UTF-8 at byte {at}; save the file as UTF-8"
    return ConfigError(where, "", problem, data.count(b"\n", 0, at) + 1)


def join_keys(*parts: str) -> str:
    """A key path from its parts, empty ones left out."""
    return ".".join(part for part in parts if part)


def as_toml(value: object) -> str:
    """A value as TOML, cut and printable; tables and lists in words."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() | PurePath():
            return f'"{shown(str(value), LONGEST_VALUE)}"'
        case list() | tuple():
            return "a list" if value else "an empty list"
        case dict():
            return "a table"
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case _:
            return shown(str(value), LONGEST_VALUE)


def describe(value: object) -> str:
    """A value of the wrong type, for a message: ``the text "yes"``, ``the number 3``, ``true``, ``a list``."""
    for kind, name in _KINDS:
        if isinstance(value, kind) and not isinstance(value, bool):
            return f"{name} {as_toml(value)}"
    return as_toml(value)


_KINDS: tuple[tuple[type, str], ...] = (
    (str, "the text"),
    (int, "the number"),
    (float, "the number"),
    (datetime, "the time"),
    (date, "the date"),
    (time, "the time of day"),
)


@contextmanager
def locate_errors(text: str, where: str) -> Iterator[None]:
    """Adds the line to a ConfigError about a key of this text, where it has none yet."""
    try:
        yield
    except ConfigError as error:
        if error.where != where or error.line is not None or not error.key:
            raise
        raise with_line(error, text) from None


def with_line(error: ConfigError, text: str) -> ConfigError:
    """The error with the line of its key in this text and the name of its rule, where they are found."""
    return ConfigError(error.where, error.key, error.problem, line_of(text, error.key), _rule_of(text, error.key))


_RULE = re.compile(r"^(forbid|grant|test|never|always)\[(\d+)\]")


def _rule_of(text: str, key: str) -> str:
    """``grant "console-games"`` for the key ``grant[0].max_ttl``; empty where the table has no name."""
    match = _RULE.match(key)
    if not match:
        return ""
    try:
        name = tomllib.loads(text)[match[1]][int(match[2])]["name"]
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):
        return ""
    return f'{match[1]} "{shown(name, LONGEST_KEY)}"' if isinstance(name, str) else ""


def line_of(text: str, key: str) -> int | None:
    """The line, 1.., of the statement that sets a key path such as ``grant[2].who[0]``, else of the nearest table
    around it; of several tables the first. None: not found, or the text is too long to search."""
    longest, line = 0, None
    for path, start in _statements(text):
        around = key.startswith((f"{path}.", f"{path}["))
        if len(path) > longest and (around or key == path or path == f"{key}[0]"):
            longest, line = len(path), start
    return line


def _statements(text: str) -> Iterator[tuple[str, int]]:
    """(key path, first line) of each statement of a valid text, in order; for dotted keys, one for each part.

    A statement is the fewest lines that parse by themselves: so the parser finds where a list or a text ends.
    """
    counts: dict[str, int] = {}
    table, pending, begun, tried = "", "", 0, 0
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        pending, begun = (f"{pending}\n{line}", begun) if pending else (line, number)
        tried += len(pending)
        if tried > MOST_TRIED:
            return
        try:
            statement = tomllib.loads(pending)
        except (RecursionError, ValueError):
            continue
        path = _path(statement)
        if pending.lstrip().startswith("["):
            table = _header(path, pending.lstrip().startswith("[["), counts)
            yield table, begun
        else:
            for count in range(1, len(path) + 1):
                yield join_keys(table, *path[:count]), begun
        pending = ""


def _path(value: Any) -> list[str]:
    """The keys of a statement: those of a table header, or the dotted keys of a value."""
    path: list[str] = []
    while isinstance(value, dict) and len(value) == 1 and len(path) <= DEEPEST:
        ((key, value),) = value.items()
        path.append(key)
        if isinstance(value, list) and value == [{}]:
            break
    return path


def _header(path: list[str], many: bool, counts: dict[str, int]) -> str:
    """The key path of a table; for an array of tables, of the newest one."""
    key = ""
    for index, part in enumerate(path):
        key = join_keys(key, part)
        if many and index == len(path) - 1:
            counts[key] = counts.get(key, -1) + 1
        if key in counts:
            key = f"{key}[{counts[key]}]"
    return key


def _check(document: dict[str, Any], where: str) -> None:
    """Raises ConfigError for an integer that cannot be printed, and for too deep nesting. Not recursive."""
    queue: list[tuple[str, Any, int]] = [("", document, 0)]
    while queue:
        key, value, depth = queue.pop()
        if isinstance(value, int) and value.bit_length() > MOST_BITS:
            raise ConfigError(
                where, shown(key, LONGEST_KEY), "a number with hundreds of digits; no key accepts one"
            )
        if depth > DEEPEST:
            problem = f"more than {DEEPEST} tables or lists inside each other; no key accepts them"
            raise ConfigError(where, shown(key, LONGEST_KEY), problem)
        if isinstance(value, dict):
            queue += [(join_keys(key, name), inner, depth + 1) for name, inner in value.items()]
        elif isinstance(value, list):
            queue += [(f"{key}[{index}]", inner, depth + 1) for index, inner in enumerate(value)]
