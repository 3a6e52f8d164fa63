"""Checks the invariants of a policy file before it comes into force, and finds the place to change.

The prover is loaded only for a policy that has some: the daemon would need 0.6 MiB more.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from upnp_gw.gate.build import ManagedPolicy
from upnp_gw.gate.invariant import InvariantKind, named
from upnp_gw.gate.lint import Finding
from upnp_gw.gate.schema import Policy
from upnp_gw.model.errors import ConfigError

if TYPE_CHECKING:
    from upnp_gw.gate.proof.prove import Proof

EARLIEST = timedelta(hours=14)
"""A day begins so much earlier in some time zone."""


@dataclass(frozen=True, slots=True)
class Source:
    """The tables of one policy file, to find the place of a rule."""

    raw: Mapping[str, object]
    where: str


@dataclass(frozen=True, slots=True)
class InvariantResult:
    """The result for one invariant, and where to change the file if it does not hold."""

    proof: "Proof"
    error: ConfigError | None
    """Set where it does not hold, or is not known to."""
    crossed_by: str | None = None
    """The grant of approved.toml that violates a ``[[never]]``."""


class CrossedInvariant(ConfigError):
    """A policy violates an invariant. ``grant``: the grant of approved.toml that does, if one does."""

    def __init__(self, error: ConfigError, grant: str | None) -> None:
        super().__init__(error.where, error.key, error.problem, error.line, error.rule)
        self.grant = grant


def invariant_results(
    policy: Policy, file: Source, approved: ManagedPolicy | None, today: date
) -> Iterator[InvariantResult]:
    """The results for all invariants of a policy, in order. Those that must hold from ``today`` on."""
    if not policy.invariants:
        return
    from upnp_gw.gate.proof.prove import Prover

    sources = [file, *([Source(approved.raw, approved.where)] if approved is not None else [])]
    for proof in Prover(policy, policy.invariants, _since(today)).proofs():
        yield _result(proof, policy, sources)


def check_invariants(
    policy: Policy, file: Source, approved: ManagedPolicy | None, today: date
) -> tuple[Finding, ...]:
    """Warnings about invariants that hold only without observe mode. Raises CrossedInvariant for the first that
    does not hold."""
    findings = []
    for result in invariant_results(policy, file, approved, today):
        if result.error is not None:
            raise CrossedInvariant(result.error, result.crossed_by)
        if (finding := observe_finding(result.proof)) is not None:
            findings.append(finding)
    return tuple(findings)


def crossing_grants(
    policy: Policy, file: Source, approved: ManagedPolicy, today: date
) -> Iterator[tuple[str, Finding]]:
    """The grants of approved.toml that violate a ``[[never]]`` of the file: name, and the reason why it ends."""
    names = {str(table.get("name")) for table in grants_of(approved)}
    known = set[str]()
    for result in invariant_results(policy, file, approved, today):
        proof = result.proof
        if proof.invariant.kind is not InvariantKind.NEVER or result.error is None:
            continue
        for name in sorted((proof.passing & names) - known):
            known.add(name)
            told = result.error.problem if name == result.crossed_by else f"crosses {named(proof.invariant)}"
            yield name, Finding(f"grant {name}", f"has ended: it {told}")


def grants_of(approved: ManagedPolicy) -> list[Mapping[str, object]]:
    """The tables of its grants."""
    tables = approved.raw.get("grant")
    return [table for table in tables if isinstance(table, dict)] if isinstance(tables, list) else []


def observe_finding(proof: "Proof") -> Finding | None:
    """The warning about an invariant that observe mode breaks."""
    if not proof.observed or proof.witness is None:
        return None
    from upnp_gw.gate.proof.words import request_text

    text = f'does not hold while mode = "observe", which allows what no grant does: {request_text(proof.witness)}'
    return Finding(named(proof.invariant), text)


def _since(today: date) -> float | None:
    if today <= date(1970, 1, 2):
        return None
    return (datetime(today.year, today.month, today.day, tzinfo=UTC) - EARLIEST).timestamp()


def _result(proof: "Proof", policy: Policy, sources: Sequence[Source]) -> InvariantResult:
    from upnp_gw.gate.proof.prove import Standing
    from upnp_gw.gate.proof.words import answer_text, request_text

    invariant, witness = proof.invariant, proof.witness
    file = sources[0]
    if proof.standing is Standing.HOLDS:
        return InvariantResult(proof, None)
    if proof.standing is Standing.UNKNOWN or witness is None:
        problem = f"failed: wanted a proof; got unknown: {proof.problem}"
        return InvariantResult(proof, ConfigError(file.where, invariant.key, problem))
    never = invariant.kind is InvariantKind.NEVER
    wanted = "no such request" if never else "every such request allowed"
    problem = f"failed: wanted {wanted}; got {request_text(witness)}: {answer_text(witness, proof.rule)}"
    where, key = _place(proof.rule, sources)
    if where == file.where and not key:
        return InvariantResult(proof, ConfigError(file.where, invariant.key, problem))
    problem = f"crosses {named(invariant)}: {problem}"
    grant = proof.rule if never and where != file.where else None
    return InvariantResult(proof, ConfigError(where, key, problem), grant)


def _place(rule: str | None, sources: Sequence[Source]) -> tuple[str, str]:
    """(file, key) of the rule; an empty key if it is none of the files."""
    from upnp_gw.gate.proof.answers import DEFAULT_RULE

    if rule == DEFAULT_RULE:
        return sources[0].where, "default"
    for source in sources:
        for kind in ("grant", "forbid"):
            tables = source.raw.get(kind)
            for index, table in enumerate(tables if isinstance(tables, list) else ()):
                if isinstance(table, dict) and table.get("name") == rule:
                    return source.where, f"{kind}[{index}]"
    return sources[0].where, ""
