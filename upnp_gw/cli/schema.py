"""``api-schema``: the control API as an OpenAPI 3.1 document, from the same table that serves it."""

import json
import re
from inspect import cleandoc
from typing import Any

import click
import msgspec

from upnp_gw import api

Json = dict[str, Any]


class Components:
    """The schemas of the types that were asked for, and of those that they name."""

    def __init__(self) -> None:
        self.schemas: Json = {}

    def of(self, kind: object) -> Json:
        """The schema of a type, Structs in it by reference."""
        (schema,), found = msgspec.json.schema_components([kind], ref_template="#/components/schemas/{name}")
        for each in found.values():
            if "description" in each:  # Python 3.13 removes the indent of a docstring, older versions keep it
                each["description"] = cleandoc(each["description"])
        self.schemas.update(found)
        return schema


def document() -> Json:
    """The document as it stands in docs/api.json."""
    components = Components()
    paths: dict[str, Json] = {}
    for operation, route in api.ROUTES.items():
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(operation, route, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "upnp-gw control API",
            "version": "1",
            "description": "HTTP over the unix socket control.sock in the runtime directory. Who may open that file"
            " is the operator: there is no other lock. Times are RFC 3339 in UTC, durations whole seconds.",
        },
        "paths": paths,
        "components": {"schemas": dict(sorted(components.schemas.items()))},
    }


def _operation(operation: str, route: api.Route, components: Components) -> Json:
    described: Json = {"operationId": operation, "summary": route.summary}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    if route.query is not None:
        components.of(route.query)
        fields = components.schemas.pop(route.query.__name__)["properties"]
        parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in fields.items()]
    if parameters:
        described["parameters"] = parameters
    if route.body is not None:
        described["requestBody"] = {"required": True, "content": _content(route.body, components)}
    media = "application/x-ndjson" if route.stream else "application/json"
    described["responses"] = {
        "200": {
            "description": "One line for each event" if route.stream else "Done",
            "content": _content(route.answer, components, media),
        },
        "default": {"description": "Why not", "content": _content(api.Problem, components)},
    }
    return described


def _content(kind: object, components: Components, media: str = "application/json") -> Json:
    return {media: {"schema": components.of(kind)}}


@click.command("api-schema")
def api_schema() -> None:
    """The control API as an OpenAPI document; docs/api.json is made by this."""
    click.echo(json.dumps(document(), indent=2))
