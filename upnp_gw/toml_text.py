"""The operator's files as TOML: from text to tables, and the line of a key, for the message about a mistake.

Pure: nothing here reads a file. What no key of ours accepts, and Python cannot show, is refused here, so that no
reader of a value meets it: integers of thousands of digits, and tables in tables without end.
"""

import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from upnp_gw.errors import ConfigError
from upnp_gw.terminal import shown

DEEPEST = 16
"""Tables and lists in each other; the files of upnp-gw use five."""
MOST_BITS = 1024
"""Of an integer; the longest that any key accepts has 24. Python does not print what has more than 14,000."""
LONGEST_KEY = 120
LONGEST_PROBLEM = 200
"""Characters of the parser's own words that a message repeats."""
MOST_TRIED = 1_000_000
"""Characters that are parsed to find the line of a mistake; a longer search ends without a line."""


def tables(text: str, where: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises ConfigError; ``where`` names the file in it."""
    if text.startswith("\ufeff"):
        raise ConfigError(
            where, "", "not TOML: a byte order mark before the first line; save it as UTF-8 without", 1
        )
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(where, "", f"not TOML: {shown(str(error), LONGEST_PROBLEM)}") from None
    except (RecursionError, ValueError):  # nested beyond reason, or an integer of thousands of digits
        raise ConfigError(where, "", "not TOML: nested too deep, or a number too long") from None
    with located(text, where):
        _check(found, where)
    return found


def joined(*parts: str) -> str:
    """A key path from its parts, empty ones left out."""
    return ".".join(part for part in parts if part)


@contextmanager
def located(text: str, where: str) -> Iterator[None]:
    """Adds the line to a ConfigError about a key of this text, where it has none yet."""
    try:
        yield
    except ConfigError as error:
        if error.where != where or error.line is not None or not error.key:
            raise
        line, rule = line_of(text, error.key), _rule_of(text, error.key)
        if line is None and not rule:
            raise
        raise ConfigError(error.where, error.key, error.problem, line, rule) from None


_RULE = re.compile(r"^(forbid|grant|test)\[(\d+)\]")


def _rule_of(text: str, key: str) -> str:
    """``grant "console-games"`` for the key ``grant[0].max_ttl``; empty where the table has no name."""
    found = _RULE.match(key)
    if not found:
        return ""
    try:
        name = tomllib.loads(text)[found[1]][int(found[2])]["name"]
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):
        return ""
    return f'{found[1]} "{shown(name, LONGEST_KEY)}"' if isinstance(name, str) else ""


def line_of(text: str, key: str) -> int | None:
    """The line, 1.., of the statement that a key path such as ``grant[2].who[0]`` comes from: its own, or the
    nearest table around it. None: it is not found, or the text is too long to look through."""
    longest, found = 0, None
    for path, line in _statements(text):
        if len(path) > longest and (key == path or key.startswith((f"{path}.", f"{path}["))):
            longest, found = len(path), line
    return found


def _statements(text: str) -> Iterator[tuple[str, int]]:
    """(key path, first line) of each statement of a sound text, in order; dotted keys once for each of them.

    A statement is as few lines as are TOML by themselves: the parser itself says where a list or a text ends.
    """
    counts: dict[str, int] = {}
    table, kept, begun, tried = "", "", 0, 0
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not kept and (not line.strip() or line.lstrip().startswith("#")):
            continue
        kept, begun = (f"{kept}\n{line}", begun) if kept else (line, number)
        tried += len(kept)
        if tried > MOST_TRIED:
            return
        try:
            found = tomllib.loads(kept)
        except (RecursionError, ValueError):
            continue
        path = _path(found)
        if kept.lstrip().startswith("["):
            table = _header(path, kept.lstrip().startswith("[["), counts)
            yield table, begun
        else:
            for count in range(1, len(path) + 1):
                yield joined(table, *path[:count]), begun
        kept = ""


def _path(found: Any) -> list[str]:
    """The keys of a text of one statement: all of a header's, the dotted ones of a value's."""
    path: list[str] = []
    while isinstance(found, dict) and len(found) == 1 and len(path) <= DEEPEST:
        ((key, found),) = found.items()
        path.append(key)
        if isinstance(found, list) and found == [{}]:
            break
    return path


def _header(path: list[str], many: bool, counts: dict[str, int]) -> str:
    """The key path of a table; of the newest one, where there are several of a name."""
    told = ""
    for index, part in enumerate(path):
        told = joined(told, part)
        if many and index == len(path) - 1:
            counts[told] = counts.get(told, -1) + 1
        if told in counts:
            told = f"{told}[{counts[told]}]"
    return told


def _check(found: dict[str, Any], where: str) -> None:
    """Raises ConfigError at an integer that cannot be shown, and where it is nested too deep. Without recursion."""
    left: list[tuple[str, Any, int]] = [("", found, 0)]
    while left:
        key, value, depth = left.pop()
        if isinstance(value, int) and value.bit_length() > MOST_BITS:
            raise ConfigError(where, shown(key, LONGEST_KEY), "a number of hundreds of digits; nothing accepts one")
        if depth > DEEPEST:
            problem = f"more than {DEEPEST} tables or lists in each other; nothing accepts them"
            raise ConfigError(where, shown(key, LONGEST_KEY), problem)
        if isinstance(value, dict):
            left += [(joined(key, name), inner, depth + 1) for name, inner in value.items()]
        elif isinstance(value, list):
            left += [(f"{key}[{index}]", inner, depth + 1) for index, inner in enumerate(value)]
