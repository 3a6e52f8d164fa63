"""A flood of one device is one decision with a count."""

from tests.store.test_store import record
from upnp_gw.engine.refusal_counter import MOST, WINDOW_S, RefusalCounter, Undo
from upnp_gw.model.mapping import Instant


def at(seconds: float) -> Instant:
    return Instant(1000.0 + seconds, 1_800_000_000.0 + seconds)


def test_a_minute_of_refusals_is_one_record() -> None:
    refusal_counter = RefusalCounter()
    assert refusal_counter.again("pc", at(0), []) is None
    refusal_counter.begin(record(7, device="pc"), at(0), [])
    assert [refusal_counter.again("pc", at(n), []) for n in range(1, 57)] == ["d7"] * 56
    assert refusal_counter.over(at(WINDOW_S - 1), []) == []
    (counted,) = refusal_counter.over(at(WINDOW_S), [])
    assert (counted.id, counted.count) == ("d7", 57)
    assert refusal_counter.again("pc", at(WINDOW_S), []) is None


def test_the_next_minute_is_another_one_and_nothing_is_lost() -> None:
    refusal_counter = RefusalCounter()
    refusal_counter.begin(record(7, device="pc"), at(0), [])
    refusal_counter.again("pc", at(1), [])
    assert refusal_counter.again("pc", at(WINDOW_S), []) is None
    refusal_counter.begin(record(8, device="pc"), at(WINDOW_S), [])
    assert [(counted.id, counted.count) for counted in refusal_counter.over(at(WINDOW_S), [])] == [("d7", 2)]
    assert refusal_counter.over(None, []) == [], "a single refusal is written down already"


def test_devices_are_apart_and_their_number_is_bounded() -> None:
    refusal_counter = RefusalCounter()
    for number in range(MOST + 1):
        refusal_counter.begin(record(number + 1, device=f"device{number}"), at(0), [])
        refusal_counter.again(f"device{number}", at(0), [])
    assert [counted.device for counted in refusal_counter.over(at(1), [])] == ["device0"]
    assert len(refusal_counter.over(None, [])) == MOST


def test_an_undone_count_is_counted_again() -> None:
    refusal_counter = RefusalCounter()
    undo: Undo = []
    refusal_counter.begin(record(7, device="pc"), at(0), undo)
    refusal_counter.again("pc", at(1), undo)
    take_back(undo)
    assert refusal_counter.again("pc", at(1), undo) is None, "the record was not written"
    refusal_counter.begin(record(8, device="pc"), at(2), [])
    refusal_counter.again("pc", at(3), undo)
    refusal_counter.again("pc", at(3), [])
    take_back(undo)
    (counted,) = refusal_counter.over(at(2 + WINDOW_S), undo)
    assert (counted.id, counted.count) == ("d8", 2)
    take_back(undo)
    refusal_counter.begin(record(9, device="pc"), at(2 + WINDOW_S), undo)
    take_back(undo)
    assert [(counted.id, counted.count) for counted in refusal_counter.over(at(2 + WINDOW_S), [])] == [("d8", 2)]
    assert not refusal_counter


def take_back(undo: Undo) -> None:
    """As a turn does it: newest first, once."""
    for call in reversed(undo):
        call()
    undo.clear()
