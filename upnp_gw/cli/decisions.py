"""``log`` and ``devices``: who asked for what, and what was answered."""

from contextlib import closing

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli import formats
from upnp_gw.cli.client import DaemonClient, daemon_command, print_json
from upnp_gw.cli.parameters import PORT, Number, time_option
from upnp_gw.cli.terminal import LONGEST_TEXT, UNLIMITED, VERDICTS, paint, table_columns, wrap
from upnp_gw.model.mapping import Via
from upnp_gw.text.escape import shown

REASON_INDENT = "    "


@click.command("log")
@click.option("--device", metavar="MAC|ADDRESS|NAME", help="Only of this device.")
@click.option("--verdict", type=click.Choice(["allow", "deny", "ask", "busy"]))
@click.option("--via", type=click.Choice([via.value for via in Via]))
@click.option("--since", callback=time_option, metavar="TIME", help="2h, 7d, or 2026-05-01T12:00:00Z.")
@click.option("--until", callback=time_option, metavar="TIME", help="Likewise; not with --follow.")
@click.option("--rule", metavar="NAME", help="Only what this grant or forbid answered.")
@click.option("--port", type=PORT, help="Only of this external or internal port.")
@click.option(
    "--limit",
    type=Number("a number of decisions", 1, 10_000, 100),
    default=100,
    show_default=True,
    help="The newest of them.",
)
@click.option("--all", "everything", is_flag=True, help="Also what was decided again and changed nothing.")
@click.option("--follow", is_flag=True, help="Go on with what is decided from now on, until Ctrl-C.")
@daemon_command
def decisions(
    daemon: DaemonClient, as_json: bool, follow: bool, everything: bool, **wanted: str | int | None
) -> None:
    """Who asked for what, what was answered and why; the newest last. With --json one object a line.

    At each reload, restart and renewal the gateway decides again about the mappings that stand. Where that changed
    nothing, --all shows it.
    `upnp-gw explain DECISION` tells more of one of them.
    """
    if follow and wanted["until"] is not None:
        raise click.UsageError("--follow has no end: leave --until out")
    wanted["unchanged"] = None if everything else "false"
    if not follow:
        _print(_recorded(daemon, wanted), as_json)
        return
    with closing(daemon.events()) as events:  # before the past is read, so that nothing falls between
        past = _recorded(daemon, wanted)
        _print(past, as_json)
        seen = {decision.id for decision in past}
        for line in events:
            decision = msgspec.json.decode(line, type=api.Event).decision
            again = decision is not None and decision.count == 1 and decision.id in seen
            if decision is not None and not again and _passes(decision, wanted):
                _print([decision], as_json)


def _recorded(daemon: DaemonClient, wanted: dict[str, str | int | None]) -> list[api.Decision]:
    """The newest last."""
    body = daemon.request("GET", "/v1/decisions", query=wanted)
    return msgspec.json.decode(body, type=list[api.Decision])[::-1]


def _passes(decision: api.Decision, wanted: dict[str, str | int | None]) -> bool:
    names = (decision.device, decision.device_name, decision.address)
    return (
        not (decision.unchanged and wanted["unchanged"])
        and wanted["device"] in (None, *names)
        and wanted["verdict"] in (None, decision.verdict)
        and wanted["via"] in (None, decision.via)
        and wanted["rule"] in (None, decision.rule)
        and wanted["port"] in (None, decision.external_port, decision.internal_port)
    )


def _print(found: list[api.Decision], as_json: bool) -> None:
    for decision in found:
        if as_json:
            print_json(api.encode(decision), line=True)
        else:
            click.echo("\n".join(format_decision(decision, table_columns())))


def format_decision(decision: api.Decision, most: int) -> list[str]:
    """Who asked for what and the answer, then why: from two lines on; one where there is no terminal."""
    why = shown(decision.reasons[-1], LONGEST_TEXT) if decision.reasons else shown(decision.refusal or "")
    rule = f" [{shown(decision.rule)}]" if decision.rule else ""
    times = f" (x{decision.count})" if decision.count > 1 else ""
    reason = f"{shown(decision.id)}{rule} {why}{times}"
    if most >= UNLIMITED:
        return [f"{paint_verdict(decision_heading(decision), decision.verdict)}  {reason}"]
    first, *more = wrap(decision_heading(decision), most, REASON_INDENT * 2)
    return [
        paint_verdict(first, decision.verdict),
        *more,
        *wrap(reason, most, REASON_INDENT * 2, REASON_INDENT),
    ]


def paint_verdict(line: str, verdict: str) -> str:
    """The line of a decision with its verdict in colour: the first word of letters."""
    return line.replace(verdict, paint(verdict, VERDICTS.get(verdict)), 1)


def decision_heading(decision: api.Decision, year: bool = False) -> str:
    """When, what the answer was, who asked for what."""
    who = shown(decision.device_name or decision.device, formats.LONGEST_DEVICE)
    at = formats.time(decision.at) if year else f"{decision.at.astimezone():%m-%d %H:%M:%S}"
    return f"{at} {decision.verdict:<5} {who} {decision.via} {format_request(decision)}"


def format_request(decision: api.Decision) -> str:
    """``map tcp 8080 -> 192.168.1.23:80``, as far as the request said it."""
    transport = decision.transport.value if decision.transport else None
    client, port = decision.internal_client, decision.internal_port
    return format_request_parts(decision.action, transport, decision.external_port, client, port)


def format_request_parts(
    action: str, transport: str | None, external: int | None, client: str | None, internal: int | None
) -> str:
    """What was asked, from the parts that the request had."""
    parts = [shown(action, 12)]
    if transport is not None:
        parts.append(transport)
    if external is not None:
        parts.append(str(external or "any"))
    if client is not None and internal is not None:
        parts.append("-> " + formats.endpoint(shown(client), internal))
    return " ".join(parts)
