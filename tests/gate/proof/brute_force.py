"""Compares the prover with ``decide`` on every request of small universes.

``python -m tests.gate.proof.brute_force --policies 100000`` is the long run; CI makes a short one.
"""

import argparse
import sys
import time
from collections import Counter
from dataclasses import replace
from random import Random

from tests.gate.proof.plain_reading import observed, shows, violates
from tests.gate.proof.small_policies import built, invariant_tables, policy_tables, universe
from upnp_gw.gate.decide import decide
from upnp_gw.gate.index import with_indexes
from upnp_gw.gate.invariant import InvariantKind
from upnp_gw.gate.proof.prove import Proof, Prover, Standing
from upnp_gw.gate.read_invariants import read_invariant
from upnp_gw.gate.rules import PolicyRules
from upnp_gw.gate.schema import Mode, Policy
from upnp_gw.gate.values import KeyPath

NEVERS, ALWAYS = 2, 1


class Mismatch(Exception):
    """The prover and ``decide`` disagree."""


def check_one(seed: int) -> Counter[str]:
    """One random policy with invariants and its universe. Raises Mismatch. Returns what was seen."""
    random = Random(seed)
    tables = policy_tables(random)
    policy = with_indexes(built(tables))
    rules = PolicyRules(policy.devices, policy.groups, policy.zones, policy.sets, "random")
    kinds = [InvariantKind.NEVER] * NEVERS + [InvariantKind.ALWAYS] * ALWAYS
    raw = [invariant_tables(random, tables, kind.value) for kind in kinds]
    invariants = [
        read_invariant(table, kind, rules, KeyPath("random")) for table, kind in zip(raw, kinds, strict=True)
    ]
    prover = Prover(policy, invariants)
    seen: Counter[str] = Counter()
    proofs = list(prover.proofs())
    for proof, table in zip(proofs, raw, strict=True):
        seen[f"{proof.invariant.kind} {proof.standing}"] += 1
        check_witness(policy, proof, f"seed {seed}: {table}")
    enforced = replace(policy, mode=Mode.ENFORCE)
    proved = [(one, table) for one, table in zip(proofs, raw, strict=True) if one.standing is Standing.HOLDS]
    for facts, request in universe(random, tables["device"]) if proved else ():
        seen["requests"] += 1
        for proof, table in proved:
            if violates(enforced, proof.invariant, facts, request):
                raise Mismatch(f"seed {seed}: {table} is said to hold; it does not for {facts} {request}")
    return seen


def check_witness(policy: Policy, proof: Proof, place: str) -> None:
    """The witness is a request as ``decide`` sees it. Raises Mismatch."""
    witness = proof.witness
    if proof.standing is Standing.UNKNOWN:
        raise Mismatch(f"{place}: a violation without a witness, or too many steps")
    if proof.standing is Standing.HOLDS:
        if witness is not None and not observed(policy, proof.invariant, witness.facts, witness.request):
            raise Mismatch(f"{place}: not observed: {witness}")
        return
    enforced = replace(policy, mode=Mode.ENFORCE)
    if witness is None or not shows(enforced, proof.invariant, witness.facts, witness.request):
        raise Mismatch(f"{place}: the witness is none: {witness}")
    verdict = decide(enforced, witness.facts, witness.request)
    nobody = "default" if proof.invariant.kind is InvariantKind.NEVER else ""
    if verdict != witness.verdict or (verdict.rule or nobody) != proof.rule:
        raise Mismatch(f"{place}: decided otherwise than shown: {verdict}: {witness}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first policy")
    arguments = parser.parse_args()
    seen: Counter[str] = Counter()
    started, wrong = time.monotonic(), 0
    for seed in range(arguments.seed, arguments.seed + arguments.policies):
        try:
            seen += check_one(seed)
        except Mismatch as error:
            wrong += 1
            print(error, file=sys.stderr)
            if wrong >= 5:
                break
    seconds = time.monotonic() - started
    print(
        f"{arguments.policies} policies in {seconds:.0f} s, {wrong} mismatches; "
        + ", ".join(f"{key}: {count}" for key, count in sorted(seen.items()))
    )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
