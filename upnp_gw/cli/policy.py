"""``policy``: show, check, compare and write policy files."""

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli import formats, known_values
from upnp_gw.cli.client import REFUSED, DaemonClient, daemon_command, print_json
from upnp_gw.cli.decisions import OPTION_OF, format_request_parts
from upnp_gw.cli.evidence import suggest
from upnp_gw.cli.parameters import time_option
from upnp_gw.cli.policy_check import check
from upnp_gw.cli.policy_sources import exit_with_problem, written_rules
from upnp_gw.cli.prove import prove
from upnp_gw.cli.terminal import BAD, CAUTION, LONGEST_TEXT, VERDICTS, paint, print_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.records import DecisionRecord
from upnp_gw.text.escape import shown

UNUSABLE = 2
PAGE = 2000
FILE = click.Path(path_type=Path)


@click.group()
def policy() -> None:
    """Show, check, compare and write policies."""


policy.add_command(suggest)
policy.add_command(check)
policy.add_command(prove)


@policy.command()
@click.option("--profile", type=click.Choice(["home", "ask", "locked"]), required=True)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.argument("file", type=FILE, required=False)
def init(profile: str, force: bool, file: Path | None) -> None:
    """Write or print a commented policy, as a start.

    home: every device may open some of its own ports from 1024 up; ask: a request that no grant covers waits for
    your answer; locked: only the devices and ports that you name.
    """
    from upnp_gw.gate.builtin import profile_text

    text = profile_text(profile)
    if file is None:
        click.echo(text, nl=False)
        return
    try:
        with file.open("w" if force else "x", encoding="utf-8") as written:
            written.write(text)
    except FileExistsError:
        raise click.UsageError(f"{shown(str(file), 1000)} already exists; --force replaces it") from None
    except OSError as error:
        raise click.UsageError(f"{shown(str(file), 1000)}: {error.strerror}") from None
    path = shown(str(file.absolute()), 1000)
    click.echo(f'wrote {path}. To use it, add to the configuration:\n\n[gate]\npolicy = "{path}"\n')
    print_text(f"and restart upnp-gw; or start it with: upnp-gw run --policy {path}")


@policy.command("show")
@click.option("--device", metavar="NAME", help="Everything that this device can open instead.")
@daemon_command
def show_policy(daemon: DaemonClient, as_json: bool, device: str | None) -> None:
    """Show the policy in force.

    Prints the files as they were when they were loaded. With --device: all that this device of the policy can
    open, by grant, with the longest lease over UPnP and over PCP and NAT-PMP.
    """
    if device is not None:
        from upnp_gw.cli.policy_regions import show_device

        show_device(daemon, as_json, device)
        return
    body = daemon.request("GET", "/v1/policy")
    if as_json:
        print_json(body)
        return
    policy = msgspec.json.decode(body, type=api.PolicyText)
    source, since = shown(policy.source, LONGEST_TEXT), formats.time(policy.since)
    print_text(f"# {source}: policy {shown(policy.hash)}, in force since {since}", further="# ")
    for warning in policy.warnings:
        print_text(f"# {paint('warning:', CAUTION)} {shown(warning, 1000)}", further="# ")
    for line in _format_lists(policy.lists):
        print_text(f"# {line}", further="# ")
    if policy.problem:
        print_text(
            f"# {paint('NOT IN FORCE', BAD)}, as the files are now: {shown(policy.problem, 1000)}", further="# "
        )
    click.echo(_escape_lines(policy.text))
    if policy.approved:
        click.echo(f"\n# {shown(policy.approved_file, LONGEST_TEXT)}\n{_escape_lines(policy.approved)}")


def _format_lists(lists: list[api.AddressList]) -> Iterator[str]:
    """A line for each address list."""
    for one in lists:
        age = f"changed {formats.time(one.changed_at)}"
        until = "" if one.stale_at is None else f", up to date until {formats.time(one.stale_at)}"
        state = f", {paint('out of date', BAD)}" if one.stale else until
        yield f"set {shown(one.name)}: {one.entries} entries of {shown(one.file, LONGEST_TEXT)}, {age}{state}"


def _escape_lines(text: str) -> str:
    """The text with control characters escaped, line by line."""
    return "\n".join("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in text.split("\n"))


@policy.command()
@click.argument("file", type=FILE)
@click.argument("new", type=FILE, required=False)
@click.option("--all", "everything", is_flag=True, help="Compare all requests, not the recorded ones.")
@click.option(
    "--since",
    callback=time_option,
    metavar="TIME",
    help="Only decisions not before: 2h or 7d ago, or 2026-05-01T12:00:00Z.",
)
@click.option(
    "--device",
    metavar="MAC|ADDRESS|NAME",
    help="Only requests of this device.",
    shell_complete=known_values.devices,
)
@daemon_command
def diff(
    daemon: DaemonClient,
    as_json: bool,
    file: Path,
    new: Path | None,
    everything: bool,
    since: str | None,
    device: str | None,
) -> None:
    """List answers that FILE would change.

    Decides the recorded requests again by FILE. The first line says what FILE is: the policy in force, that file
    with later changes, or another file. Rules that commands wrote (approved.toml) are added to it.

    With --all: compares FILE and NEW over all requests that there are; without NEW the policy in force and FILE.
    Nothing listed means: proved equal.

    Exit code 0: no answer differs; 1: some do; 2: not known.
    """
    if everything:
        from upnp_gw.cli.policy_regions import compare

        compare(daemon, as_json, None if new is None else file, new or file)
        return
    if new is not None:
        raise click.UsageError("two files are compared with --all")
    from upnp_gw.control.replay import replay
    from upnp_gw.gate.list_files import ListFiles
    from upnp_gw.gate.load import load_tables, read_named_text
    from upnp_gw.text.toml import locate_errors, parse_tables

    now = msgspec.json.decode(daemon.request("GET", "/v1/policy"), type=api.PolicyText)
    written = written_rules(now)
    try:
        text, today = read_named_text(file), datetime.now().astimezone().date()
        with locate_errors(text, str(file)):
            lists = ListFiles(file.parent)
            other = load_tables(parse_tables(text, str(file)), str(file), today, written, lists).policy
    except ConfigError as error:
        if _same_file(file, now.source) and not as_json:
            print_text(
                f"The gateway continues with the file as it was loaded (policy {shown(now.hash)}).", err=True
            )
        exit_with_problem(error, as_json, UNUSABLE)
    done = replay(other, _records(daemon, {"since": since, "device": device}))
    if as_json:
        changes = [
            {
                "decision": one.record.id,
                "times": one.times,
                **{key: getattr(one.record, field) for key, field in _REQUEST_FIELDS.items()},
                "was": msgspec.to_builtins(one.was),
                "now": msgspec.to_builtins(one.now),
            }
            for one in done.differences
        ]
        totals = {"same": done.same, "changed": done.changed, "not_replayable": done.not_replayable}
        compares = {
            "file": str(file),
            "hash": other.digest,
            "file_is": _compare(file, text, other.digest, now)[0],
            "in_force": {"file": now.source, "hash": now.hash, "since": now.since.isoformat()},
        }
        click.echo(json.dumps({**compares, **totals, "changes": changes}))
    else:
        print_text(_compare(file, text, other.digest, now)[1])
        if done.differences:
            print_text(f"Recorded answer -> answer by {shown(str(file), 1000)}")
        for one in done.differences:
            times = f" x{one.times}" if one.times > 1 else ""
            print_text(
                f"{_format_answer(one.was)} -> {_format_answer(one.now)}: {_format_record(one.record)}{times}"
            )
            decision = shown(one.record.id)
            print_text(f"    {decision} was: {shown(one.was.reason, LONGEST_TEXT)}", further=" " * 8)
            print_text(f"    {'':<{len(decision)}} now: {shown(one.now.reason, LONGEST_TEXT)}", further=" " * 8)
        skipped = f", {done.not_replayable} cannot be decided again" if done.not_replayable else ""
        print_text(f"{done.same} same, {done.changed} would change{skipped}")
    sys.exit(REFUSED if done.changed else 0)


def _same_file(file: Path, source: str) -> bool:
    """True if the policy in force was read from this file."""
    try:
        return file.samefile(source)
    except OSError:
        return file.absolute() == Path(source)


def _compare(file: Path, text: str, digest: str, now: api.PolicyText) -> tuple[str, str]:
    """The difference between the file and the policy in force: a word for JSON, and a sentence.

    ``digest``: the hash of the file.
    """
    name, source = shown(str(file), 1000), shown(now.source, 1000)
    own, same = _same_file(file, now.source), digest == now.hash
    in_force = f"{shown(now.hash)}, since {formats.time(now.since)}"
    if own and text == now.text:
        return "in-force", f"{name} is the policy in force ({in_force}), unchanged since it was loaded."
    if own and same:
        return "same-meaning", f"{name} was changed after it was loaded, but its rules are the same ({in_force})."
    if own:
        changed = f"{name} was changed after it was loaded. The change is not in force."
        return "changed", f"{changed} In force: {in_force}; the file now: {digest}. To load it: upnp-gw reload"
    if same:
        return "same-meaning", f"{name} has the same rules as the policy in force: {source} ({in_force})."
    return "other", f"{name} ({digest}) is not in force. In force: {source} ({in_force})."


_REQUEST_FIELDS = {
    "device": "device",
    "via": "via",
    "transport": "transport",
    "external_port": "external_port",
    "internal_client": "internal_client",
    "internal_port": "internal_port",
    "remote": "remote_host",
}
"""Key of a change in ``policy diff --json`` -> field of the decision."""


def _format_record(record: DecisionRecord) -> str:
    request = format_request_parts(
        record.action, record.transport, record.external_port, record.internal_client, record.internal_port
    )
    return f"{shown(record.device, formats.LONGEST_DEVICE)} {shown(record.via, 12)} {request}"


def _format_answer(answer: Any) -> str:
    lease = f" {formats.duration(answer.lease_s)}" if answer.lease_s is not None else ""
    return f"{paint(answer.verdict, VERDICTS.get(answer.verdict))}{lease}"


def _records(daemon: DaemonClient, query: Mapping[str, object]) -> Iterator[DecisionRecord]:
    """Every recorded decision, newest first; asks for pages of ``PAGE``."""
    before: str | None = None
    while True:
        page_query = {**query, "limit": PAGE, "before": before}
        body = daemon.request("GET", "/v1/decisions", query=page_query, options=OPTION_OF)
        page = msgspec.json.decode(body, type=list[api.Decision])
        yield from (DecisionRecord(**one.shared_fields(), at=one.at.timestamp()) for one in page)
        if len(page) < PAGE:
            return
        before = page[-1].id
