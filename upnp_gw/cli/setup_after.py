"""The end of ``upnp-gw setup``: the doctor's findings with their commands, and the service."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli.client import DaemonClient, RequestProblem
from upnp_gw.cli.health import format_check
from upnp_gw.cli.terminal import BAD, CAUTION, GOOD, HEADING, paint, print_text, table_columns
from upnp_gw.config.settings import Config
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.firewall.libnftables import check_library
from upnp_gw.model.errors import FirewallError
from upnp_gw.setup.machine import Machine
from upnp_gw.setup.programs import run, words
from upnp_gw.text.escape import shown

LONGEST_OUTPUT = 2000


@dataclass(frozen=True, slots=True)
class After:
    """The state after the files were written."""

    config_file: Path
    config: Config
    machine: Machine
    daemon: DaemonClient
    asks: bool
    """True: a person at a terminal is asked before anything is run."""
    fix: bool
    start: bool
    config_changed: bool
    policy_changed: bool


def finish(after: After) -> int:
    """Doctor and service. Returns the exit code."""
    running = after.daemon.running()
    checks = _examine(after, running)
    _show_checks(checks)
    failed = _offer_commands(after, checks)
    if failed is None:
        checks = _examine(after, running)
        click.echo()
        print_text("Checked again:")
        _show_checks(checks)
    ended_well = _service(after, running)
    return 0 if ended_well and not any(check.outcome == "fail" for check in checks) else 1


def _examine(after: After, running: bool) -> list[api.Check]:
    from upnp_gw.doctor import examine

    try:
        check_library()
    except FirewallError as error:
        remedy = "as root: apt install --only-upgrade libnftables1 nftables"
        return [api.Check(name="nftables", outcome="fail", finding=str(error), remedy=remedy)]
    pid = None
    if running:
        pid = msgspec.json.decode(after.daemon.request("GET", "/v1/status"), type=api.Status).pid
    return asyncio.run(examine(after.config, pid))


def _show_checks(checks: Sequence[api.Check]) -> None:
    click.echo()
    good = sum(check.outcome == "ok" for check in checks)
    print_text(paint("Doctor:", HEADING) + f" {good} of {len(checks)} checks are ok")
    for check in checks:
        if check.outcome != "ok":
            click.echo("\n".join(format_check(check, table_columns())))


def _offer_commands(after: After, checks: Sequence[api.Check]) -> bool | None:
    """Runs the commands that get a yes. None: some were run; else False."""
    ran = False
    for check in checks:
        if not check.commands:
            continue
        commands = shown(" && ".join(check.commands), 900)
        if not after.fix and not (after.asks and click.confirm(f"\n{check.name}: run {commands} ?", default=False)):
            continue
        ran = True
        if _run_all(check.commands) and not check.lasting:
            print_text(
                paint("note:", CAUTION) + " this lasts until the next boot, or until that firewall is loaded again."
                " Write it into its configuration too."
            )
    return None if ran else False


def _run_all(commands: Sequence[str]) -> bool:
    """Runs commands in order, up to the first that fails. False: one failed."""
    return all(_run(words(command)) for command in commands)


def _run(argv: Sequence[str]) -> bool:
    """Runs a command, and says so, with its output."""
    text = shown(" ".join(argv), 900)
    click.echo(f"$ {text}")
    result = run(argv)
    for line in result.output[:LONGEST_OUTPUT].splitlines():
        click.echo(f"  {shown(line, 300)}")
    if result.code == 0:
        click.echo(f"  {paint('done', GOOD)}")
        return True
    print_text(f"  {paint('failed', BAD)}: exit code {result.code}")
    return False


def _service(after: After, running: bool) -> bool:
    """Starts, restarts or reloads. False: it failed."""
    click.echo()
    if running and not (after.config_changed or after.policy_changed):
        print_text("The gateway runs with these files.")
        return True
    if running and not after.config_changed:
        return _reload(after)
    if "upnp-gw" not in after.machine.units:
        verb = "Stop it and start it again" if running else "To start it"
        print_text(f"{verb}: upnp-gw run --config {shown(str(after.config_file), 300)}")
        return True
    units = [name for name in _units(after) if name in after.machine.units]
    command = ["systemctl", "restart" if running else "enable", *([] if running else ["--now"]), *units]
    if not after.machine.systemctl:
        print_text(f"To {'restart' if running else 'start'} it: {' '.join(command)}")
        return True
    if not _yes(after, f"Run {' '.join(command)} ?"):
        print_text(f"Not {'restarted' if running else 'started'}. Later: {' '.join(command)}")
        return True
    if _run(command):
        print_text("The gateway runs. To see it: upnp-gw status")
        return True
    print_text("journalctl -u upnp-gw says why")
    return False


def _units(after: After) -> list[str]:
    closed = ["upnp-gw-closed"] if after.config.firewall is FirewallMode.ROUTER else []
    return [*closed, "upnp-gw", *(["upnp-gw-page"] if after.config.page_lan != "off" else [])]


def _yes(after: After, question: str) -> bool:
    return after.start and (not after.asks or click.confirm(question, default=True))


def _reload(after: After) -> bool:
    if not _yes(after, "The gateway runs. Load the new policy now?"):
        print_text("The new policy is not in force. Later: upnp-gw reload")
        return True
    try:
        reloaded = msgspec.json.decode(after.daemon.request("POST", "/v1/reload"), type=api.Reloaded)
    except RequestProblem as error:
        print_text(f"{paint('not loaded', BAD)}: {error.format_message()}")
        return False
    print_text(
        f"in force: {shown(reloaded.source, 400)}, policy {reloaded.hash}; {len(reloaded.fallen)} mappings ended"
    )
    return True
