"""``restore``: puts the state of a backup in place, while the gateway is stopped."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

import click
import msgspec

from upnp_gw.cli.backup import CONFIG, CONFIG_ERROR, STDOUT
from upnp_gw.cli.client import DaemonClient, RequestProblem, daemon_command, exit_with_error, print_json
from upnp_gw.cli.restore_report import print_report
from upnp_gw.cli.terminal import print_text
from upnp_gw.model.errors import ConfigError, GatewayError
from upnp_gw.model.mapping import IPNetwork
from upnp_gw.text.escape import shown

if TYPE_CHECKING:
    from upnp_gw.backup.rebuilding import Choice
    from upnp_gw.config.file_places import Places

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--dry-run", is_flag=True, help="Check the file and show what it brings; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--without-mappings", is_flag=True, help="Open none of its mappings.")
@click.option("--with-deleted", is_flag=True, help="Also mappings that were deleted here since the backup.")
@click.option("--new-identity", is_flag=True, help="Clients see another gateway: new UUID, new URLs.")
@click.option(
    "--files",
    "files",
    type=_PATH,
    metavar="DIR",
    help="Only write its config.toml and policy.toml into DIR; restore no state.",
)
@click.option(
    "--config", "config_file", type=_PATH, metavar="FILE", help=f"Configuration, TOML.  [default: {CONFIG}]"
)
@click.option(
    "--state-dir", type=_PATH, metavar="DIR", help="Directory of the state. Default: of the configuration."
)
@daemon_command
def restore(
    daemon: DaemonClient,
    as_json: bool,
    file: str,
    dry_run: bool,
    yes: bool,
    without_mappings: bool,
    with_deleted: bool,
    new_identity: bool,
    files: Path | None,
    config_file: Path | None,
    state_dir: Path | None,
) -> None:
    """Put the state of a backup in place. FILE - is the standard input. The gateway must be stopped.

    The whole file is checked before anything changes. The files that were there stay beside the new ones, under
    other names. At its next start the gateway decides about each mapping again: nothing opens that the policy of
    this machine does not allow.
    """
    from upnp_gw.backup.rebuilding import Choice
    from upnp_gw.config.file_places import read_places

    choice = Choice(mappings=not without_mappings, deleted=with_deleted, identity=not new_identity)
    try:
        with _opened(file) as source:
            if files is not None:
                _write_files(source, files)
                return
            places = read_places(config_file, CONFIG, state_dir)
            if not dry_run and daemon.running():
                problem = "upnp-gw is running and would write over the restored state: stop it first"
                raise RequestProblem({"error": "running", "message": problem})
            asks = not yes and file != STDOUT and sys.stdin.isatty()
            if not (yes or dry_run or asks):
                raise click.UsageError("cannot ask for confirmation here: use --dry-run to look, then --yes")
            _restore(source, places, choice, dry_run, asks, as_json)
    except ConfigError as error:
        print_text(f"upnp-gw restore: {shown(str(error), 1000)}", err=True)
        sys.exit(CONFIG_ERROR)
    except GatewayError as error:
        exit_with_error(click.ClickException(shown(f"nothing was changed: {error}", 1000)), as_json)
    except OSError as error:
        exit_with_error(click.ClickException(shown(f"not restored: {error}", 1000)), as_json)


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    from upnp_gw.system.files import opened

    if file == STDOUT:
        yield sys.stdin.buffer
        return
    with opened(Path(file)) as source:
        yield source


def _restore(
    source: BinaryIO, places: "Places", choice: "Choice", dry_run: bool, asks: bool, as_json: bool
) -> None:
    """Raises GatewayError, OSError, and Abort on no."""
    from upnp_gw.backup.manifest import APPROVED
    from upnp_gw.backup.report import report_of
    from upnp_gw.backup.restoring import Restore
    from upnp_gw.system.clock import boot_id, clock
    from upnp_gw.system.owners import acting_as_owner

    os.umask(0o027)
    with _staged(places, dry_run) as staging, acting_as_owner(staging):
        one = Restore(staging, places.state_dir, places.policy, boot_id(), clock(), choice)
        try:
            one.read(source)
            report = report_of(one, _present_rules(places.state_dir / APPROVED), _networks())
            if not as_json:
                print_report(report, dry_run)
            if asks:
                click.confirm("Restore this?", abort=True, err=True)
            if not dry_run:
                kept = [str(path) for path in one.perform()]
                report = msgspec.structs.replace(report, performed=True, kept=kept)
        except BaseException:
            with suppress(OSError):
                one.clear()
            raise
    if as_json:
        print_json(msgspec.json.encode(report))
    elif not dry_run:
        print_text("Restored. Start the gateway: it decides about each mapping again.")
        for path in report.kept:
            print_text(f"kept: {shown(path, 400)}")


@contextmanager
def _staged(places: "Places", dry_run: bool) -> Iterator[Path]:
    """The directory for new files: the state directory, locked, or for a dry run one that goes away."""
    from upnp_gw.backup.placing import finish
    from upnp_gw.system.clock import own_state_directory
    from upnp_gw.system.owners import acting_as_owner
    from upnp_gw.system.privileges import give_new_directory
    from upnp_gw.system.state_lock import StateLock

    if dry_run:
        with TemporaryDirectory(prefix="upnp-gw-restore-") as directory:
            yield Path(directory)
        return
    if not places.state_dir.exists():
        own_state_directory(places.state_dir)
        give_new_directory(places.state_dir, places.user)
    lock = StateLock(places.state_dir)
    try:
        with acting_as_owner(places.state_dir):
            finish(places.state_dir)
        yield places.state_dir
    finally:
        lock.release()


def _present_rules(path: Path) -> str:
    """The present approved.toml; empty if it cannot be read: it is kept all the same."""
    from upnp_gw.gate.load import read_own_text

    try:
        return read_own_text(path)
    except ConfigError:
        return ""


def _networks() -> Sequence[IPNetwork]:
    from upnp_gw.config.interface_detection import read_interfaces

    interfaces, _ = read_interfaces()
    return [address.network for interface in interfaces for address in interface.addresses]


def _write_files(source: BinaryIO, directory: Path) -> None:
    """Writes the operator's files of the backup. Raises GatewayError; then some may be written."""
    from upnp_gw.backup.restoring import read_files
    from upnp_gw.system.files import write_named

    with TemporaryDirectory(prefix="upnp-gw-restore-") as staging:
        texts = read_files(source, Path(staging))
    if not texts:
        raise RequestProblem({"error": "not-found", "message": "the backup has no files of the operator"})
    for name, (text, findings) in texts.items():
        path = directory / name
        write_named(path, (text.encode("utf-8"),), 0o640, replace=False)
        print_text(f"written: {shown(str(path), 400)}")
        for finding in findings:
            print_text(f"  {shown(finding, 400)}")
