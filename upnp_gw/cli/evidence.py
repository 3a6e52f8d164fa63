"""``evidence``, ``policy suggest``, ``stale``: what is used, what a policy could be, what nobody needs any more."""

import sys
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli import formats
from upnp_gw.cli.client import REFUSED, DaemonClient, daemon_command, print_json
from upnp_gw.cli.health import LABEL
from upnp_gw.cli.parameters import Number
from upnp_gw.cli.table import Column, table
from upnp_gw.cli.terminal import LONGEST_TEXT, table_columns, wrap_labelled
from upnp_gw.model.mapping import MappingKind
from upnp_gw.text.escape import shown

MAX_LISTENERS = 200
KINDS = {
    "grant-unmatched": "grant",
    "grant-unused": "grant",
    "device-gone": "device",
    "review-overdue": "review",
    "mapping-idle": "mapping",
}


def _format_port(row: api.Evidence) -> str:
    return f"{row.transport}{'6' if row.kind is MappingKind.PINHOLE else ''}/{row.internal_port}"


def _format_remotes(row: api.Evidence) -> str:
    known = [shown(remote) for remote in row.remotes[:3]]
    return ", ".join(known) + ("..." if row.more_remotes or len(row.remotes) > len(known) else "")


def evidence_columns(now: datetime) -> list[Column[api.Evidence]]:
    return [
        Column("DEVICE", lambda row: shown(row.device_name or row.device), below=17, keep=9),
        Column("PORT", _format_port, keep=9),
        Column("ASKED", lambda row: formats.count(row.requests), right=True, keep=8),
        Column("REFUSED", lambda row: formats.count(row.refused) if row.refused else "", right=True, keep=6),
        Column("UNGRANTED", lambda row: formats.count(row.ungranted) if row.ungranted else "", right=True, keep=4),
        Column("DAYS", lambda row: str(row.days), right=True, keep=8),
        Column("OPEN", lambda row: formats.duration(row.granted_s), right=True, keep=3),
        Column("CONNS", lambda row: formats.count(row.connections), right=True, keep=5),
        Column("BYTES", lambda row: formats.count(row.bytes), right=True, keep=2),
        Column("USED", lambda row: formats.age(row.last_used, now), right=True, keep=7),
        Column("WITH", _format_remotes, below=18, keep=1),
    ]


@click.command()
@daemon_command
def evidence(daemon: DaemonClient, as_json: bool) -> None:
    """What devices asked for, and what of it was used. DAYS: on which somebody talked through it."""
    body = daemon.request("GET", "/v1/evidence")
    if as_json:
        print_json(body)
        return
    rows = msgspec.json.decode(body, type=list[api.Evidence])
    drawn = table(evidence_columns(datetime.now(UTC)), rows, table_columns()) if rows else ["no evidence yet"]
    click.echo("\n".join(drawn))


@click.command()
@click.option(
    "--min-days",
    type=Number("days", 1, 60, 3),
    default=3,
    show_default=True,
    help="Days of traffic that make a need.",
)
@click.option(
    "--from",
    "scan",
    type=click.File("r", encoding="utf-8", errors="replace"),
    metavar="FILE",
    help="What listens on a host instead: the output of ss -ltunp or netstat there; - for standard input.",
)
@click.option("--device", metavar="NAME", help="--from: whose scan it is, by its name in the policy.")
@click.option("--host", metavar="ADDRESS", help="--from: or by its address.")
@daemon_command
def suggest(
    daemon: DaemonClient, as_json: bool, min_days: int, scan: Any, device: str | None, host: str | None
) -> None:
    """Print a policy file with tests, made from what carried traffic. It changes nothing.

    It is your policy file, enforcing, with grants for what was used. Read it, strike what you cannot explain, then
    put it in the place of your policy file and reload. Its last lines say what is not in it, and why.
    """
    if (scan is not None) != (device is not None or host is not None) or (device is not None and host is not None):
        raise click.UsageError("--from goes with either --device or --host")
    asked: dict[str, object] = {"min_days": min_days}
    if scan is not None:
        asked |= {"device": device, "host": host, "listeners": _listeners(scan.read())}
    body = daemon.request("POST", "/v1/policy/suggest", body=asked)
    if as_json:
        print_json(body)
        return
    click.echo(msgspec.json.decode(body, type=api.Suggestion).toml, nl=False)  # as it is: it is a file


def _listeners(text: str) -> list[dict[str, object]]:
    from upnp_gw.suggest.listeners import parse_listeners

    found = parse_listeners(text)
    if not found:
        raise click.UsageError("no line of --from tells of a port that listens; is it the output of ss -ltunp?")
    if len(found) > MAX_LISTENERS:
        raise click.UsageError(f"--from tells of {len(found)} ports that listen; at most {MAX_LISTENERS} are taken")
    return [{"transport": one.transport.value, "port": one.port, "program": one.program} for one in found]


@click.command()
@click.option("--days", type=Number("days", 1, 180, 30), default=30, show_default=True, help="How long it was so.")
@daemon_command
def stale(daemon: DaemonClient, as_json: bool, days: int) -> None:
    """Grants and mappings without use, devices that are gone, reviews overdue. Exit code 1: there are some."""
    body = daemon.request("GET", "/v1/stale", query={"days": days})
    found = msgspec.json.decode(body, type=list[api.Stale])
    if as_json:
        print_json(body)
    else:
        click.echo("\n".join(format_stale(found, table_columns())))
    if found:
        sys.exit(REFUSED)


def format_stale(found: list[api.Stale], most: int) -> list[str]:
    """``grant     games: no request ever matched it``, wrapped."""
    if not found:
        return ["nothing is stale"]
    facts = [(KINDS[one.kind], shown(f"{one.about}: {one.finding}", LONGEST_TEXT)) for one in found]
    return [line for fact in facts for line in wrap_labelled(*fact, most, LABEL)]
