"""The fuzzer's targets in each run: every seed, and random damage to the seeds."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import CORPUS, TARGETS, seeds

every_target = pytest.mark.parametrize("name", TARGETS)


@every_target
def test_every_seed(name: str) -> None:
    assert len(seeds(name)) >= 3
    for seed in seeds(name):
        TARGETS[name](seed)


def test_every_corpus_has_its_target_and_is_small() -> None:
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()
    assert sum(path.stat().st_size for path in CORPUS.rglob("*")) < 512 * 1024


def damaged(seed: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, cut out, put in or repeated."""
    data = bytearray(seed)
    for _ in range(chance.randrange(1, 5)):
        at, length = chance.randrange(len(data) + 1), chance.randrange(1, 9)
        match chance.randrange(4):
            case 0:
                data[at : at + length] = chance.randbytes(length)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = chance.choice(TOKENS)
            case _:
                data[at:at] = data[at : at + 32 * length]
    return bytes(data)


TOKENS = (
    *(b"\0", b"\xff\xff", b"\r\n\r\n", b"<!DOCTYPE", b"&#0;", b"[[", b'"""', b"-1", b"99999999999999999999"),
    *(b"1e999", b"\xc2\xa0", "\u202e\u0665".encode(), b"%", b"[", b"]", b"{", b"}", b",", b"\x7f\xff\xff\xff"),
)


@every_target
@given(st.integers(0), st.randoms(use_true_random=False))
def test_any_damage_to_a_seed_is_a_message_or_its_named_error(name: str, which: int, chance: random.Random) -> None:
    of_name = seeds(name)
    TARGETS[name](damaged(of_name[which % len(of_name)], chance))


@every_target
@given(st.binary(max_size=600))
def test_any_bytes_are_a_message_or_its_named_error(name: str, data: bytes) -> None:
    TARGETS[name](data)
