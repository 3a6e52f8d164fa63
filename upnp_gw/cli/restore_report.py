"""The report of ``restore`` as text."""

from collections.abc import Iterator

import click

from upnp_gw.backup.report import Report, Restored
from upnp_gw.cli import formats
from upnp_gw.cli.devices import format_toml
from upnp_gw.cli.terminal import BAD, CAUTION, HEADING, paint, print_text
from upnp_gw.text.escape import shown

LISTED = 40
"""The most mappings of a list, and lines of rules, unless --dry-run asks for all."""


def print_report(report: Report, whole: bool) -> None:
    """``whole``: every mapping and every line of the rules."""
    most = 1_000_000 if whole else LISTED
    made_at = f"{report.made_at:%Y-%m-%d %H:%M} UTC"
    print_text(
        paint(f"Backup of {shown(report.host, 60)}, made {made_at} by upnp-gw {shown(report.version, 40)}", HEADING)
    )
    for line in _mapping_lines(report, most):
        print_text(line)
    history = formats.plural(report.decisions, "decision"), formats.plural(report.openings, "port")
    print_text(f"history: {history[0]}, evidence of {history[1]}; {formats.plural(report.devices, 'device')}")
    print_text(
        "identity: clients see another gateway than before"
        if report.uuid is None
        else f"identity: clients see the gateway with the UUID {shown(report.uuid, 60)}"
    )
    _print_rules(report, most)
    for name in report.files:
        print_text(f"{name}: not put in place; upnp-gw restore FILE --files DIR writes it into a directory")
    for warning in report.warnings:
        print_text(paint(f"warning: {shown(warning, 600)}", BAD))


def _mapping_lines(report: Report, most: int) -> Iterator[str]:
    count = len(report.restored)
    yield f"{formats.plural(count, 'mapping')} to restore; {report.ended} ended since"
    for mapping in report.restored[:most]:
        yield f"  {_mapping(mapping)}"
    if count > most:
        yield f"  and {count - most} more: upnp-gw restore FILE --dry-run lists them"
    if report.deleted:
        them = formats.plural(len(report.deleted), "mapping")
        yield f"{them} deleted here since, which stay closed (--with-deleted opens them):"
        for mapping in report.deleted[:most]:
            yield f"  {_mapping(mapping)}"


def _mapping(mapping: Restored) -> str:
    notes = []
    if mapping.operator:
        notes.append(paint("added by the operator: no grant is needed", CAUTION))
    if mapping.elsewhere:
        notes.append(paint("in no network of this machine: it ends at the start", CAUTION))
    internal = formats.endpoint(mapping.internal_client, mapping.internal_port)
    left = formats.duration(mapping.lease_left_s)
    words = (
        f"{mapping.transport.value} {mapping.external_port} -> {internal}, {shown(mapping.device, 60)}, {left} left"
    )
    return "; ".join((words, *notes))


def _print_rules(report: Report, most: int) -> None:
    if report.lifted:
        names = ", ".join(shown(name, 60) for name in report.lifted)
        print_text(paint(f"rules of commands that it does NOT have, so that they end: {names}", BAD))
    if not report.rules:
        click.echo("rules of commands (approved.toml): none")
        return
    click.echo("rules of commands (approved.toml):")
    lines = [line for line in format_toml(report.rules).split("\n") if line and not line.startswith("#")]
    for line in lines[:most]:
        click.echo(f"  {line}")
    if len(lines) > most:
        click.echo(f"  and {len(lines) - most} more lines: upnp-gw restore FILE --dry-run shows them")
