"""``evidence``, ``policy suggest``, ``stale``: traffic of ports, a policy made from it, unused rules."""

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
from upnp_gw.text.escape import shown

MAX_LISTENERS = 200
OPTION_OF = {
    "days": "--days",
    "min_days": "--min-days",
    "listeners": "--from",
    "device": "--device",
    "host": "--host",
}
"""Field of the API -> option."""
KINDS = {
    "grant-unmatched": "grant",
    "grant-unused": "grant",
    "device-gone": "device",
    "review-overdue": "review",
    "mapping-idle": "mapping",
}


def _format_port(row: api.Evidence) -> str:
    return f"{row.transport}{'6' if row.family == 'ip6' else ''}/{row.internal_port}"


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
    """List requested ports and their traffic. DAYS: days with traffic; OPEN: time that the port was open."""
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
    help="Days of traffic from which on a port gets a grant.",
)
@click.option(
    "--from",
    "scan",
    type=click.File("r", encoding="utf-8", errors="replace"),
    metavar="FILE",
    help="Use listening ports of a host instead of traffic: output of ss -ltunp or netstat; -: standard input.",
)
@click.option("--device", metavar="NAME", help="With --from: the host, by its name in the policy.")
@click.option("--host", metavar="ADDRESS", help="With --from: the host, by its address.")
@daemon_command
def suggest(
    daemon: DaemonClient, as_json: bool, min_days: int, scan: Any, device: str | None, host: str | None
) -> None:
    """Propose a policy from recorded traffic.

    Prints a policy file with tests. Changes nothing.

    It is your policy file with mode = "enforce" and grants for ports that had traffic. Read it, delete grants that
    you cannot explain, replace your policy file with it and reload. Comments at its end say what was left out, and
    why.
    """
    if (scan is not None) != (device is not None or host is not None) or (device is not None and host is not None):
        raise click.UsageError("--from needs either --device or --host, and they need --from")
    query: dict[str, object] = {"min_days": min_days}
    if scan is not None:
        query |= {"device": device, "host": host, "listeners": _listeners(scan.read())}
    body = daemon.request("POST", "/v1/policy/suggest", body=query, options=OPTION_OF)
    if as_json:
        print_json(body)
        return
    click.echo(msgspec.json.decode(body, type=api.Suggestion).toml, nl=False)  # not wrapped: it is a file


def _listeners(text: str) -> list[dict[str, object]]:
    from upnp_gw.suggest.listeners import parse_listeners

    listeners = parse_listeners(text)
    if not listeners:
        raise click.UsageError(
            "--from has no line with a listening port; accepted: the output of ss -ltunp or netstat"
        )
    if len(listeners) > MAX_LISTENERS:
        raise click.UsageError(f"--from has {len(listeners)} listening ports; accepted: at most {MAX_LISTENERS}")
    return [{"transport": one.transport.value, "port": one.port, "program": one.program} for one in listeners]


@click.command()
@click.option("--days", type=Number("days", 1, 180, 30), default=30, show_default=True, help="Unused for N days.")
@daemon_command
def stale(daemon: DaemonClient, as_json: bool, days: int) -> None:
    """List unused grants and mappings, absent devices and overdue reviews. Exit code 1: there are some."""
    body = daemon.request("GET", "/v1/stale", query={"days": days}, options=OPTION_OF)
    rows = msgspec.json.decode(body, type=list[api.Stale])
    if as_json:
        print_json(body)
    else:
        click.echo("\n".join(format_stale(rows, table_columns())))
    if rows:
        sys.exit(REFUSED)


def format_stale(rows: list[api.Stale], most: int) -> list[str]:
    """``grant     games: no request ever matched it``, wrapped."""
    if not rows:
        return ["nothing is stale"]
    facts = [(KINDS[one.kind], shown(f"{one.about}: {one.finding}", LONGEST_TEXT)) for one in rows]
    return [line for fact in facts for line in wrap_labelled(*fact, most, LABEL)]
