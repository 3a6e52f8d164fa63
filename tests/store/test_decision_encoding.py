"""Any decision comes back unchanged from its two parts, and its repeated values are in the shared part."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.test_store import record
from upnp_gw.store.decision_encoding import OWN_FACTS, number_of, record_of, split

texts = st.text(max_size=40) | st.from_regex(r"[a-z]{0,3}[0-9]{1,12}[\t\n\"\\ #]{0,3}[0-9]?", fullmatch=True)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
records = st.fixed_dictionaries(
    {},
    optional={
        "at": st.floats(0, 4e9),
        "device": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        "description": st.text(st.characters(), max_size=40),
        "reasons": st.lists(texts, max_size=5).map(tuple),
        "rule": st.none() | st.just("None") | st.just("a rule 007"),
        "mapping": st.none() | st.sampled_from(["m1", "m07", "m", "x9", "m99999999999999999999"]),
        "facts": st.dictionaries(st.sampled_from(sorted(OWN_FACTS)) | texts, plain, max_size=6),
        "holder": st.none() | st.dictionaries(texts, texts, max_size=2),
        "remote_host": st.none() | texts,
        "lease_s": st.none() | st.integers(0, 2**40),
        "granted_s": st.none() | st.integers(0, 2**40),
        "external_port": st.none() | st.integers(0, 65535),
        "internal_port": st.none() | st.integers(0, 65535),
        "count": st.integers(1, 10**6),
        "unchanged": st.booleans(),
        "choice": st.none() | st.just("suggested"),
    },
)


@pytest.mark.spec("SR-20")
@given(records)
def test_every_record_comes_back(changes: dict[str, Any]) -> None:
    one = record(7, **changes)
    shared, own = split(one)
    read = record_of(7, one.at, own, shared)
    assert read == one
    assert list(read.facts) == list(one.facts), "in the same order"


def test_repeated_values_are_shared() -> None:
    def add(number: int, **changes: Any) -> Any:
        facts = {"mac": "02:00:00:00:00:01", "wall": 5.0 + number, "held": number, "held_by_grant": {"all": number}}
        reasons = ("floor ok", f"limits ok: device {number}/32", "granted by rule all")
        return record(
            number, facts=facts, reasons=reasons, mapping=f"m{number}", external_port=8000 + number, **changes
        )

    assert split(add(1))[0] == split(add(2))[0]
    assert split(add(1))[0] != split(add(2, device="other"))[0]
    assert len(split(add(1))[1][-1]) < 100


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("m17", 17),
        ("m0", 0),
        ("m017", None),
        ("m", None),
        ("d17", None),
        ("m1٧", None),
        ("m" + "9" * 19, None),
        (None, None),
    ],
)
def test_a_number_is_one_only_as_it_is_written(text: str | None, number: int | None) -> None:
    assert number_of(text, "m") == number
