"""The prover against z3 on random larger policies (``z3_oracle`` is the long run)."""

from collections import Counter

from tests.gate.proof.z3_oracle import check_one

POLICIES = 3


def test_the_prover_agrees_with_z3() -> None:
    seen: Counter[str] = Counter()
    for seed in range(10_000_000, 10_000_000 + POLICIES):
        assert check_one(seed, seen, {"algebra": [], "z3": []}) is None
    assert sum(seen.values()) == 3 * POLICIES
