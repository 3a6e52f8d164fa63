"""The notes below the fields of a class, as descriptions of a schema. They are read from the source."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

import msgspec


def classes_of(kind: object) -> Iterator[type]:
    """The Structs and dataclasses in a type, and in their fields. One can come twice."""
    if isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or is_dataclass(kind)):
        yield kind
        for hint in get_type_hints(kind).values():
            yield from classes_of(hint)
    for part in get_args(kind):
        yield from classes_of(part)


@cache
def notes_of(kind: type) -> dict[str, str]:
    """Field -> the text below it, in one line."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, note in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(note, ast.Expr):
            value = note.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[field.target.id] = " ".join(value.value.split())
    return found


def describe(schemas: dict[str, Any], kind: object) -> None:
    """Adds the notes to the schemas of the classes in a type."""
    for each in classes_of(kind):
        properties = schemas.get(each.__name__, {}).get("properties", {})
        for name, note in notes_of(each).items():
            if name in properties:
                properties[name]["description"] = note
