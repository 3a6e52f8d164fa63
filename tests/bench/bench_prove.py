"""Proofs of a large policy and of the home policy: ``python -m tests.bench.bench_prove``."""

import argparse
import cProfile
import pstats
import re
from random import Random
from statistics import median
from time import process_time

from tests.fixtures.policies import TODAY
from tests.gate.proof.large_policies import large_policy
from upnp_gw.gate.builtin import home_text
from upnp_gw.gate.load import load_text
from upnp_gw.gate.proof.differences import Differences
from upnp_gw.gate.proof.prove import Prover, Standing
from upnp_gw.gate.schema import Policy


def proof_s(policy: Policy) -> tuple[float, int]:
    """(seconds of processor time, invariants that hold)"""
    started = process_time()
    proofs = list(Prover(policy, policy.invariants).proofs())
    assert all(proof.standing is not Standing.UNKNOWN for proof in proofs)
    return process_time() - started, sum(proof.standing is Standing.HOLDS for proof in proofs)


def load_s(text: str) -> float:
    started = process_time()
    load_text(text, "home.toml", TODAY)
    return process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    policy = large_policy(Random(1))
    counts = f"{len(policy.devices)} devices, {len(policy.grants)} grants, {len(policy.forbids)} forbids"
    if arguments.profile:
        with cProfile.Profile() as profile:
            proof_s(policy)
        pstats.Stats(profile).sort_stats("cumulative").print_stats(25)
    seconds = [proof_s(policy) for _ in range(5)]
    held = seconds[0][1]
    print(f"{counts}, {len(policy.invariants)} invariants, {held} hold: {median(s for s, _ in seconds):.3f} s")
    started = process_time()
    assert list(Differences(policy, policy).all()) == []
    print(f"compared with itself: {process_time() - started:.3f} s")
    parts = re.split(r"(?=^\[)", home_text(), flags=re.M)
    bare = "".join(part for part in parts if not part.startswith("[[never"))
    texts = {"without invariants": bare, "as it is": home_text()}
    for name, text in texts.items():
        print(f"load of the home policy, {name}: {median(load_s(text) for _ in range(9)) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
