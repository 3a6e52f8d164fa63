"""The machine-owned file: the ends of its rules, and names that are free."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.gate.managed_file import (
    ended,
    free_name,
    toml_time,
    without_rules,
)

WALL = 1_800_000_000.0


@pytest.mark.parametrize(
    "raw",
    [
        {"grant": 5},
        {"grant": ["x"]},
        {"grant": [{"until": "soon"}]},
        {"grant": [{"name": [], "until": toml_time(WALL)}]},
        {"forbid": {}},
    ],
)
def test_a_file_of_any_shape_has_no_ends(raw: dict[str, object]) -> None:
    assert ended(raw, WALL) == frozenset()
    assert isinstance(without_rules(raw, {"x"}), dict)


@given(st.text(max_size=60), st.sets(st.text(max_size=45), max_size=5))
def test_a_free_name_is_a_name_and_free(expected: str, taken: set[str]) -> None:
    first = free_name(expected, taken)
    second = free_name(expected, taken | {first})
    assert first not in taken
    assert second not in {first, *taken}
    for name in (first, second):
        assert 1 <= len(name) <= 40
        assert name.isascii()
        assert name[0].isalnum()
