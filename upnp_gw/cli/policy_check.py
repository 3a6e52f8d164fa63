"""``policy check``: what the gateway would say to a policy file."""

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from upnp_gw.cli import formats
from upnp_gw.cli.client import REFUSED, DaemonClient, daemon_command
from upnp_gw.cli.policy_sources import WrittenFile, exit_with_problem, written_beside
from upnp_gw.cli.terminal import CAUTION, GOOD, paint, print_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.escape import shown

if TYPE_CHECKING:  # the gate takes longer to import than a daemon to answer
    from upnp_gw.gate.lint import Finding
    from upnp_gw.gate.load import CheckedPolicy

UNUSABLE = 2
_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=_PATH)
@click.option("--strict", is_flag=True, help="A warning fails the check too.")
@click.option(
    "--approved",
    "approved_file",
    type=_PATH,
    metavar="FILE",
    help="Rules that commands wrote.  [default: approved.toml of the gateway whose policy FILE is]",
)
@daemon_command
def check(daemon: DaemonClient, as_json: bool, file: Path, strict: bool, approved_file: Path | None) -> None:
    """Check a policy file.

    Looks at keys, values and common mistakes, runs the [[test]] blocks, and proves [[never]] and [[always]]. Names
    approvals that are older than a new [[never]] and that a reload would end. Notes which grants match the same
    requests, and which one decides. Needs no daemon.

    Exit code 0: the gateway would load it; 1: it would refuse it; 2: the file cannot be read.
    """
    from upnp_gw.gate.list_files import ListFiles
    from upnp_gw.gate.load import check_text, read_named_text

    try:
        text = read_named_text(file)
        if approved_file is not None:
            written: WrittenFile | None = WrittenFile(approved_file, read_named_text(approved_file))
        else:
            written = written_beside(file, daemon)
    except ConfigError as error:
        exit_with_problem(error, as_json, UNUSABLE)
    today = datetime.now().astimezone().date()
    try:
        rules = written.rules() if written is not None else None
        checked = check_text(text, str(file), today, ListFiles(file.parent), rules)
    except ConfigError as error:
        exit_with_problem(error, as_json, REFUSED)
    warnings = [str(finding) for finding in checked.warnings]
    ending = {} if written is None else {name: _ending(one, written) for name, one in checked.ending.items()}
    ok = not checked.failed and not checked.violated and checked.conflict is None
    ok = ok and not (strict and (warnings or ending))
    problems = list(_problems(checked, file, text, written))
    if as_json:
        notes = {"approved": None if written is None else str(written.path), "ended_by_reload": ending}
        report = {"ok": ok, "file": str(file), "hash": checked.policy.digest, "warnings": warnings}
        report |= {"overlaps": list(map(str, checked.notes))}
        conflict = None if checked.conflict is None else problems[-1]
        click.echo(json.dumps({**report, **_results(checked), **notes, "conflict": conflict}))
        sys.exit(0 if ok else REFUSED)
    for note in checked.notes:
        print_text(f"note: {shown(str(note), 1000)}", err=not ok)
    for warning in (*warnings, *ending.values()):
        print_text(paint("warning:", CAUTION) + f" {shown(warning, 1000)}", err=not ok)
    for problem in problems:
        print_text(shown(problem, 1000), err=True)
    if not ok:
        sys.exit(REFUSED)
    beside = f", with the rules of {shown(str(written.path), 1000)}" if written is not None else ""
    print_text(f"{shown(str(file), 1000)}: {paint('ok', GOOD)}: {_counts(checked)}{beside}")


def _ending(finding: "Finding", written: WrittenFile) -> str:
    return f"{finding.about} of {written.path}: a reload ends it: {finding.text.removeprefix('has ended: ')}"


def _problems(checked: "CheckedPolicy", file: Path, text: str, written: WrittenFile | None) -> Iterator[str]:
    """A sentence for each reason why the gateway would refuse the file."""
    from upnp_gw.text.toml import with_line

    for failed in checked.failed:
        yield str(with_line(ConfigError(str(file), failed.case.key, str(failed)), text))
    for violated in checked.violated:
        if violated.error is not None:
            yield str(with_line(violated.error, text))
    if checked.conflict is not None and written is not None:
        conflict = checked.conflict
        if conflict.where == str(written.path):
            yield str(with_line(conflict, written.text))
        else:
            yield f"{written.path}: conflicts with the policy file: {conflict}"


def _results(checked: "CheckedPolicy") -> dict[str, object]:
    """The tests and invariants, for JSON."""
    from upnp_gw.gate.proof.words import proof_values

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
    return {"tests": tests, "invariants": invariants}


def _counts(checked: "CheckedPolicy") -> str:
    return ", ".join(
        (
            formats.plural(len(checked.policy.grants), "grant"),
            formats.plural(len(checked.policy.forbids), "forbid"),
            f"{formats.plural(len(checked.results), 'test')} passed",
            *([f"{formats.plural(len(checked.invariants), 'invariant')} proved"] if checked.invariants else []),
        )
    )
