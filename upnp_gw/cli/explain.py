"""``explain``, ``try`` and ``reload``: why it was answered so, what would be answered, a new policy in force."""

import sys
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli import formats
from upnp_gw.cli.client import DaemonClient, daemon_command, print_json
from upnp_gw.cli.decisions import decision_heading, paint_verdict
from upnp_gw.cli.holder import format_holder
from upnp_gw.cli.parameters import PORT, duration_option
from upnp_gw.cli.terminal import (
    CAUTION,
    HEADING,
    LONGEST_TEXT,
    paint,
    paint_first,
    print_text,
    table_columns,
    wrap,
    wrap_labelled,
)
from upnp_gw.model.mapping import Transport, Via
from upnp_gw.text.escape import shown

LABEL = 8
OPTION_OF = {
    "device": "--device",
    "address": "--from",
    "internal_port": "PORT",
    "external_port": "--ext",
    "lease_s": "--ttl",
    "internal_client": "--for",
    "remote_host": "--remote",
    "remote_port": "--remote-port",
}
"""Field of the API -> what it is called on the command line of ``try``."""
EFFECT = {
    "none": " ",
    "denies": "denies",
    "narrows": "narrows",
    "full": "no room",
    "covers": "covers",
    "charged": "CHARGED",
}


@click.command()
@click.argument("decision")
@click.option("--all", "everything", is_flag=True, help="Rules for other devices too.")
@daemon_command
def explain(daemon: DaemonClient, as_json: bool, decision: str, everything: bool) -> None:
    """Why DECISION (d17, as list, log and refusals name it) came out as it did: every rule, and the facts."""
    from urllib.parse import quote

    body = daemon.request("GET", f"/v1/decisions/{quote(decision, safe='')}")
    if as_json:
        print_json(body)
        return
    found = msgspec.json.decode(body, type=api.Explained)
    click.echo("\n".join(format_explanation(found, table_columns(), everything)))


@click.command("try")
@click.argument("transport", type=click.Choice([transport.value for transport in Transport]))
@click.argument("port", type=PORT)
@click.option("--device", metavar="NAME|MAC", help="Who asks.")
@click.option("--from", "address", metavar="ADDRESS", help="Or: where the request comes from.")
@click.option("--via", type=click.Choice([via.value for via in Via]), default="igd1", show_default=True)
@click.option("--ext", type=PORT, help="The external port.  [default: PORT]")
@click.option(
    "--ttl", callback=duration_option, metavar="TIME", help="The lease asked for.  [default: the longest]"
)
@click.option("--for", "client", metavar="ADDRESS", help="The internal client.  [default: who asks]")
@click.option("--remote", metavar="PREFIX", help="The remote host.  [default: any]")
@click.option("--remote-port", type=PORT, help="The remote host's port.  [default: any]")
@click.option("--policy", "file", type=click.Path(path_type=Path), metavar="FILE", help="By this file, no daemon.")
@click.option("--all", "everything", is_flag=True, help="Rules for other devices too.")
@daemon_command
def try_(
    daemon: DaemonClient, as_json: bool, file: Path | None, everything: bool, **given: str | int | None
) -> None:
    """What would be answered to a request for internal PORT, by the facts of now. Changes nothing.

    With --policy the file answers alone: a named device is there with all its facts, and holds nothing.
    Exit code 0: it would be allowed; 1: it would not.
    """
    if (given["device"] is None) == (given["address"] is None):
        raise click.UsageError("who asks? Either --device or --from")
    wanted = {
        "device": given["device"],
        "address": given["address"],
        "via": given["via"],
        "transport": given["transport"],
        "internal_port": given["port"],
        "external_port": given["ext"],
        "lease_s": given["ttl"] or None,  # 0 over IGD: as long as possible
        "internal_client": given["client"],
        "remote_host": given["remote"],
        "remote_port": given["remote_port"] or 0,
    }
    found = _try_by_daemon(daemon, wanted) if file is None else _try_by_file(file, wanted)
    if as_json:
        print_json(api.encode(found))
    else:
        click.echo("\n".join(format_explanation(found, table_columns(), everything)))
    sys.exit(0 if found.verdict == "allow" else 1)


def _try_by_daemon(daemon: DaemonClient, wanted: dict[str, str | int | None]) -> api.Explained:
    return msgspec.json.decode(daemon.request("POST", "/v1/try", body=wanted), type=api.Explained)


def _try_by_file(file: Path, wanted: dict[str, str | int | None]) -> api.Explained:
    """The scene of a ``[[test]]`` of this file: what is left open is filled in favour of the request."""
    from upnp_gw.control.dry_run import try_by_policy
    from upnp_gw.gate.load import load_file
    from upnp_gw.model.errors import ConfigError

    try:
        trial = msgspec.convert(wanted, api.Trial)
        return try_by_policy(load_file(file, datetime.now().astimezone().date()).policy, trial, str(file))
    except msgspec.ValidationError as error:
        field, problem = api.problem_of(error, api.Trial, wanted)
        raise click.UsageError(shown(f"{OPTION_OF.get(field or '', field)}: {problem}", LONGEST_TEXT)) from None
    except ConfigError as error:
        raise click.UsageError(shown(str(error), 1000)) from None


@click.command()
@daemon_command
def reload(daemon: DaemonClient, as_json: bool) -> None:
    """Load the policy files again: all of it or nothing. What the new policy does not allow is listed.

    Exit code 1: it does not come into force, and the old one stays.
    """
    body = daemon.request("POST", "/v1/reload")
    if as_json:
        print_json(body)
        return
    done = msgspec.json.decode(body, type=api.Reloaded)
    for warning in done.warnings:
        print_text(paint("warning:", CAUTION) + f" {shown(warning, 1000)}")
    for one in done.fallen:
        what = f"{one.transport} {one.external_port} -> {formats.endpoint(one.internal_client, one.internal_port)}"
        fate = "kept until its lease ends" if one.kept else "ended"
        print_text(f"{one.mapping} {shown(one.device_name or one.device, formats.LONGEST_DEVICE)} {what}: {fate}")
        print_text(f"    {one.decision} {shown(one.reason, LONGEST_TEXT)}", further=" " * 8)
    same = "as before" if done.hash == done.before else f"before: {done.before}"
    kept = formats.plural(done.standing, "mapping")
    print_text(shown(f"in force: {done.source}, policy {done.hash} ({same}); {kept} kept", 400))
    from upnp_gw.gate.builtin import WHERE

    if done.source == WHERE:
        print_text(
            'No policy file is configured. Write [gate] policy = "FILE" in the configuration, and start again.'
        )


# -- an explanation as people read it


def format_explanation(found: api.Explained, most: int, everything: bool = False) -> list[str]:
    """The whole trace; ``everything``: rules that are for other devices too."""
    first, *more = wrap(_format_heading(found), most, "    ")
    verdict = found.decision.verdict if found.decision else found.verdict
    lines = [
        paint_verdict(first, verdict),
        *more,
        *(_labelled("note", shown(found.note, LONGEST_TEXT), most) if found.note else ()),
    ]
    steps = [reason for reason in found.reasons if not reason.startswith(("forbids ", "grants "))]
    for label, text in (
        ("who", _format_names(found)),
        ("floor", _format_step(steps, "floor ")),
        ("limits", _format_step(steps, "limits ")),
    ):
        lines += _labelled(label, text, most)
    if found.note:
        for label, _, text in (reason.partition(" ") for reason in found.reasons if reason not in steps):
            lines += _labelled(label, shown(text, LONGEST_TEXT), most)
    else:
        lines += _format_rules("forbids", found.forbids, {"denies"}, most, everything)
        lines += _format_rules("grants", found.grants, {"full", "covers", "charged"}, most, everything)
    for reason in steps[:-1]:
        if not reason.startswith(("floor ", "limits ")):
            lines += _labelled("then", shown(reason, LONGEST_TEXT), most)
    lease = f", lease {formats.duration(found.lease_s)}" if found.lease_s is not None and verdict != "busy" else ""
    lines += _labelled(
        "answer", shown(found.reasons[-1] if found.reasons else found.verdict, LONGEST_TEXT) + lease, most
    )
    if found.holder is not None:
        lines += _labelled("holder", format_holder(found.holder), most)
    lines += _labelled("facts", shown(format_facts(found.facts), LONGEST_TEXT), most)
    then = ": the rules are those of then" if found.grants or found.forbids else ""
    lines += _labelled("policy", found.policy + f", not in force any more{then}" * found.superseded, most)
    return lines


def _format_heading(found: api.Explained) -> str:
    if found.decision is None:
        return f"{found.verdict} (a trial: nothing was changed)"
    return decision_heading(found.decision, year=True) + (
        f" (x{found.decision.count})" if found.decision.count > 1 else ""
    )


def _format_names(found: api.Explained) -> str:
    if found.note and found.decision is not None:
        return shown(found.decision.device)
    return shown(", ".join(found.names)) or "a device that the policy does not name"


def _format_step(steps: list[str], begins: str) -> str:
    """What was found at a step; one that was not reached, or that stopped it, says so."""
    if (said := next((reason for reason in steps if reason.startswith(begins)), None)) is not None:
        return (
            shown(said.removeprefix(begins).lstrip("k: ").strip() or "ok", LONGEST_TEXT)
            if said != "floor ok"
            else "ok"
        )
    passed = any(reason.startswith("floor ") for reason in steps)
    return shown(steps[-1], LONGEST_TEXT) if steps and (begins == "floor " or passed) else "not reached"


def _format_rules(label: str, rules: list[api.Rule], count: set[str], most: int, everything: bool) -> Iterator[str]:
    concerning = [rule for rule in rules if rule.concerns or everything]
    counts = f"{sum(rule.effect in count for rule in rules)}/{sum(rule.concerns for rule in rules)}"
    yield from _labelled(label, counts, most)
    for rule in concerning:
        text = f"{EFFECT[rule.effect]}: {rule.why}" if rule.effect != "none" else f"no: {rule.why}"
        yield from _labelled("", f"{shown(rule.name)} {shown(text, LONGEST_TEXT)}", most)
    if others := len(rules) - len(concerning):
        yield f"{'':<{LABEL}} and {others} for other devices (--all)"


def format_facts(facts: Mapping[str, Any]) -> str:
    """The facts that say anything: times as times, in the gateway's local time."""
    known = {name: value for name, value in facts.items() if value not in (None, False, "", {}, [])}
    if "minute_of_day" in facts:
        minute, second = facts["minute_of_day"], int(facts.get("second_of_minute", 0))
        day = f"{date.fromordinal(facts['today'])} " if facts.get("today") else ""
        known = {"time": f"{day}{minute // 60:02}:{minute % 60:02}:{second:02}"} | known
    elif "wall" in known:
        known = {"time": formats.time(datetime.fromtimestamp(known["wall"]).astimezone())} | known
    if "clock_change_s" in known:
        known["clock_change_in"] = formats.duration(int(known["clock_change_s"]))
    for name in ("minute_of_day", "second_of_minute", "today", "wall", "clock_change_s"):
        known.pop(name, None)
    return ", ".join(name if value is True else f"{name} {_format_value(value)}" for name, value in known.items())


def _format_value(value: Any) -> str:
    """Lists and tables without brackets and quotes."""
    if isinstance(value, dict):
        return " ".join(f"{name} {_format_value(each)}" for name, each in value.items())
    return " ".join(map(_format_value, value)) if isinstance(value, list | tuple) else str(value)


def _labelled(label: str, text: str, most: int) -> list[str]:
    lines = wrap_labelled(label, text, most, LABEL)
    return paint_first(lines, HEADING) if label else lines
