"""Templates (jinja2, everything escaped) and the catalogue of texts."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from typing import Any

import jinja2

from upnp_gw.text.escape import shown

PACKAGE = "upnp_gw.page"
LANGUAGE = "en"
LONGEST_LINE = 2000


class Texts:
    """The texts of one language, by key: ``texts("overview.title")``. A missing key raises KeyError."""

    def __init__(self, language: str = LANGUAGE) -> None:
        source = files(PACKAGE).joinpath("texts", f"{language}.toml").read_bytes().decode("utf-8")
        self.by_key = dict(_flat(tomllib.loads(source), ""))

    def __call__(self, key: str, **values: object) -> str:
        """The text with its values. It has no markup: the template escapes it."""
        text = self.by_key[key]
        return text.format(**values) if values else text

    def count(self, key: str, number: int, **values: object) -> str:
        """The text for this number: ``key.one`` or ``key.other``."""
        return self.by_key[f"{key}.{'one' if number == 1 else 'other'}"].format(n=f"{number:,}", **values)


def _flat(table: Mapping[str, Any], before: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in table.items():
        if isinstance(value, dict):
            found += _flat(value, f"{before}{name}.")
        else:
            found.append((before + name, value))
    return found


def environment(
    texts: Texts, filters: Mapping[str, Callable[..., Any]], static: Mapping[str, str]
) -> jinja2.Environment:
    """The templates of the package. A name that a template does not have is an error. ``static``: file -> URL."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(PACKAGE, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {"t": texts, "static": static, "toml_lines": toml_lines}
    made.filters |= filters
    # a live part is rendered without the rest of its template, where an import would be
    made.globals["m"] = made.get_template("macros.html").module
    return made


_TABLE = re.compile(r"\s*\[")
_KEY = re.compile(r"(\s*[\w.\"'-]+\s*)=(.*)", re.DOTALL)


def toml_lines(text: str) -> Iterator[tuple[str, str, str]]:
    """(kind, key, rest) of each line, to colour it: kind is comment, table, key or plain. The rest has the "="."""
    for raw in text.rstrip("\n").split("\n"):
        line = shown(raw, LONGEST_LINE) if not (raw.isascii() and raw.isprintable()) else raw[:LONGEST_LINE]
        if line.lstrip().startswith("#"):
            yield "comment", "", line
        elif _TABLE.match(line):
            yield "table", "", line
        elif (found := _KEY.fullmatch(line)) is not None:
            yield "key", found[1], f"={found[2]}"
        else:
            yield "plain", "", line
