"""``log`` and ``devices``: who asked for what, and what was answered."""

from contextlib import closing
from datetime import UTC, datetime

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli import formats
from upnp_gw.cli.client import DaemonClient, print_json, talks
from upnp_gw.cli.incidents import banner
from upnp_gw.cli.parameters import PORT, Number
from upnp_gw.cli.table import Column, table
from upnp_gw.cli.terminal import BAD, UNLIMITED, VERDICTS, WHOLE, columns_of_terminal, painted, wrapped
from upnp_gw.model.mapping import Via
from upnp_gw.text.escape import shown

REASON_INDENT = "    "


def since(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else formats.since(value, datetime.now(UTC)).isoformat()
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("log")
@click.option("--device", metavar="MAC|ADDRESS|NAME", help="Only of this device.")
@click.option("--verdict", type=click.Choice(["allow", "deny", "ask", "busy"]))
@click.option("--via", type=click.Choice([via.value for via in Via]))
@click.option("--since", callback=since, metavar="TIME", help="2h, 7d, or 2026-05-01T12:00:00Z.")
@click.option("--until", callback=since, metavar="TIME", help="Likewise; not with --follow.")
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
@talks
def decisions(
    gateway: DaemonClient, as_json: bool, follow: bool, everything: bool, **wanted: str | int | None
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
        _print(_past(gateway, wanted), as_json)
        return
    with closing(gateway.events()) as events:  # before the past is read, so that nothing falls between
        past = _past(gateway, wanted)
        _print(past, as_json)
        seen = {decision.id for decision in past}
        for line in events:
            decision = msgspec.json.decode(line, type=api.Event).decision
            again = decision is not None and decision.count == 1 and decision.id in seen
            if decision is not None and not again and _fits(decision, wanted):
                _print([decision], as_json)


def _past(gateway: DaemonClient, wanted: dict[str, str | int | None]) -> list[api.Decision]:
    """The newest last."""
    body = gateway.ask("GET", "/v1/decisions", query=wanted)
    return msgspec.json.decode(body, type=list[api.Decision])[::-1]


def _fits(decision: api.Decision, wanted: dict[str, str | int | None]) -> bool:
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
            click.echo("\n".join(told(decision, columns_of_terminal())))


def told(decision: api.Decision, most: int) -> list[str]:
    """Who asked for what and the answer, then why: from two lines on; one where there is no terminal."""
    why = shown(decision.reasons[-1], WHOLE) if decision.reasons else shown(decision.refusal or "")
    rule = f" [{shown(decision.rule)}]" if decision.rule else ""
    times = f" (x{decision.count})" if decision.count > 1 else ""
    reason = f"{shown(decision.id)}{rule} {why}{times}"
    if most >= UNLIMITED:
        return [f"{verdict_painted(head(decision), decision.verdict)}  {reason}"]
    first, *more = wrapped(head(decision), most, REASON_INDENT * 2)
    return [
        verdict_painted(first, decision.verdict),
        *more,
        *wrapped(reason, most, REASON_INDENT * 2, REASON_INDENT),
    ]


def verdict_painted(line: str, verdict: str) -> str:
    """The line of a decision with its verdict in colour: the first word of letters."""
    return line.replace(verdict, painted(verdict, VERDICTS.get(verdict)), 1)


def head(decision: api.Decision, year: bool = False) -> str:
    """When, what the answer was, who asked for what."""
    who = shown(decision.device_name or decision.device, formats.WHO)
    at = formats.local(decision.at) if year else f"{decision.at.astimezone():%m-%d %H:%M:%S}"
    return f"{at} {decision.verdict:<5} {who} {decision.via} {asked(decision)}"


def asked(decision: api.Decision) -> str:
    """``map tcp 8080 -> 192.168.1.23:80``, as far as the request said it."""
    transport = decision.transport.value if decision.transport else None
    client, port = decision.internal_client, decision.internal_port
    return asked_words(decision.action, transport, decision.external_port, client, port)


def asked_words(
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


def device_columns(now: datetime) -> list[Column[api.Device]]:
    return [
        Column("DEVICE", lambda d: shown(d.device), keep=9),
        Column("NAME", lambda d: shown(d.name or ""), below=16, keep=7),
        Column("CALLS ITSELF", lambda d: shown(d.dhcp_name or ""), least=8, keep=5),
        Column("ADDRESS", _addresses, below=15, keep=6, needed=True),
        Column("SEEN", lambda d: formats.ago(d.last_seen, now), right=True, keep=4),
        Column("HOLDS", lambda d: str(d.holds), right=True, keep=8),
        Column("GRANTED", lambda d: formats.amount(d.granted), right=True, keep=3),
        Column("REFUSED", lambda d: formats.amount(d.refused), right=True, keep=8),
        Column("FROZEN", lambda d: "frozen" if d.frozen else "", keep=8, style=lambda d: BAD),
        Column("FIRST SEEN", lambda d: formats.local(d.first_seen)[:10], keep=1),
        Column("LAST REFUSAL", lambda d: shown(d.last_refusal or ""), least=12, keep=2),
    ]


def _addresses(device: api.Device) -> str:
    first, more = device.addresses[:1], len(device.addresses) - 1
    return shown("".join(first)) + (f" +{more}" if more > 0 else "")


@click.command()
@talks
def devices(gateway: DaemonClient, as_json: bool) -> None:
    """Who was seen, what it holds, what it was refused."""
    body = gateway.ask("GET", "/v1/devices")
    if as_json:
        print_json(body)
        return
    found = msgspec.json.decode(body, type=list[api.Device])
    most = columns_of_terminal()
    drawn = table(device_columns(datetime.now(UTC)), found, most) if found else ["no devices"]
    click.echo("\n".join(banner(gateway, most) + drawn))
