"""``policy check``: what the gateway would say to a policy file."""

import json
import sys
from datetime import datetime
from pathlib import Path

import click

from upnp_gw.cli import formats
from upnp_gw.cli.client import REFUSED
from upnp_gw.cli.policy_sources import exit_with_problem
from upnp_gw.cli.terminal import CAUTION, GOOD, paint, print_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.escape import shown

UNUSABLE = 2


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="A warning fails the check too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(file: Path, strict: bool, as_json: bool) -> None:
    """Check a policy file.

    Looks at keys, values and common mistakes, runs the [[test]] blocks, and proves [[never]] and [[always]]. Needs
    no daemon.

    Exit code 0: the gateway would load it; 1: it would refuse it; 2: the file cannot be read.
    """
    from upnp_gw.gate.list_files import ListFiles
    from upnp_gw.gate.load import check_text, read_named_text
    from upnp_gw.gate.proof.words import proof_values
    from upnp_gw.text.toml import with_line

    try:
        text = read_named_text(file)
    except ConfigError as error:
        exit_with_problem(error, as_json, UNUSABLE)
    try:
        checked = check_text(text, str(file), datetime.now().astimezone().date(), ListFiles(file.parent))
    except ConfigError as error:
        exit_with_problem(error, as_json, REFUSED)
    warnings = [str(finding) for finding in checked.warnings]
    ok = not checked.failed and not checked.violated and not (strict and warnings)
    if as_json:
        tests = [
            {
                "name": result.case.name,
                "key": result.case.key,
                "passed": result.passed,
                "wanted": result.wanted,
                "got": result.got,
                "reasons": result.reasons,
            }
            for result in checked.results
        ]
        invariants = [
            {
                "name": result.proof.invariant.name,
                "key": result.proof.invariant.key,
                "standing": result.proof.standing,
                "problem": None if result.error is None else result.error.problem,
                **proof_values(result.proof),
            }
            for result in checked.invariants
        ]
        report = {"ok": ok, "file": str(file), "hash": checked.policy.digest, "warnings": warnings, "tests": tests}
        click.echo(json.dumps({**report, "invariants": invariants}))
        sys.exit(0 if ok else REFUSED)
    for warning in warnings:
        print_text(paint("warning:", CAUTION) + f" {shown(warning, 1000)}", err=not ok)
    for failed in checked.failed:
        print_text(
            shown(str(with_line(ConfigError(str(file), failed.case.key, str(failed)), text)), 1000), err=True
        )
    for violated in checked.violated:
        if violated.error is not None:
            print_text(shown(str(with_line(violated.error, text)), 1000), err=True)
    if not ok:
        sys.exit(REFUSED)
    counts = ", ".join(
        (
            formats.plural(len(checked.policy.grants), "grant"),
            formats.plural(len(checked.policy.forbids), "forbid"),
            f"{formats.plural(len(checked.results), 'test')} passed",
            *([f"{formats.plural(len(checked.invariants), 'invariant')} proved"] if checked.invariants else []),
        )
    )
    print_text(f"{shown(str(file), 1000)}: {paint('ok', GOOD)}: {counts}")
