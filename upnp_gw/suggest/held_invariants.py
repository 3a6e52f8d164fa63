"""The invariants of the operator's file that a suggested policy has to hold, and the proposals that break them."""

from collections.abc import Mapping
from datetime import date

from upnp_gw.gate.invariant import named
from upnp_gw.gate.invariant_checks import InvariantResult, Source, invariant_results
from upnp_gw.gate.schema import Policy
from upnp_gw.suggest.grants import ProposedGrant
from upnp_gw.suggest.needs import PortNeed


def broken(policy: Policy, where: str, today: date) -> list[InvariantResult]:
    """The invariants that the policy does not hold."""
    results = invariant_results(policy, Source({}, where), None, today)
    return [result for result in results if result.error is not None]


def crossing_needs(
    policy: Policy, where: str, grants: list[ProposedGrant], today: date
) -> list[tuple[PortNeed, str]]:
    """The needs whose grants cross a ``[[never]]``, and why they are left out: of a grant for several ports first
    the one of the witness."""
    proposals: Mapping[str, ProposedGrant] = {grant.name: grant for grant in grants}
    for result in broken(policy, where, today):
        proof = result.proof
        for name in sorted(proof.passing & proposals.keys()):
            needs = list(proposals[name].needs)
            request = proof.witness.request if proof.witness is not None and proof.rule == name else None
            if request is not None:
                port = request.internal.port
                needs = [one for one in needs if (one.transport, one.port) == (request.transport, port)] or needs
            return [(need, f"your {named(proof.invariant)} does not allow it") for need in needs]
    return []
