"""``api-schema``: the control API, or that of the emulator, as an OpenAPI 3.1 document, made from their routes."""

import json
import re
from collections.abc import Mapping
from inspect import cleandoc
from typing import Any

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli.field_notes import describe

Json = dict[str, Any]

LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The id of the last event that the reader knows: the stream then also has the events since. If"
    " they are not known any more, hello says so.",
    "schema": {"type": "string"},
}


class Components:
    """The schemas of all types that the document uses. ``notes``: with a description of each field."""

    def __init__(self, notes: bool) -> None:
        self.schemas: Json = {}
        self._notes = notes

    def schema_of(self, kind: object) -> Json:
        """The schema of a type; it refers to Structs by name."""
        (schema,), named = msgspec.json.schema_components([kind], ref_template="#/components/schemas/{name}")
        for each in named.values():
            if "description" in each:  # Python 3.13 removes the indent of a docstring, older versions keep it
                each["description"] = cleandoc(each["description"])
        self.schemas.update(named)
        if self._notes:
            describe(self.schemas, kind)
        return schema


def document() -> Json:
    """The document of docs/api.json."""
    description = (
        "HTTP over the Unix socket control.sock in the runtime directory. A user who may open it is the operator:"
        " nothing else is checked. Times are RFC 3339 in UTC, durations whole seconds."
    )
    return _document("upnp-gw control API", description, api.ROUTES, api.Problem)


def emulator_document() -> Json:
    """The document of docs/emulate-api.json."""
    from upnp_gw.testing.api.bodies import Problem
    from upnp_gw.testing.api.routes import ROUTES

    description = (
        "HTTP on the loopback, at the control URL that upnp-gw emulate prints. Host must be 127.0.0.1 or localhost"
        " with its port, and requests of web pages are refused. Bytes are base64. Seconds are those of the"
        " emulator's own clock. A body whose fields are all optional can be left out."
    )
    made = _document("upnp-gw emulate", description, ROUTES, Problem, notes=True)
    port = {"default": "5080", "description": "That of the control URL"}
    for operation in (operation for path in made["paths"].values() for operation in path.values()):
        if "requestBody" in operation:
            name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            operation["requestBody"]["required"] = bool(made["components"]["schemas"][name]["required"])
    return {**made, "servers": [{"url": "http://127.0.0.1:{port}", "variables": {"port": port}}]}


def _document(
    title: str, description: str, routes: Mapping[str, api.Route], problem: type, notes: bool = False
) -> Json:
    components = Components(notes)
    paths: dict[str, Json] = {}
    for operation, route in routes.items():
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(operation, route, problem, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1", "description": description},
        "paths": paths,
        "components": {"schemas": dict(sorted(components.schemas.items()))},
    }


def _operation(operation: str, route: api.Route, problem: type, components: Components) -> Json:
    operation_object: Json = {"operationId": operation, "summary": route.summary}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    if route.query is not None:
        components.schema_of(route.query)
        fields = components.schemas.pop(route.query.__name__)["properties"]
        parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in fields.items()]
    if parameters:
        operation_object["parameters"] = parameters
    if route.body is not None:
        operation_object["requestBody"] = {"required": True, "content": _content(route.body, components)}
    answer = _content(route.answer, components) if not route.media else _file(route.media)
    if route.stream:
        operation_object["parameters"] = [LAST_EVENT_ID]
        # a line of JSON for each event; with Accept: text/event-stream the same as data of a server-sent event
        answer = {media: next(iter(answer.values())) for media in ("application/x-ndjson", "text/event-stream")}
    operation_object["responses"] = {
        "200": {
            "description": "One line, or one server-sent event, for each event" if route.stream else "Done",
            "content": answer,
        },
        "default": {
            "description": "The reason of a refusal or an error",
            "content": _content(problem, components),
        },
    }
    return operation_object


def _file(media: str) -> Json:
    return {media: {"schema": {"type": "string", "format": "binary"}}}


def _content(kind: object, components: Components) -> Json:
    return {"application/json": {"schema": components.schema_of(kind)}}


@click.command("api-schema")
@click.option("--emulator", is_flag=True, help="That of `upnp-gw emulate` (docs/emulate-api.json).")
def api_schema(emulator: bool) -> None:
    """Print the control API as an OpenAPI document (docs/api.json)."""
    click.echo(json.dumps(emulator_document() if emulator else document(), indent=2))
