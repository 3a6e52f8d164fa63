"""Address lists: parses the file of a ``[set]``, and makes its ``AddressSet``.

``AddressLists`` is where the files come from; ``system`` alone reads them. The parser is fast enough for 100,000
prefixes at a reload: no object for each.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address, ip_network
from typing import Protocol

from upnp_gw.gate import values
from upnp_gw.gate.policyfile import SetTable, printable, to_table
from upnp_gw.gate.remote import AddressSet
from upnp_gw.gate.values import KeyPath
from upnp_gw.model.address_ranges import AddressRanges, Span
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.toml import parse_tables

MOST_ENTRIES = 100_000
LARGEST_LIST = 8 * 1024 * 1024
"""Bytes of a list: 100,000 IPv6 prefixes, each with a comment."""
ENTRY = "an address, or a prefix without host bits"
PLAIN = f"{ENTRY}, one a line, with comments after #"
A_FILE = "the name of a file that the gateway can read, relative to the policy file"
JSON = 'a JSON list of addresses and prefixes, such as ["203.0.113.0/24"]'


class ListFormat(StrEnum):
    """PLAIN: one address or prefix a line, comments after ``#`` or ``;``. JSON: a list of texts."""

    PLAIN = "plain"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ListFile:
    """The content of a list, and when it was changed."""

    path: str
    data: bytes
    changed_at: float
    """Wall-clock seconds."""


class AddressLists(Protocol):
    """The files of address lists."""

    def read(self, file: str) -> ListFile:
        """The present content of a file, named relative to the policy file. Raises ConfigError (its own path)."""
        ...

    def parsed(self, file: ListFile, kind: ListFormat) -> "ParsedList":
        """Its addresses, perhaps as parsed before. Raises ConfigError."""
        ...


@dataclass(frozen=True, slots=True)
class ParsedList:
    """The addresses of a list."""

    ranges: AddressRanges
    entries: int


class NoLists:
    """For a policy that is not in a file: its lists cannot be found."""

    def read(self, file: str) -> ListFile:
        raise ConfigError(file, "", "no address list can be read here: the policy is given as a text")

    def parsed(self, file: ListFile, kind: ListFormat) -> ParsedList:
        return parse_list(file, kind)


NO_LISTS = NoLists()


class LoadedLists:
    """The lists of a policy, as they were loaded: no file is read."""

    def __init__(self, sets: Iterable[AddressSet]) -> None:
        self._sets = {one.named: one for one in sets}
        self._by_path = {one.file: one for one in self._sets.values()}

    def read(self, file: str) -> ListFile:
        found = self._sets.get(file)
        if found is None:
            raise ConfigError(file, "", "no list of the policy in force")
        return ListFile(found.file, b"", found.as_of)

    def parsed(self, file: ListFile, kind: ListFormat) -> ParsedList:
        one = self._by_path[file.path]
        return ParsedList(one.ranges, one.entries)


def list_names(text: str, where: str) -> list[str]:
    """The files of the address lists of a policy, as it names them. Raises ConfigError."""
    sets = parse_tables(text, where).get("set", {})
    tables = sets.values() if isinstance(sets, dict) else ()
    return sorted(str(table["file"]) for table in tables if isinstance(table, dict) and "file" in table)


def read_set(name: str, raw: object, place: KeyPath, lists: AddressLists) -> AddressSet:
    """Reads a ``[set.NAME]`` with its file. Raises ConfigError: about the key, or about a line of the list."""
    values.read_name(name, place)
    table = to_table(raw, SetTable, place.where, place.key)
    if not table.file:
        raise place.at("file").wrong(table.file)
    usual = ListFormat.JSON if table.file.endswith(".json") else ListFormat.PLAIN
    kind = usual if table.format is None else values.read_choice(table.format, ListFormat, place.at("format"))
    max_age_s = values.read_optional_duration_s(table.max_age, place.at("max_age"))
    try:
        file = lists.read(table.file)
        found = lists.parsed(file, kind)
    except ConfigError as error:
        at = error.where if error.line is None else f"{error.where}:{error.line}"
        more = "" if "accepted: " in error.problem else f"; accepted: {A_FILE}"
        raise place.at("file").fail(f'got "{printable(table.file)}": {at}: {error.problem}{more}') from None
    return AddressSet(name, table.file, file.path, found.ranges, found.entries, max_age_s, file.changed_at)


def parse_list(file: ListFile, kind: ListFormat) -> ParsedList:
    """The addresses of a list. Raises ConfigError with the line, and what would be accepted."""
    try:
        text = file.data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = file.data.count(b"\n", 0, error.start) + 1
        raise ConfigError(file.path, "", f"not UTF-8; accepted: {PLAIN}", line) from None
    entries = _plain(text) if kind is ListFormat.PLAIN else _json(text, file.path)
    four: list[Span] = []
    six: list[Span] = []
    count = 0
    for line, entry in entries:
        count += 1
        if count > MOST_ENTRIES:
            raise ConfigError(file.path, "", f"more than {MOST_ENTRIES} entries; accepted: a shorter list", line)
        span = _span(entry)
        if span is None:
            place = None if kind is ListFormat.JSON else line
            number = f"entry {line}: " if kind is ListFormat.JSON else ""
            problem = f'{number}it has "{printable(entry)}"; accepted: {ENTRY}, such as 203.0.113.0/24'
            raise ConfigError(file.path, "", problem, place)
        (six if ":" in entry else four).append(span)
    return ParsedList(AddressRanges.of_spans(four, six), count)


def _plain(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0].partition(";")[0].strip()
        if entry:
            yield number, entry


def _json(text: str, path: str) -> Iterator[tuple[int, str]]:
    """The entries with their numbers from 1."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(path, "", f"not JSON ({error.msg}); accepted: {JSON}", error.lineno) from None
    except RecursionError:
        raise ConfigError(path, "", f"nested too deep; accepted: {JSON}") from None
    if not isinstance(found, list):
        raise ConfigError(path, "", f"no list; accepted: {JSON}")
    for number, entry in enumerate(found, 1):
        if not isinstance(entry, str):
            raise ConfigError(path, "", f"entry {number} is no text; accepted: {JSON}")
        yield number, entry


def _span(entry: str) -> Span | None:
    """The first and last address; None: no prefix."""
    address, slash, length = entry.partition("/")
    bits = 128 if ":" in address else 32
    first = _number6(address) if bits == 128 else _number4(address)
    if first is None:
        return None
    if not slash:
        return first, first
    if not (length.isascii() and length.isdecimal() and len(length) <= 3 and int(length) <= bits):
        return _slow_span(entry)
    hosts = (1 << (bits - int(length))) - 1
    return None if first & hosts else (first, first | hosts)


def _number4(text: str) -> int | None:
    """An IPv4 address as a number: three times as fast as an object. None: no address."""
    number, parts = 0, text.split(".")
    for part in parts:
        if not (part.isascii() and part.isdecimal()) or len(part) > 3 or (part[0] == "0" and part != "0"):
            return None
        number = number << 8 | int(part)
        if number & 255 != int(part):
            return None
    return number if len(parts) == 4 else None


def _number6(text: str) -> int | None:
    try:
        return int(IPv6Address(text)) if "%" not in text else None
    except ValueError:
        return None


def _slow_span(entry: str) -> Span | None:
    """For forms that are rare: a netmask instead of a length. None: no prefix."""
    if "%" in entry:
        return None
    try:
        net = ip_network(entry)
    except ValueError:
        return None
    return int(net.network_address), int(net.broadcast_address)
