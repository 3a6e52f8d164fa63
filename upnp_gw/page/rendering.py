"""Templates (jinja2, everything escaped) and the catalogue of texts."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jinja2

PACKAGE = "upnp_gw.page"
LANGUAGE = "en"


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


def environment(texts: Texts) -> jinja2.Environment:
    """The templates of the package. A name that a template does not have is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(PACKAGE, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {"t": texts}
    return made
