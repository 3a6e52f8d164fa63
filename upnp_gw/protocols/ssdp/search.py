"""Parses M-SEARCH: a datagram becomes a ``Search`` or a ``WireError`` (IGD section 2.5, SR-11)."""

import re
from dataclasses import dataclass

from upnp_gw.model.errors import WireError

MAX_BYTES = 1024
MAX_WAIT_S = 5
START_LINE = b"M-SEARCH * HTTP/1.1"
DISCOVER = ('"ssdp:discover"', "ssdp:discover")
"""The accepted values of MAN. The standard has quotes (UDA 1.1 section 1.3.2); bupnp of Node and early ssdpy omit
them."""
HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*)")
TARGET = re.compile(r"[!-~]{1,256}")
SECONDS = re.compile(r"[0-9]{1,10}")
ONCE = ("man", "mx", "st")
"""Headers that may occur only once: a second one makes the message ambiguous."""


@dataclass(frozen=True, slots=True)
class Search:
    """A valid search."""

    st: str
    """The search target: printable ASCII, 1 to 256 characters, not checked against the notify sets."""
    wait_s: int
    """Answers are due within this many seconds, 0..5 (MX); 0, for a unicast search: at once."""


def parse_search(data: bytes, *, multicast: bool) -> Search:
    """The search in a datagram. Raises WireError; ``not-a-search`` is usual: all devices announce to the group.

    Strict about MAN and ST, and about MX if the search came by multicast. Accepts what clients send otherwise:
    MAN without its quotes (bupnp), no space after the colon and a second blank line (libtorrent, Syncthing), no
    blank line at all (bupnp), header names in any case (GUPnP), lines that end in LF alone, no HOST, an MX of 0.
    """
    if not data.startswith(START_LINE):
        raise WireError("not-a-search")
    if len(data) > MAX_BYTES:
        raise WireError("too-long")
    after, *rest = data[len(START_LINE) :].decode("latin-1").replace("\r\n", "\n").split("\n")
    if after:
        raise WireError("not-a-search")
    fields = _fields(rest)
    if fields.get("man") not in DISCOVER:
        raise WireError("bad-man")
    st = fields.get("st", "")
    if not TARGET.fullmatch(st):
        raise WireError("bad-st")
    return Search(st, _wait(fields.get("mx", "")) if multicast else 0)


def _fields(lines: list[str]) -> dict[str, str]:
    """The headers up to the first blank line, with names in lower case."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            break
        match = HEADER.fullmatch(line)
        if match is None:
            raise WireError("bad-header")
        name = match[1].lower()
        if name in fields and name in ONCE:
            raise WireError("repeated-header")
        fields[name] = match[2].rstrip(" \t")
    return fields


def _wait(mx: str) -> int:
    if not SECONDS.fullmatch(mx):
        raise WireError("bad-mx")
    return min(int(mx), MAX_WAIT_S)
