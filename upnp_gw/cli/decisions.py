"""``log``: requests and the answers of the gate."""

from contextlib import closing

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli import formats, known_values
from upnp_gw.cli.client import DaemonClient, daemon_command, print_json
from upnp_gw.cli.parameters import PORT, Number, time_option
from upnp_gw.cli.terminal import LONGEST_TEXT, UNLIMITED, VERDICTS, paint, table_columns, wrap
from upnp_gw.model.device import GATEWAY
from upnp_gw.model.mapping import Via
from upnp_gw.text.escape import shown

REASON_INDENT = "    "
OPTION_OF = {name: f"--{name}" for name in ("device", "verdict", "via", "since", "until", "rule", "port", "limit")}
"""Field of the API -> option."""


@click.command("log")
@click.option(
    "--device",
    metavar="MAC|ADDRESS|NAME",
    help="Only requests of this device.",
    shell_complete=known_values.devices,
)
@click.option("--verdict", type=click.Choice(["allow", "deny", "ask", "busy"]))
@click.option("--via", type=click.Choice([via.value for via in Via]))
@click.option(
    "--since",
    callback=time_option,
    metavar="TIME",
    help="Not before: 2h or 7d ago, or 2026-05-01T12:00:00Z.",
)
@click.option("--until", callback=time_option, metavar="TIME", help="Before: likewise; not with --follow.")
@click.option("--rule", metavar="NAME", help="Only decisions by this grant or forbid.")
@click.option("--port", type=PORT, help="Only requests for this external or internal port.")
@click.option(
    "--limit",
    type=Number("a number of decisions", 1, 10_000, 100),
    default=100,
    show_default=True,
    help="Only the newest NUMBER.",
)
@click.option("--all", "everything", is_flag=True, help="Also decisions that were made again and changed nothing.")
@click.option("--follow", is_flag=True, help="Go on with new decisions, until Ctrl-C.")
@daemon_command
def decisions(
    daemon: DaemonClient, as_json: bool, follow: bool, everything: bool, **query: str | int | None
) -> None:
    """List requests with their answers and reasons, the newest last. With --json one object a line.

    At each reload, restart and renewal the gateway decides again about existing mappings. A mapping that does not
    change gets no new decision; one decision of `gateway` counts them all. --all also shows decisions that an
    existing mapping stays as it is. For more about one decision: `upnp-gw explain DECISION`.
    """
    if follow and query["until"] is not None:
        raise click.UsageError("--follow and --until exclude each other")
    query["unchanged"] = None if everything else "false"
    if not follow:
        _print(_recorded(daemon, query), as_json)
        return
    with closing(daemon.events()) as events:  # before the log is read, so that no decision is missed
        past = _recorded(daemon, query)
        _print(past, as_json)
        seen = {decision.id for decision in past}
        for line in events:
            decision = msgspec.json.decode(line, type=api.Event).decision
            again = decision is not None and decision.count == 1 and decision.id in seen
            if decision is not None and not again and _passes(decision, query):
                _print([decision], as_json)


def _recorded(daemon: DaemonClient, query: dict[str, str | int | None]) -> list[api.Decision]:
    """The decisions of the log that pass the filter, newest last."""
    body = daemon.request("GET", "/v1/decisions", query=query, options=OPTION_OF)
    return msgspec.json.decode(body, type=list[api.Decision])[::-1]


def _passes(decision: api.Decision, query: dict[str, str | int | None]) -> bool:
    names = (decision.device, decision.device_name, decision.address)
    return (
        not (decision.unchanged and query["unchanged"])
        and query["device"] in (None, *names)
        and query["verdict"] in (None, decision.verdict)
        and query["via"] in (None, decision.via)
        and query["rule"] in (None, decision.rule)
        and query["port"] in (None, decision.external_port, decision.internal_port)
    )


def _print(decisions: list[api.Decision], as_json: bool) -> None:
    for decision in decisions:
        if as_json:
            print_json(api.encode(decision), line=True)
        else:
            click.echo("\n".join(format_decision(decision, table_columns())))


def format_decision(decision: api.Decision, most: int) -> list[str]:
    """Request and answer, then the reason: at least two lines on a terminal, else one."""
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
    """The line with its first occurrence of the verdict in colour."""
    return line.replace(verdict, paint(verdict, VERDICTS.get(verdict)), 1)


def decision_heading(decision: api.Decision, year: bool = False) -> str:
    """``05-01 12:00:00 deny  ps5 igd2 map tcp 22 -> 192.168.1.23:22``."""
    device = shown(decision.device_name or decision.device, formats.LONGEST_DEVICE)
    via = "" if decision.device == GATEWAY else f"{decision.via} "
    at = formats.time(decision.at) if year else f"{decision.at.astimezone():%m-%d %H:%M:%S}"
    return f"{at} {decision.verdict:<5} {device} {via}{format_request(decision)}"


def format_request(decision: api.Decision) -> str:
    """``map tcp 8080 -> 192.168.1.23:80``; parts that the request did not have are left out."""
    transport = decision.transport.value if decision.transport else None
    client, port = decision.internal_client, decision.internal_port
    return format_request_parts(decision.action, transport, decision.external_port, client, port)


def format_request_parts(
    action: str, transport: str | None, external: int | None, client: str | None, internal: int | None
) -> str:
    """As ``format_request``, from single values."""
    parts = [shown(action, 12)]
    if transport is not None:
        parts.append(transport)
    if external is not None:
        parts.append(str(external or "any"))
    if client is not None and internal is not None:
        parts.append("-> " + formats.endpoint(shown(client), internal))
    return " ".join(parts)
