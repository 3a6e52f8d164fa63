"""``policy check``: would this file come into force? For an editor's hand and for CI."""

import json
import sys
from datetime import datetime
from pathlib import Path

import click

from upnp_gw.errors import ConfigError
from upnp_gw.terminal import shown


@click.group()
def policy() -> None:
    """Check a policy file."""


@policy.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def check(file: Path, as_json: bool) -> None:
    """Schema, lint and the file's own [[test]] blocks. Exit code 0: it would come into force; 1: it would not."""
    from upnp_gw.gate.load import load_file

    try:
        loaded = load_file(file, datetime.now().astimezone().date())
    except ConfigError as error:
        if as_json:
            click.echo(json.dumps({"ok": False, "file": error.where, "key": error.key, "problem": error.problem}))
        else:
            click.echo(shown(str(error), 1000), err=True)
        sys.exit(1)
    warnings = [str(finding) for finding in loaded.warnings]
    if as_json:
        click.echo(json.dumps({"ok": True, "file": str(file), "warnings": warnings}))
        return
    for warning in warnings:
        click.echo(f"warning: {shown(warning, 1000)}")
    counts = (len(loaded.policy.grants), "grants"), (len(loaded.policy.forbids), "forbids")
    told = ", ".join(f"{count} {what}" for count, what in counts)
    click.echo(f"{shown(str(file), 1000)}: sound: {told}, every test passed")
