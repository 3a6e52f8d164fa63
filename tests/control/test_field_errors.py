"""Every mistake in a body or a query of the API is reported in plain words: field, value, accepted values."""

import json
import typing
from collections.abc import Iterator

import msgspec
import pytest

from tests.fixtures.plain_words import raw_words
from upnp_gw import api
from upnp_gw.api.problems import ACCEPTED
from upnp_gw.api.reading import read_body, read_query

WRONG: tuple[object, ...] = (
    None,
    True,
    0,
    -1,
    10**12,
    1.5,
    "",
    "x y",
    "soon",
    [],
    [None],
    [{}],
    [[]],
    {},
    {"a": 1},
)
BODIES = sorted({route.body for route in api.ROUTES.values() if route.body}, key=lambda kind: kind.__name__)
QUERIES = sorted({route.query for route in api.ROUTES.values() if route.query}, key=lambda kind: kind.__name__)
VALID: dict[type, dict[str, object]] = {
    api.AddMapping: {"transport": "tcp", "external_port": 8080, "internal_client": "192.168.1.23"},
    api.NameDevice: {"name": "ps5"},
    api.Trial: {"transport": "tcp", "internal_port": 8080, "device": "ps5"},
}


def fields(kind: type) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def error_of(read: typing.Callable[[], object]) -> Iterator[api.FieldError]:
    try:
        read()
    except api.FieldError as error:
        yield error


def judge(error: api.FieldError, field: str | None) -> None:
    message = str(error)
    assert raw_words(message) == [], message
    assert message.isprintable()
    assert "accepted: " in message, message
    assert error.field is None or field is None or error.field.startswith(field) or error.field in ACCEPTED, message


def test_every_field_is_known() -> None:
    kinds = [*BODIES, *QUERIES, api.Listener, api.ForeignLease]
    assert {name for kind in kinds for name in fields(kind)} == set(ACCEPTED)


@pytest.mark.parametrize("kind", BODIES)
def test_every_field_of_a_body_with_every_wrong_value(kind: type) -> None:
    refused = 0
    sound = VALID.get(kind, {})
    for field in fields(kind):
        for value in WRONG:
            data = json.dumps({**sound, field: value}).encode()
            for error in error_of(lambda: read_body(data, kind)):  # noqa: B023 - it is read at once
                judge(error, field)
                refused += 1
    wholes: tuple[object, ...] = (None, 3, "x", [], {"a": 1})
    for whole in wholes:
        for error in error_of(lambda: read_body(json.dumps(whole).encode(), kind)):  # noqa: B023
            judge(error, None)
            refused += 1
    assert refused >= 5 * len(fields(kind))


@pytest.mark.parametrize("kind", QUERIES)
def test_every_field_of_a_query_with_every_wrong_value(kind: type) -> None:
    refused = 0
    for field in (*fields(kind), "of_another_page"):
        for value in ("", "-1", "1.5", "x y", "soon", "true", "[]"):
            for error in error_of(lambda: read_query({field: value}, kind)):  # noqa: B023 - it is read at once
                judge(error, field)
                refused += 1
    assert refused >= 7


def test_an_error_in_a_list_names_its_index() -> None:
    data = (
        b'{"listeners": [{"transport": "tcp", "port": 80}, {"transport": "tcp", "port": 0}], "host": "192.168.1.2"}'
    )
    (error,) = error_of(lambda: read_body(data, api.AskSuggestion))
    assert (error.field, str(error)) == ("listeners[1].port", "got 0; accepted: a port 1 to 65535, such as 8080")


def test_an_unknown_field_in_a_list_names_those_of_its_elements() -> None:
    (error,) = error_of(lambda: read_body(b'{"leases": [{"port": 80}]}', api.TakeOver))
    assert error.field == "leases[0].port"
    assert str(error) == f"unknown; accepted: {', '.join(fields(api.ForeignLease))}"


@pytest.mark.parametrize("behind", [b'"\xff"}', b"[" * 15_000, b"1"])
def test_a_body_that_is_damaged_behind_its_mistake_is_no_json(behind: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_body(b'{"transport": 3, "x": ' + behind, api.AddMapping)
