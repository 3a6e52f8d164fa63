"""Bytes of a foreign file -> lines, within bounds. Whoever wrote the file may be hostile."""

from upnp_gw.migration.original import Line
from upnp_gw.model.errors import ConfigError

LARGEST = 1024 * 1024
"""Bytes of a file. miniupnpd.conf of a router has 5 KB."""
MOST_LINES = 20_000
LONGEST_LINE = 1000
"""Bytes of a line. miniupnpd reads 1023 at a time and takes the rest for another line."""
_BINARY = frozenset(range(32)) - frozenset(b"\t\n\v\f\r") | {127}


def lines_of(data: bytes, where: str) -> list[Line]:
    """The lines, without spaces at their ends; empty ones too, so that the numbers are those of the file. One that
    is not UTF-8 is read as Latin-1. ``where``: the name of the file for messages.

    Raises ConfigError for a file that is too large or binary, and for a line that is too long.
    """
    if len(data) > LARGEST:
        raise ConfigError(where, "", f"{len(data)} bytes; accepted: at most {LARGEST}")
    rows = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if len(rows) > MOST_LINES:
        raise ConfigError(where, "", f"{len(rows)} lines; accepted: at most {MOST_LINES}")
    for number, row in enumerate(rows, 1):
        if len(row) > LONGEST_LINE:
            problem = f"a line of {len(row)} bytes; accepted: at most {LONGEST_LINE}"
            raise ConfigError(where, "", problem, number)
        if not _BINARY.isdisjoint(row):
            raise ConfigError(where, "", "a control character: this is no text file", number)
    return [Line(number, _decoded(row).strip(" \t\v\f\r")) for number, row in enumerate(rows, 1)]


def _decoded(row: bytes) -> str:
    try:
        return row.decode("utf-8")
    except UnicodeDecodeError:
        return row.decode("latin-1")
