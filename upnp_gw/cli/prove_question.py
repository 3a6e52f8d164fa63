"""``policy prove``: one question about a policy, over all requests."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from upnp_gw.cli.client import REFUSED, DaemonClient
from upnp_gw.cli.policy_sources import exit_with_problem, policy_in_force, policy_of_file
from upnp_gw.cli.terminal import BAD, GOOD, paint, print_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.escape import shown

UNKNOWN = 2
"""Exit code: the file cannot be read, the question is not understood, or the answer is not known."""


def prove_question(
    daemon: DaemonClient,
    as_json: bool,
    words: Sequence[str],
    who: str | None,
    over: str | None,
    options: Mapping[str, str | None],
) -> int:
    """Answers the question, prints the answer, and returns the exit code. ``words``: file and question;
    ``options``: keys of ``request`` of a ``[[never]]``."""
    from upnp_gw.gate.proof.prove import Prover, Standing
    from upnp_gw.gate.proof.question import asked, in_words, ports
    from upnp_gw.gate.proof.question import who as who_is
    from upnp_gw.gate.proof.words import answer_text, proof_values, request_text

    asked_in_words = bool(words) and words[-1].lower().startswith("can ")
    files, question = (words[:-1], words[-1]) if asked_in_words else (words, None)
    if len(files) > 1:
        raise click.UsageError('accepted: one FILE, and one question in quotes such as "can guest open tcp 8443"')
    try:
        policy = policy_of_file(Path(files[0])) if files else policy_in_force(daemon)
        sender, request = in_words(question, policy) if question is not None else ({}, {})
        sender |= (who_is(who, policy) if who else {}) | ({"via": over} if over else {})
        request |= {
            key: ports(value) if key in ("int", "ext") else value for key, value in options.items() if value
        }
        invariant = asked((sender, request), policy)
    except ConfigError as error:
        exit_with_problem(error, as_json, UNKNOWN)
    proof = Prover(policy, [invariant], datetime.now(UTC).timestamp()).proof(invariant)
    witness = proof.witness
    standing = Standing.VIOLATED if proof.observed else proof.standing
    if as_json:
        report = {
            "answer": {"holds": "never", "violated": "yes", "unknown": "unknown"}[standing],
            "policy": policy.digest,
            **proof_values(proof),
        }
        click.echo(json.dumps(report))
    elif standing is Standing.HOLDS:
        print_text(f"{paint('never', GOOD)}: no request of this kind is allowed or asked about")
    elif standing is Standing.UNKNOWN or witness is None:
        print_text(f"{paint('unknown', BAD)}: {proof.problem}")
    else:
        print_text(f"{paint('yes', BAD)}: {shown(request_text(witness), 1000)}")
        print_text(f"     {answer_text(witness, proof.rule)}", further=" " * 5)
    return {Standing.HOLDS: 0, Standing.VIOLATED: REFUSED, Standing.UNKNOWN: UNKNOWN}[standing]
