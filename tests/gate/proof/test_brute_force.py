"""The prover against ``decide`` on every request of small universes (``brute_force`` is the long run)."""

from collections import Counter

from tests.gate.proof.brute_force import check_one

POLICIES = 150
"""About two seconds. The long run is of 100,000."""


def test_the_prover_agrees_with_decide() -> None:
    seen: Counter[str] = Counter()
    for seed in range(10_000_000, 10_000_000 + POLICIES):
        seen += check_one(seed)
    assert seen["requests"] > 50 * POLICIES
    assert all(
        seen[f"{kind} {standing}"] > POLICIES / 5
        for kind in ("never", "always")
        for standing in ("holds", "violated")
    )
