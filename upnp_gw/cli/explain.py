"""``explain``, ``try`` and ``reload``: the reasons of a decision, a trial, a new policy."""

import sys
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli import formats, known_values
from upnp_gw.cli.client import DaemonClient, daemon_command, print_json
from upnp_gw.cli.decisions import decision_heading, paint_verdict
from upnp_gw.cli.holder import format_holder
from upnp_gw.cli.parameters import PORT, lease_or_longest_option
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
from upnp_gw.model.device import GATEWAY, OPERATOR
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
"""Field of the API -> argument or option of ``try``."""
FACT_WORDS = {
    "standing": "refreshes an existing mapping",
    "renewing": "renewed by the gateway",
    "restoring": "restored at the start",
    "quarantined": "in quarantine",
}
"""Fact -> its words, where its name alone is not clear."""
EFFECT = {
    "none": " ",
    "denies": "denies",
    "narrows": "narrows",
    "full": "no room",
    "covers": "covers",
    "charged": "CHARGED",
}


@click.command()
@click.argument("decision", shell_complete=known_values.decisions)
@click.option("--all", "everything", is_flag=True, help="Rules for other devices too.")
@daemon_command
def explain(daemon: DaemonClient, as_json: bool, decision: str, everything: bool) -> None:
    """Explain DECISION: every rule that was looked at, and the facts. Its id (d17) is in log, show and refusals."""
    from urllib.parse import quote

    body = daemon.request("GET", f"/v1/decisions/{quote(decision, safe='')}")
    if as_json:
        print_json(body)
        return
    explained = msgspec.json.decode(body, type=api.Explained)
    click.echo("\n".join(format_explanation(explained, table_columns(), everything)))


@click.command("try")
@click.argument("transport", type=click.Choice([transport.value for transport in Transport]))
@click.argument("port", type=PORT)
@click.option("--device", metavar="NAME|MAC", help="The device that asks.", shell_complete=known_values.devices)
@click.option("--from", "address", metavar="ADDRESS", help="Or: its source address.")
@click.option("--via", type=click.Choice([via.value for via in Via]), default="igd1", show_default=True)
@click.option("--ext", type=PORT, help="The external port.  [default: PORT]")
@click.option("--ttl", callback=lease_or_longest_option, metavar="TIME", help="The lease.  [default: the longest]")
@click.option("--for", "client", metavar="ADDRESS", help="The internal client.  [default: the device]")
@click.option("--remote", metavar="PREFIX", help="The remote host.  [default: any]")
@click.option("--remote-port", type=PORT, help="The remote host's port.  [default: any]")
@click.option(
    "--policy", "file", type=click.Path(path_type=Path), metavar="FILE", help="Use this file, not the daemon."
)
@click.option("--all", "everything", is_flag=True, help="Rules for other devices too.")
@daemon_command
def try_(
    daemon: DaemonClient, as_json: bool, file: Path | None, everything: bool, **given: str | int | None
) -> None:
    """Show the answer that a request for internal PORT would get now. Changes nothing.

    With --policy only the file decides, without a daemon, as in its [[test]] blocks: a named device is present and
    has no mappings. Exit code 0: the request would be allowed; 1: it would not.
    """
    if (given["device"] is None) == (given["address"] is None):
        raise click.UsageError("name the device that asks: either --device or --from")
    trial_fields = {
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
    explained = _try_by_daemon(daemon, trial_fields) if file is None else _try_by_file(file, trial_fields)
    if as_json:
        print_json(api.encode(explained))
    else:
        click.echo("\n".join(format_explanation(explained, table_columns(), everything)))
    sys.exit(0 if explained.verdict == "allow" else 1)


def _try_by_daemon(daemon: DaemonClient, trial_fields: dict[str, str | int | None]) -> api.Explained:
    body = daemon.request("POST", "/v1/try", body=trial_fields, options=OPTION_OF)
    return msgspec.json.decode(body, type=api.Explained)


def _try_by_file(file: Path, trial_fields: dict[str, str | int | None]) -> api.Explained:
    """Tries the request as a ``[[test]]`` of this file does: facts that are not given are favourable."""
    from upnp_gw.control.dry_run import try_by_policy
    from upnp_gw.gate.load import load_file
    from upnp_gw.model.errors import ConfigError

    try:
        trial = msgspec.convert(trial_fields, api.Trial)
        return try_by_policy(load_file(file, datetime.now().astimezone().date()).policy, trial, str(file))
    except msgspec.ValidationError as error:
        field, problem = api.problem_of(error, api.Trial, trial_fields)
        raise click.UsageError(shown(f"{OPTION_OF.get(field or '', field)}: {problem}", LONGEST_TEXT)) from None
    except ConfigError as error:
        raise click.UsageError(shown(str(error), 1000)) from None


@click.command()
@daemon_command
def reload(daemon: DaemonClient, as_json: bool) -> None:
    """Load the policy files again, all or nothing. Lists mappings that the new policy does not allow.

    Exit code 1: the files have an error, and the old policy stays in force.
    """
    body = daemon.request("POST", "/v1/reload")
    if as_json:
        print_json(body)
        return
    reloaded = msgspec.json.decode(body, type=api.Reloaded)
    for warning in reloaded.warnings:
        print_text(paint("warning:", CAUTION) + f" {shown(warning, 1000)}")
    for revoked in reloaded.fallen:
        target = formats.endpoint(shown(revoked.internal_client), revoked.internal_port)
        mapping = f"{revoked.transport} {revoked.external_port} -> {target}"
        fate = "kept until its lease ends" if revoked.kept else "ended"
        device = shown(revoked.device_name or revoked.device, formats.LONGEST_DEVICE)
        print_text(f"{shown(revoked.mapping)} {device} {mapping}: {fate}")
        print_text(f"    {shown(revoked.decision)} {shown(revoked.reason, LONGEST_TEXT)}", further=" " * 8)
    for text in reloaded.opens:
        print_text(paint("opens more:", CAUTION) + f" {shown(text, 1000)}", further="    ")
    same = "unchanged" if reloaded.hash == reloaded.before else f"before: {reloaded.before}"
    kept = formats.plural(reloaded.standing, "mapping")
    print_text(shown(f"in force: {reloaded.source}, policy {reloaded.hash} ({same}); {kept} kept", 400))
    from upnp_gw.gate.builtin import WHERE

    if reloaded.source == WHERE:
        print_text(
            'No policy file is configured. Write [gate] policy = "FILE" into the configuration and restart upnp-gw.'
        )


# -- explanations as text


def format_explanation(explained: api.Explained, most: int, everything: bool = False) -> list[str]:
    """The whole trace. ``everything``: also rules for other devices."""
    first, *more = wrap(_format_heading(explained), most, "    ")
    verdict = explained.decision.verdict if explained.decision else explained.verdict
    lines = [
        paint_verdict(first, verdict),
        *more,
        *(_labelled("note", shown(explained.note, LONGEST_TEXT), most) if explained.note else ()),
    ]
    if explained.decision is not None and explained.decision.device == GATEWAY:
        return [*lines, *_format_all_mappings(explained, most)]
    steps = [reason for reason in explained.reasons if not reason.startswith(("forbids ", "grants "))]
    for label, text in (
        ("who", _format_names(explained)),
        ("floor", _format_step(steps, "floor ")),
        ("limits", _format_step(steps, "limits ")),
    ):
        lines += _labelled(label, text, most)
    if explained.note:
        for label, _, text in (reason.partition(" ") for reason in explained.reasons if reason not in steps):
            lines += _labelled(label, shown(text, LONGEST_TEXT), most)
    else:
        lines += _format_rules("forbids", explained.forbids, {"denies"}, most, everything)
        lines += _format_rules("grants", explained.grants, {"full", "covers", "charged"}, most, everything)
    for reason in steps[:-1]:
        if not reason.startswith(("floor ", "limits ")):
            lines += _labelled("then", shown(reason, LONGEST_TEXT), most)
    lease = (
        f", lease {formats.duration(explained.lease_s)}"
        if explained.lease_s is not None and verdict != "busy"
        else ""
    )
    lines += _labelled(
        "answer",
        shown(explained.reasons[-1] if explained.reasons else explained.verdict, LONGEST_TEXT) + lease,
        most,
    )
    if explained.holder is not None:
        lines += _labelled("holder", format_holder(explained.holder), most)
    lines += _labelled("facts", shown(format_facts(explained.facts), LONGEST_TEXT), most)
    kept_rules = "; the rules are as they were" if explained.grants or explained.forbids else ""
    lines += _labelled(
        "policy", shown(explained.policy) + f", no longer in force{kept_rules}" * explained.superseded, most
    )
    return lines


def _format_all_mappings(explained: api.Explained, most: int) -> Iterator[str]:
    """A decision about all mappings at once: the ids of those that changed or ended, then of all."""
    *lists, answer = explained.reasons
    labelled = [
        ("answer", answer),
        *(reason.split(": ", 1) for reason in reversed(lists)),
        ("policy", explained.policy),
    ]
    for label, text in labelled:
        yield from wrap_labelled(label, shown(text, LONGEST_TEXT), most, LABEL + 1)


def _format_heading(explained: api.Explained) -> str:
    if explained.decision is None:
        return f"{explained.verdict} (trial: nothing was changed)"
    return decision_heading(explained.decision, year=True) + (
        f" (x{explained.decision.count})" if explained.decision.count > 1 else ""
    )


def _format_names(explained: api.Explained) -> str:
    if explained.note and explained.decision is not None:
        return shown(explained.decision.device)
    if explained.decision is not None and explained.decision.device == OPERATOR:
        return "the operator (upnp-gw add), who needs no grant"
    return shown(", ".join(explained.names)) or "a device without a name in the policy"


def _format_step(steps: list[str], prefix: str) -> str:
    """The result of a step: ``ok``, the reason of a refusal, or ``not reached``."""
    if (result := next((reason for reason in steps if reason.startswith(prefix)), None)) is not None:
        return (
            shown(result.removeprefix(prefix).lstrip("k: ").strip() or "ok", LONGEST_TEXT)
            if result != "floor ok"
            else "ok"
        )
    passed = any(reason.startswith("floor ") for reason in steps)
    return shown(steps[-1], LONGEST_TEXT) if steps and (prefix == "floor " or passed) else "not reached"


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
    """The facts that have a value, with times as local times."""
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
    words = {name: FACT_WORDS.get(name, name) for name in known}
    return ", ".join(
        words[name] if value is True else f"{words[name]} {_format_value(value)}" for name, value in known.items()
    )


def _format_value(value: Any) -> str:
    """Lists and tables without brackets and quotes."""
    if isinstance(value, dict):
        return " ".join(f"{name} {_format_value(each)}" for name, each in value.items())
    return " ".join(map(_format_value, value)) if isinstance(value, list | tuple) else str(value)


def _labelled(label: str, text: str, most: int) -> list[str]:
    lines = wrap_labelled(label, text, most, LABEL)
    return paint_first(lines, HEADING) if label else lines
