"""Bodies and queries of requests to an API: JSON and text to the types of its routes."""

from typing import TypeVar

import msgspec

from upnp_gw.api.problems import CONTROL, Vocabulary, problem_of
from upnp_gw.api.values import FieldError

T = TypeVar("T")


def read_body(data: bytes, kind: type[T], words: Vocabulary = CONTROL) -> T:
    """The body of an operation. Raises FieldError, and msgspec.DecodeError if it is not JSON."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        problem = error
    except UnicodeDecodeError:
        raise msgspec.DecodeError("a string is not UTF-8") from None
    try:
        given = msgspec.json.decode(data)
    except (UnicodeDecodeError, RecursionError):  # after the first error
        raise msgspec.DecodeError("a string is not UTF-8, or the body is nested too deeply") from None
    raise FieldError(*problem_of(problem, kind, given, words))


def read_query(query: dict[str, str], kind: type[T], words: Vocabulary = CONTROL) -> T:
    """The query of an operation. Raises FieldError."""
    try:
        return msgspec.convert(query, kind, strict=False)
    except msgspec.ValidationError as error:
        raise FieldError(*problem_of(error, kind, query, words)) from None
