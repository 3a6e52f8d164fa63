"""``notify test``: a test message to every ``[[notify]]``."""

import json
import sys
from pathlib import Path

import click

from upnp_gw.cli.terminal import print_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.escape import shown

CONFIG_ERROR = 2
NOT_SENT = 1


@click.group()
def notify() -> None:
    """Check the messages that `upnp-gw page` sends."""


@notify.command("test")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=Path("/etc/upnp-gw/config.toml"),
    show_default=True,
    metavar="FILE",
    help="Configuration file, TOML.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def test(config_file: Path, as_json: bool) -> None:
    """Send a test message to every [[notify]], once, and show what came back.

    It is sent by this command and not by the page: as the user who runs it. Exit code 1: one was not delivered.
    """
    from upnp_gw.config.page_settings import load_page
    from upnp_gw.notify.trying import try_targets

    try:
        targets = load_page(config_file, {}).notify
    except ConfigError as error:
        print_text(f"upnp-gw notify: {shown(str(error), 1000)}", err=True)
        sys.exit(CONFIG_ERROR)
    if not targets and not as_json:
        print_text(f"{shown(str(config_file))} has no [[notify]]: see docs/notify.md", err=True)
        sys.exit(CONFIG_ERROR)
    answers = try_targets(targets)
    if as_json:
        rows = [
            {"target": target.shown, "sent": answer.sent, "answer": answer.sentence}
            for target, answer in zip(targets, answers, strict=True)
        ]
        click.echo(json.dumps(rows, indent=2))
    else:
        for target, answer in zip(targets, answers, strict=True):
            print_text(f"{target.shown}: {'sent' if answer.sent else 'NOT sent'}, {answer.sentence}")
    sys.exit(0 if all(answer.sent for answer in answers) else NOT_SENT)
