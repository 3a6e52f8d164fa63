"""docs/reference/api.md: the routes of the control API and the types of its bodies, from ``upnp_gw.api``."""

import json
from typing import Any

from upnp_gw import api
from upnp_gw.cli.field_notes import classes_of, notes_of
from upnp_gw.cli.schema import document

Json = dict[str, Any]

HEAD = """# Control API: routes and types

[The control API](../control-api.md) says how to reach it. [api.json](../api.json) is the same as OpenAPI, and
`upnp-gw api-schema` prints that. This page is made by `python -m tests.docs.references`.

Times are RFC 3339 in UTC, durations whole seconds. Names of fields end with their unit: `_s` is seconds.
An answer that is not 2xx has a [Problem](#problem) as its body.

## Routes

"""
TYPES = """## Types

A field with a default may be left out of a request.

"""


def page() -> str:
    """The page in Markdown."""
    schema = document()
    notes = _notes()
    routes = [_route(path, method, made) for path, ways in schema["paths"].items() for method, made in ways.items()]
    types = [_type(name, made, notes.get(name, {})) for name, made in schema["components"]["schemas"].items()]
    return HEAD + "\n".join(routes) + "\n" + TYPES + "\n".join(types)


def _notes() -> dict[str, dict[str, str]]:
    """Type -> field -> the note below it."""
    kinds = [
        kind
        for route in api.ROUTES.values()
        for kind in (route.answer, route.body, route.query, api.Problem)
        if kind is not None
    ]
    return {each.__name__: _notes_with_bases(each) for kind in kinds for each in classes_of(kind)}


def _notes_with_bases(kind: type) -> dict[str, str]:
    notes: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if each.__module__.startswith("upnp_gw."):
            notes |= notes_of(each)
    return notes


def _route(path: str, method: str, made: Json) -> str:
    lines = [f"### {method.upper()} {path}", "", f"{made['summary']}."]
    query = [each for each in made.get("parameters", []) if each["in"] == "query"]
    if "requestBody" in made:
        lines.append(f"Body: {_content(made['requestBody'])}.")
    lines[-1] += f" Answer: {_content(made['responses']['200'])}" + _streamed(made) + "."
    if query:
        kind = api.ROUTES[made["operationId"]].query
        notes = notes_of(kind) if kind is not None else {}
        rows = [_row(each["name"], each["schema"], notes.get(each["name"], ""), True) for each in query]
        lines += ["", "| query | type | default | meaning |", "| --- | --- | --- | --- |", *rows]
    return "\n".join(lines) + "\n"


def _streamed(made: Json) -> str:
    content = made["responses"]["200"]["content"]
    return ", one a line, or server-sent events" if "text/event-stream" in content else ""


def _content(described: Json) -> str:
    return _shown(next(iter(described["content"].values()))["schema"])


def _type(name: str, made: Json, notes: dict[str, str]) -> str:
    lines = [f"### {name}", ""]
    if about := " ".join(made.get("description", "").split()):
        lines += [f"{_prose(about)}", ""]
    if "enum" in made:
        return "\n".join([*lines, f"One of {_words(made['enum'])}.", ""])
    required = set(made.get("required", ()))
    rows = [
        _row(field, value, notes.get(field, ""), field not in required)
        for field, value in made["properties"].items()
    ]
    return "\n".join([*lines, "| field | type | default | meaning |", "| --- | --- | --- | --- |", *rows, ""])


def _row(name: str, schema: Json, note: str, optional: bool) -> str:
    default = f"`{json.dumps(schema.get('default'))}`" if optional else ""
    cells = [f"`{name}`", _shown(schema), default, _prose(note)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |".replace("  ", " ")


def _shown(schema: Json) -> str:
    """A type in words: ``integer, 1 to 65535``, ``list of [Via](#via)``."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_shown(each) for each in schema["anyOf"])
    if "enum" in schema:
        return _words(schema["enum"])
    kind = str(schema.get("type", "any JSON"))
    if kind == "array":
        return f"list of {_shown(schema['items'])}" if schema.get("items") else "list"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_shown(schema['additionalProperties'])}"
    return kind + _range(schema)


def _range(schema: Json) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f", {least} to {most}"
    if least is not None:
        return f", at least {least}"
    return f", as `{schema['pattern']}`" if "pattern" in schema else ""


def _words(values: list[object]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _prose(text: str) -> str:
    """A note of the source: its double backticks are single ones in Markdown."""
    return text.replace("``", "`").replace("<", "\\<")
