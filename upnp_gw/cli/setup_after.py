"""The end of ``upnp-gw setup``: the doctor's findings with their commands, and the service."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli import formats
from upnp_gw.cli.client import DaemonClient, RequestProblem
from upnp_gw.cli.health import format_check
from upnp_gw.cli.setup_questions import note
from upnp_gw.cli.terminal import BAD, GOOD, HEADING, paint, print_text, table_columns
from upnp_gw.config.settings import Config
from upnp_gw.firewall.libnftables import check_library
from upnp_gw.installation.programs import run, words
from upnp_gw.model.errors import FirewallError
from upnp_gw.setup.files import Change, read_text, write
from upnp_gw.setup.machine import Machine, runs_as_service
from upnp_gw.setup.service import GATEWAY, PAGE, Wanted, commands
from upnp_gw.setup.system_files import SYSCTLS, kept_sysctls
from upnp_gw.text.escape import shown

LONGEST_OUTPUT = 4000
SYSCTL = "sysctl -w "
UNTIL_RELOAD = (
    "this ends with the next boot, or when that firewall is loaded again: write it into its configuration too"
)


@dataclass(frozen=True, slots=True)
class After:
    """The state after the files were written."""

    config_file: Path
    policy_file: Path
    config: Config
    machine: Machine
    daemon: DaemonClient
    asks: bool
    """True: a person at a terminal is asked before anything is run."""
    fix: bool
    start: bool
    for_service: bool
    """True: the files are those of the service."""
    config_changed: bool
    policy_changed: bool
    unit_changed: bool


def finish(after: After) -> int:
    """Doctor and service. Returns the exit code: 1 if a command failed."""
    pid = _daemon_pid(after.daemon)
    checks = _examine(after, pid)
    _show_checks(checks)
    ran, all_well = _offer_commands(after, checks)
    if ran:
        _show_checks(_examine(after, pid), "The doctor checked again:")
    started = _service(after, pid)
    return 0 if all_well and started else 1


def _daemon_pid(daemon: DaemonClient) -> int | None:
    """The process that answers at the control socket; None: none does."""
    if not daemon.running():
        return None
    return msgspec.json.decode(daemon.request("GET", "/v1/status"), type=api.Status).pid


def _examine(after: After, pid: int | None) -> list[api.Check]:
    import asyncio  # only the doctor needs it

    from upnp_gw.doctor import examine

    try:
        check_library()
    except FirewallError as error:
        remedy = "as root: apt install --only-upgrade libnftables1 nftables"
        return [api.Check(name="nftables", outcome="fail", finding=str(error), remedy=remedy)]
    return asyncio.run(examine(after.config, pid, page=_has_page(after)))


def _has_page(after: After) -> bool:
    """True if the page runs as a service once the set-up is done."""
    return after.config.page_lan != "off" and PAGE in after.machine.service.installed


def _show_checks(checks: Sequence[api.Check], heading: str = "The doctor checked the machine:") -> None:
    good = sum(check.outcome == "ok" for check in checks)
    print_text("\n" + paint(heading, HEADING) + f" {good} of {formats.plural(len(checks), 'finding')} ok.")
    for check in checks:
        if check.outcome != "ok":
            click.echo("\n".join(format_check(check, table_columns())))


# -- commands of the doctor


def _offer_commands(after: After, checks: Sequence[api.Check]) -> tuple[bool, bool]:
    """Runs the commands that get a yes. Two flags: some were run; none failed."""
    ran, all_well, sysctls = False, True, list[str]()
    for check in checks:
        if not check.commands or not _wanted(after, check):
            continue
        ran = True
        if not all(map(_run, check.commands)):
            all_well = False
        elif not check.lasting:
            sysctls += [command for command in check.commands if command.startswith(SYSCTL)]
            others = [command for command in check.commands if not command.startswith(SYSCTL)]
            if others:
                note(f"{'this ends with the next boot' if others[0].startswith('ip ') else UNTIL_RELOAD}.")
    if sysctls:
        _keep_sysctls(after, sysctls)
    return ran, all_well


def _wanted(after: After, check: api.Check) -> bool:
    """True if somebody said yes. ``--fix`` is a yes to commands that take nothing from other programs."""
    if after.fix and not check.caution:
        return True
    return after.asks and _asked(check)


def _asked(check: api.Check) -> bool:
    click.echo(f"\n{check.name}: {shown(check.finding, 300)}")
    for command in check.commands:
        click.echo(f"  {shown(command, 900)}")
    if check.caution:
        note(f"{shown(check.caution, 300)}.")
    return click.confirm("Run this now?" if len(check.commands) == 1 else "Run these now?", default=False)


def _run(command: str) -> bool:
    """Runs a command, and says what came back. False: it failed."""
    click.echo(f"$ {shown(command, 900)}")
    result = run(words(command))
    for line in result.output[:LONGEST_OUTPUT].splitlines():
        click.echo(f"  {shown(line, 300)}")
    outcome = paint("done", GOOD) if result.code == 0 else paint(f"failed, exit code {result.code}", BAD)
    click.echo(f"  {outcome}")
    return result.code == 0


def _keep_sysctls(after: After, sysctls: Sequence[str]) -> None:
    """Offers to write sysctls that were set into a file that is read at boot."""
    settings = ", ".join(command.removeprefix(SYSCTL) for command in sysctls)
    if not after.for_service:
        note(f"this ends with the next boot, unless a file in /etc/sysctl.d has it: {shown(settings, 300)}")
        return
    if after.fix or click.confirm(f"Keep it at boot, in {SYSCTLS}?", default=False):
        before = read_text(SYSCTLS)
        copies = write([Change(SYSCTLS, before, kept_sysctls(before, sysctls))], datetime.now().astimezone())
        print_text(f"{paint('wrote', GOOD)} {SYSCTLS}")
        for copy in copies:
            print_text(f"the old file is {copy}")


# -- the service


def _service(after: After, pid: int | None) -> bool:
    """Starts, restarts or reloads. False: that failed."""
    click.echo()
    if after.for_service and GATEWAY in after.machine.service.installed and (pid is None or runs_as_service(pid)):
        return _systemd(after, pid)
    file = shown(str(after.config_file), 300)
    if pid is None:
        print_text(f"To start the gateway: upnp-gw run --config {file}")
        if after.config.page_lan != "off":
            print_text(f"To start its page: upnp-gw page --config {file}")
    elif after.config_changed:
        print_text(
            f"The gateway runs (pid {pid}). The new configuration needs a restart: upnp-gw run --config {file}"
        )
    elif after.policy_changed:
        return _reload(after)
    else:
        print_text(f"The gateway runs (pid {pid}).")
    return True


def _systemd(after: After, pid: int | None) -> bool:
    wanted = Wanted(
        after.config.firewall,
        after.config.page_lan != "off",
        pid is not None,
        after.config_changed,
        after.unit_changed,
    )
    steps = [" ".join(argv) for argv in commands(after.machine.service, wanted)]
    if not steps:
        return _reload(after) if after.policy_changed else _say_running(after)
    if not after.machine.service.booted:
        print_text("systemd does not run this machine now. Once it does:")
    elif not after.start:
        print_text("To put it into force:")
    runs = after.machine.service.booted and after.start
    if after.asks or not runs:
        for step in steps:
            click.echo(f"  {step}")
    if not runs:
        return True
    if after.asks and not click.confirm("Run these now?", default=True):
        return True
    if not all(map(_run, steps)):
        print_text("The log says why: journalctl -u upnp-gw")
        return False
    return _say_running(after)


def _say_running(after: After) -> bool:
    print_text("The gateway runs. To see it: upnp-gw status")
    if _has_page(after):
        print_text("To sign in to its page: upnp-gw open")
    elif after.config.page_lan != "off":
        print_text("Its page is no service here. To run it: upnp-gw page")
    return True


def _reload(after: After) -> bool:
    if not after.start or (after.asks and not click.confirm("Load the new policy now?", default=True)):
        print_text("The gateway runs with the old policy. To load the new one: upnp-gw reload")
        return True
    try:
        reloaded = msgspec.json.decode(after.daemon.request("POST", "/v1/reload"), type=api.Reloaded)
    except RequestProblem as error:
        print_text(f"The old policy stays in force: {error.format_message()}")
        return False
    if reloaded.source != str(after.policy_file):
        note(f"the gateway that runs has another policy file: {shown(reloaded.source, 400)}. It was loaded again.")
        return True
    ended = len(reloaded.fallen)
    print_text(
        f"In force: {shown(reloaded.source, 400)}, policy {shown(reloaded.hash)}."
        + f" Mappings that it does not allow: {ended} (upnp-gw log)." * bool(ended)
    )
    return True
