"""``backup``: the state of the gateway in one file."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from upnp_gw.cli.client import DaemonClient, daemon_command, exit_with_error
from upnp_gw.cli.formats import plural
from upnp_gw.cli.terminal import print_text
from upnp_gw.model.errors import ConfigError, GatewayError
from upnp_gw.text.escape import shown

CONFIG = Path("/etc/upnp-gw/config.toml")
CONFIG_ERROR = 2
FAILED = 1
STDOUT = "-"


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--without-history", is_flag=True, help="Leave out the audit log and the evidence.")
@click.option("--force", is_flag=True, help="Replace a file of this name.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Configuration, to find the state while the gateway is stopped.  [default: {CONFIG}]",
)
@click.option(
    "--state-dir", type=click.Path(path_type=Path), metavar="DIR", help="The same, without a configuration."
)
@daemon_command
def backup(
    daemon: DaemonClient,
    as_json: bool,
    file: str,
    without_history: bool,
    force: bool,
    config_file: Path | None,
    state_dir: Path | None,
) -> None:
    """Write the state into FILE, a tar file that only you can read. FILE - is the standard output.

    A running gateway goes on meanwhile. In the file are the mappings, the devices, the rules of commands, the UUID,
    the audit log and the evidence, and copies of policy and configuration. Keep it as you keep a key.
    """
    if file == STDOUT and sys.stdout.isatty():
        raise click.UsageError("a backup is no text for a terminal: use upnp-gw backup FILE, or a pipe")
    try:
        with _source(daemon, not without_history, config_file, state_dir) as portions:
            size = _write(file, portions, force)
    except ConfigError as error:
        print_text(f"upnp-gw backup: {shown(str(error), 1000)}", err=True)
        sys.exit(CONFIG_ERROR)
    except GatewayError as error:
        problem = click.ClickException(shown(str(error), 1000))
        exit_with_error(problem, as_json)
    if as_json and file != STDOUT:
        import json

        click.echo(json.dumps({"file": file, "bytes": size}))
    elif file != STDOUT:
        print_text(f"{plural(size, 'byte')} written to {shown(file, 400)}. To put it back: upnp-gw restore FILE")


@contextmanager
def _source(
    daemon: DaemonClient, history: bool, config_file: Path | None, state_dir: Path | None
) -> Iterator[Iterator[bytes]]:
    """The bytes of the backup: from the running gateway, else from its files."""
    if state_dir is None and daemon.running():
        yield daemon.download("/v1/backup", {"history": "true" if history else "false"})
        return
    from upnp_gw.backup.making import backup_of
    from upnp_gw.backup.manifest import APPROVED, LEDGER
    from upnp_gw.config.file_places import read_places
    from upnp_gw.gate.load import read_own_text
    from upnp_gw.system.owners import acting_as_owner, entered_as_owner, read_as_owner
    from upnp_gw.system.state_lock import StateLock

    places = read_places(config_file, CONFIG, state_dir)
    lock = StateLock(places.state_dir)
    try:
        with acting_as_owner(places.state_dir):
            texts = {**places.texts, APPROVED: read_own_text(places.state_dir / APPROVED)}
        making = backup_of(places.state_dir / LEDGER, texts, history, time.time())
        with entered_as_owner(places.state_dir, making) as made:
            yield read_as_owner(places.state_dir, made.portions())
    finally:
        lock.release()


def _write(file: str, portions: Iterator[bytes], force: bool) -> int:
    """Writes the file; returns its bytes. Raises FileProblem."""
    from upnp_gw.system.files import FileProblem, write_named

    size = 0

    def counted() -> Iterator[bytes]:
        nonlocal size
        for portion in portions:
            size += len(portion)
            yield portion

    if file == STDOUT:
        for portion in counted():
            sys.stdout.buffer.write(portion)
        sys.stdout.buffer.flush()
        return size
    try:
        write_named(Path(file), counted(), 0o600, replace=force)
    except FileProblem as problem:
        if problem.problem == "exists":
            raise FileProblem(problem.path, "exists; choose another name, or use --force") from None
        raise
    return size
