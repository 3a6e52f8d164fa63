"""``import --leases``: the leases of miniupnpd go on in the running gateway."""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli.client import DaemonClient
from upnp_gw.cli.formats import duration, plural
from upnp_gw.cli.table import Column, table
from upnp_gw.cli.terminal import print_text, table_columns
from upnp_gw.migration.lease_file import MOST_BYTES, FileLease, LeaseFile, read_lease_file
from upnp_gw.model.request import Refusal
from upnp_gw.system.files import opened
from upnp_gw.text.escape import shown

LARGEST_BODY = 15_000
"""Bytes of one request to the daemon."""
NOT_TAKEN = 1
"""The exit code if a lease that still runs was not taken over, or a line is broken."""
MOST_SHOWN = 200
"""The most leases, and the most broken lines, that are named."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A lease of the file, and the answer of the gateway."""

    lease: FileLease
    taken: api.TakenLease


def take_over(daemon: DaemonClient, as_json: bool, path: Path, dry_run: bool, policy: Path | None) -> None:
    """Takes over what still runs of a lease file, and prints what became of it. ``policy``: asks this file in place
    of the gateway, and changes nothing.

    Exits with ``NOT_TAKEN`` if not all of it goes on. Raises FileProblem, ConfigError, click.ClickException, and as
    ``DaemonClient`` does."""
    found = read(path)
    dry_run = dry_run or policy is not None
    if policy is not None:
        answers = _by_policy(found.leases, policy)
    else:
        answers = [answer for some in _portions(found.leases) for answer in _ask(daemon, some, dry_run)]
    if as_json:
        click.echo(json.dumps(_plain(found, answers)))
    else:
        _print(path, found, answers, dry_run)
    if found.broken or any(answer.taken.outcome not in ("taken", "stands") for answer in answers):
        sys.exit(NOT_TAKEN)


def read(path: Path) -> LeaseFile:
    """The file as it is now. Raises FileProblem and click.ClickException."""
    try:
        with opened(path) as file:
            data, written = file.read(MOST_BYTES + 1), os.fstat(file.fileno()).st_mtime
    except OSError as error:
        raise click.ClickException(f"cannot read {shown(str(path), 300)}: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise click.ClickException(
            f"{shown(str(path), 300)}: longer than {MOST_BYTES} bytes: this is no lease file"
        )
    return read_lease_file(data, time.time(), written)


def _portions(leases: Sequence[FileLease]) -> Iterator[list[FileLease]]:
    """Leases that fit into one request."""
    some: list[FileLease] = []
    size = 0
    for lease in leases:
        length = len(json.dumps(body_of(lease, time.time()))) + 2
        if some and (size + length > LARGEST_BODY or len(some) == api.MOST_LEASES):
            yield some
            some, size = [], 0
        some.append(lease)
        size += length
    if some:
        yield some


def _ask(daemon: DaemonClient, leases: Sequence[FileLease], dry_run: bool) -> Iterator[Answered]:
    now = time.time()
    body = {"leases": [body_of(lease, now) for lease in leases], "preview": dry_run}
    answer = msgspec.json.decode(daemon.request("POST", "/v1/leases", body=body), type=api.TakenOver)
    return map(Answered, leases, answer.leases)


def _by_policy(leases: Sequence[FileLease], file: Path) -> list[Answered]:
    """The answers of a policy to each lease by itself. Raises ConfigError."""
    from upnp_gw.control.dry_run import try_by_policy
    from upnp_gw.gate.load import load_file

    now = time.time()
    policy = load_file(file, datetime.now().astimezone().date()).policy
    answers = []
    for lease in leases:
        body = body_of(lease, now)
        del body["description"]
        trial = msgspec.convert({**body, "address": body.pop("internal_client")}, api.Trial)
        explained = try_by_policy(policy, trial, str(file), exact=True)
        allowed = explained.verdict == "allow"
        taken = api.TakenLease(
            outcome="taken" if allowed else "asked" if explained.verdict == "ask" else "refused",
            lease_s=explained.lease_s if allowed else None,
            rule=explained.rule,
            refusal=explained.refusal,
            message=None if allowed else explained.reasons[-1],
        )
        answers.append(Answered(lease, taken))
    return answers


def body_of(lease: FileLease, now: float) -> dict[str, Any]:
    """The fields of ``api.ForeignLease``."""
    body: dict[str, Any] = {
        "transport": lease.transport.value,
        "external_port": lease.external_port,
        "internal_client": str(lease.internal.address),
        "internal_port": lease.internal.port,
        "via": lease.via.value,
        "lease_s": None if lease.ends_at is None else min(max(1, int(lease.ends_at - now)), api.MAX_LEASE_S),
        "description": lease.description,
    }
    if lease.remote is not None:
        body["remote_host"] = str(lease.remote)
    if lease.remote_port:
        body["remote_port"] = lease.remote_port
    return body


def _plain(found: LeaseFile, answers: Sequence[Answered]) -> dict[str, Any]:
    """The output of --json."""
    now = time.time()
    return {
        "leases": [
            {"line": answer.lease.line, **body_of(answer.lease, now), "answer": msgspec.to_builtins(answer.taken)}
            for answer in answers
        ],
        "expired": [lease.line for lease in found.expired],
        "broken": [{"line": number, "message": reason} for number, reason in found.broken],
        "repeated": found.repeated,
    }


def _print(path: Path, found: LeaseFile, answers: Sequence[Answered], dry_run: bool) -> None:
    by_outcome = {word: sum(a.taken.outcome == word for a in answers) for word in _OUTCOMES}
    verb = "would go on" if dry_run else "go on"
    parts = [f"{plural(by_outcome['taken'], 'lease')} {verb} here"]
    parts += [f"{number} {_OUTCOMES[word]}" for word, number in by_outcome.items() if number and word != "taken"]
    parts += [f"{len(found.expired)} expired"] if found.expired else []
    parts += [plural(len(found.broken), "broken line")] if found.broken else []
    print_text(f"{shown(str(path), 300)}: {', '.join(parts)}")
    if found.remaining_times:
        print_text("its times are remaining times: they count from the last change of the file")
    named = [answer for answer in answers if dry_run or answer.taken.outcome not in ("taken", "stands")]
    if named:
        for line in table(_COLUMNS, named[:MOST_SHOWN], table_columns()):
            click.echo(line)
        _more(len(named), "lease")
    for number, reason in found.broken[:MOST_SHOWN]:
        print_text(f"{shown(str(path), 300)}:{number}: {reason}")
    _more(len(found.broken), "broken line")
    if by_outcome["asked"] and not dry_run:
        print_text("to answer: upnp-gw queue")
    if any(answer.taken.refusal == Refusal.CONFLICT_OTHER.value for answer in answers):
        print_text("other rules of this machine have ports of these leases: upnp-gw doctor")
    if by_outcome["absent"]:
        print_text(
            "what is absent can be taken over later with the same command: what goes on is not changed by it"
        )


def _more(number: int, noun: str) -> None:
    if number > MOST_SHOWN:
        print_text(f"and {plural(number - MOST_SHOWN, noun)} more: --json has all")


_OUTCOMES = {
    "taken": "taken over",
    "stands": "there already",
    "asked": "waiting for your answer",
    "refused": "refused",
    "absent": "absent",
}


def _left(answer: Answered) -> str:
    end = answer.lease.ends_at
    return "endless" if end is None else duration(max(0, int(end - time.time())))


def _why(answer: Answered) -> str:
    taken = answer.taken
    if taken.lease_s is not None:
        what = "goes on for" if taken.outcome == "taken" else "is there already for"
        return f"{what} {duration(taken.lease_s)}"
    return shown(taken.message or "", 200)


_COLUMNS: tuple[Column[Answered], ...] = (
    Column("LINE", lambda answer: str(answer.lease.line), right=True, keep=5),
    Column("PORT", lambda answer: f"{answer.lease.transport.value} {answer.lease.external_port}", keep=6),
    Column("CLIENT", lambda answer: str(answer.lease.internal), below=21, keep=7),
    Column("VIA", lambda answer: answer.lease.via.protocol, keep=1),
    Column("LEFT", _left, right=True),
    Column("RULE", lambda answer: shown(answer.taken.rule or "", 40), below=20, keep=2),
    Column("DECISION", lambda answer: answer.taken.decision or "", keep=4),
    Column("WHY", _why, below=24, keep=7),
)
