"""Every key of the configuration as a reference: accepted values, default, meaning. Manual and site are made of it.

Meanings are the comments of examples/config/every-key.toml, defaults the fields of ``Config``, accepted values the
messages of the parsers.
"""

import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from functools import cache
from pathlib import Path

from upnp_gw.config.file import KEYS, NOTIFY, Key
from upnp_gw.config.notify_tables import NotifyTarget
from upnp_gw.config.settings import Config
from upnp_gw.config.values import InvalidValue
from upnp_gw.model.mapping import Endpoint
from upnp_gw.system.shipped_files import shipped_text
from upnp_gw.text.toml import as_toml

EVERY_KEY = "config/every-key.toml"
TABLE = re.compile(r"\[\[?(\w+)\]\]?\s*(?:# (.*))?")
KEY = re.compile(r"(\w+) = .*?\s# (.*)")
ALSO = re.compile(r"(?:^|; )also: --[^.;]*")
"""An option in a comment: the reference names it apart."""
VALUE = re.compile(r"[\w-]+:|upnp-gw|/")
CONTINUED = re.compile(r"\s+# (.*)")
SEVERAL = {"lan", "notify"}
"""Tables that a file may have several times: ``[[lan]]``."""


@dataclass(frozen=True, slots=True)
class KeyReference:
    """One key of a table."""

    name: str
    accepted: str
    """In words, for example ``whole seconds, 1800 to 86400``."""
    default: str
    """As TOML; empty: the meaning says what is done without the key, or it must be there."""
    example: str
    """An accepted value, as TOML."""
    option: str
    """The option of ``upnp-gw run`` that overrides it, or nothing."""
    meaning: str
    """One or more sentences."""


@dataclass(frozen=True, slots=True)
class TableReference:
    """One table of the file."""

    name: str
    meaning: str
    """May be empty."""
    several: bool
    """True if the file may have it several times."""
    keys: tuple[KeyReference, ...]


def configuration_reference() -> tuple[TableReference, ...]:
    """Every table with its keys, in the order of the program. Raises OSError if the example file is missing."""
    tables, meanings = comments(shipped_text(EVERY_KEY))
    return tuple(
        TableReference(
            name,
            _sentence(tables.get(name, "")),
            name in SEVERAL,
            tuple(_key(name, key, entry, meanings.get((name, key), "")) for key, entry in keys.items()),
        )
        for name, keys in {**KEYS, "notify": NOTIFY}.items()
    )


def comments(text: str) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """The comments of a configuration: table -> its comment, (table, key) -> its comment. The first one counts."""
    tables: dict[str, str] = {}
    keys: dict[tuple[str, str], str] = {}
    table, place = "", None
    for line in text.splitlines():
        if found := TABLE.fullmatch(line):
            table, place = found[1], None
            if found[2]:
                tables.setdefault(table, found[2])
        elif found := KEY.fullmatch(line):
            place = (table, found[1]) if (table, found[1]) not in keys else None
            if place is not None:
                keys[place] = found[2]
        elif (found := CONTINUED.fullmatch(line)) and place is not None:
            keys[place] += " " + found[1]
        else:
            place = None
    return tables, {place: ALSO.sub("", text) for place, text in keys.items()}


def _key(table: str, name: str, key: Key, meaning: str) -> KeyReference:
    default = _defaults()[table == "notify"].get(key.field, "")
    return KeyReference(name, _accepted(key), default, key.example, key.option, _sentence(meaning))


def _sentence(comment: str) -> str:
    """A comment as a sentence. One that begins with a value (``true: ...``) keeps its first letter."""
    if not comment:
        return ""
    begins = comment if VALUE.match(comment) else comment[0].upper() + comment[1:]
    return begins if begins.endswith(".") else f"{begins}."


def _accepted(key: Key) -> str:
    try:
        key.parse(object())
    except InvalidValue as error:
        words = str(error)
    else:
        raise TypeError(f"{key.field} accepts anything")
    if not words.startswith("one of "):
        return words
    first, _, last = words.removeprefix("one of ").rpartition(", ")
    return f"{first} or {last}"


@cache
def _defaults() -> tuple[dict[str, str], dict[str, str]]:
    """Field -> its default as TOML: of ``Config``, and of ``NotifyTarget``."""
    return dict(_of_class(Config)), dict(_of_class(NotifyTarget))


def _of_class(kind: type) -> Iterator[tuple[str, str]]:
    for field in fields(kind):
        if field.default is not MISSING and field.default not in (None, "", ()):
            yield field.name, _as_toml(field.default)


def _as_toml(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_as_toml, value)) + "]"
    if isinstance(value, Enum):
        return as_toml(value.value)
    return as_toml(str(value) if isinstance(value, Path | Endpoint) else value)
