"""``setup``: five questions, the files, the doctor, the service."""

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import click

from upnp_gw.cli.client import DaemonClient
from upnp_gw.cli.parameters import runtime_dir_option
from upnp_gw.cli.run import CONFIG_ERROR
from upnp_gw.cli.setup_after import After, finish
from upnp_gw.cli.setup_dialogue import Before, ask_all, show_machine
from upnp_gw.cli.setup_questions import Questions
from upnp_gw.cli.terminal import BAD, CAUTION, GOOD, HEADING, LONGEST_TEXT, paint, print_text
from upnp_gw.config.file import parse_text, read_file
from upnp_gw.config.interface_detection import check_apart
from upnp_gw.config.settings import Config, check_links
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.gate.list_files import ListFiles
from upnp_gw.gate.load import load_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import IPNetwork
from upnp_gw.setup.answers import NAT, NO_NAT, SIGN_INS, Answers, NotAccepted
from upnp_gw.setup.documents import Surroundings, configuration, guest_lans, policy
from upnp_gw.setup.files import Change, read_text, write
from upnp_gw.setup.machine import Machine, read_machine
from upnp_gw.setup.service import GATEWAY
from upnp_gw.setup.system_files import DROP_IN, closed_table, drop_in
from upnp_gw.system.files import FileProblem
from upnp_gw.text.escape import shown
from upnp_gw.text.toml import locate_errors

ETC = Path("/etc/upnp-gw")
"""The directory of the service. The files of systemd and the sysctls are for a set-up of this one alone."""
_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--wan", metavar="IF", help="Interface to the internet.")
@click.option(
    "--lan",
    multiple=True,
    metavar="IF[:guests][:no-nat]",
    help="Interface to serve; repeatable, the home LAN first.",
)
@click.option(
    "--firewall", metavar="beside|own", help="beside: one table in your firewall; own: the whole firewall."
)
@click.option("--nat/--no-nat", default=None, help="Translate the hosts of all LANs, or of none.")
@click.option("--policy", metavar="PROFILE", help="home, ask, locked, or keep: the file stays as it is.")
@click.option(
    "--page", metavar="own|all|off", help="Ports that a device of the LAN sees in a browser; off: no page."
)
@click.option("--sign-in", metavar="ssh|lan", help="Sign in to the page through ssh, or from the LAN over TLS.")
@click.option(
    "--config-dir", type=_PATH, default=ETC, metavar="DIR", help=f"Directory of the files.  [default: {ETC}]"
)
@click.option("--yes", is_flag=True, help="Ask nothing: take what is detected, write, start the service.")
@click.option("--dry-run", is_flag=True, help="Show the files; write and start nothing.")
@click.option("--fix", is_flag=True, help="Run the commands of the doctor without asking.")
@click.option("--no-start", is_flag=True, help="Leave the service as it is.")
@runtime_dir_option()
def setup(
    config_dir: Path,
    yes: bool,
    dry_run: bool,
    fix: bool,
    no_start: bool,
    runtime_dir: Path | None,
    **given: Any,
) -> None:
    """Set this machine up as a gateway, by five questions.

    What is detected is the default of each answer. Configuration and policy are shown before they are written, and
    a file that changes is copied. Then the doctor checks the machine. A command that mends something, or starts the
    service, is run after a yes.

    Exit code 0: done; 1: a command failed, or you said no; 2: an answer is missing or not accepted, and nothing was
    written.
    """
    try:
        sys.exit(_setup(config_dir.absolute(), _options(given), yes, dry_run, fix, not no_start, runtime_dir))
    except (ConfigError, FileProblem) as error:
        print_text(f"upnp-gw: {shown(str(error), 1000)}", err=True)
        sys.exit(CONFIG_ERROR)


def _options(given: dict[str, Any]) -> dict[str, str]:
    """Option -> answer, in the words of the questions. Raises UsageError."""
    found = {f"--{name}": given[name] for name in ("wan", "firewall", "policy", "page") if given[name] is not None}
    if given["lan"]:
        found["--lan"] = " ".join(given["lan"])
    if given["nat"] is not None:
        found["--nat"] = NAT if given["nat"] else NO_NAT
    if given["sign_in"] is not None:
        if given["sign_in"] not in SIGN_INS:
            raise click.UsageError(f"--sign-in: {NotAccepted(given['sign_in'], ' or '.join(SIGN_INS))}")
        found["--sign-in"] = given["sign_in"]
    return found


def _setup(
    directory: Path,
    options: dict[str, str],
    yes: bool,
    dry_run: bool,
    fix: bool,
    start: bool,
    runtime_dir: Path | None,
) -> int:
    at_terminal = sys.stdin.isatty()
    if not (yes or dry_run or at_terminal):
        raise click.UsageError(
            "setup asks questions, and this is no terminal: --yes takes what is detected, --dry-run shows it, and"
            " each answer is an option"
        )
    if not dry_run:
        check_right(directory)
    config_file = directory / "config.toml"
    before = read_text(config_file)
    now = None if before is None else Config(**{"wan": "", "lan": (), **parse_text(before, str(config_file))})
    policy_file = directory / "policy.toml" if now is None or now.policy is None else directory / now.policy
    policy_before = read_text(policy_file)
    machine = _read_machine()
    asks = at_terminal and not yes
    if asks:
        print_text(
            "Five questions. Return takes the answer in brackets; Ctrl-C ends, and nothing is written.", further=""
        )
        click.echo()
    show_machine(machine)
    guests_now = guest_lans(policy_before, str(policy_file), machine.interfaces)
    answers = ask_all(Questions(options, asks), machine, Before(now, guests_now, policy_before is not None))
    around = Surroundings(policy_file, _first_address(machine, answers), machine.page_group)
    guests = _guests(machine, answers)
    changes = [
        Change(policy_file, policy_before, policy(policy_before, str(policy_file), answers, guests)),
        Change(config_file, before, configuration(before, str(config_file), answers, around)),
        *_system_changes(directory, machine, answers),
    ]
    _check(changes[0], changes[1], machine)
    show_changes(changes)
    if dry_run:
        print_text("\nNothing was written (--dry-run).")
        return 0
    if any(change.changes for change in changes):
        if asks and not click.confirm("\nWrite this?", default=True):
            print_text("Nothing was written.")
            return 1
        write_changes(changes)
    config = Config(**{"wan": "", "lan": (), **read_file(config_file)})
    return finish(
        After(
            config_file=config_file,
            policy_file=policy_file,
            config=config,
            machine=machine,
            daemon=DaemonClient(runtime_dir or config.runtime_dir),
            asks=asks,
            fix=fix,
            start=start,
            for_service=directory == ETC,
            config_changed=changes[1].changes,
            policy_changed=changes[0].changes,
            unit_changed=any(change.changes for change in changes if change.path == DROP_IN),
        )
    )


def check_right(directory: Path) -> None:
    """Raises UsageError if the files cannot be written: before the questions, not after them."""
    there = directory
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise click.UsageError(f"--config-dir: {shown(str(there), 300)} is no directory")
    if not os.access(there, os.W_OK | os.X_OK):
        if os.geteuid() == 0:
            raise click.UsageError(f"{shown(str(there), 300)} cannot be written; write elsewhere: --config-dir DIR")
        raise click.UsageError(
            f"this user may not write in {shown(str(directory), 300)}. Use: sudo upnp-gw setup; or write elsewhere:"
            " --config-dir DIR; or only look: --dry-run"
        )


def _read_machine() -> Machine:
    try:
        return read_machine()
    except OSError as error:
        raise ConfigError("network interfaces", "", f"cannot be read: {error.strerror}") from None


def _first_address(machine: Machine, answers: Answers) -> IPv4Address | None:
    first = machine.interface(answers.lans[0].name)
    return first.ipv4[0] if first is not None and first.ipv4 else None


def _guests(machine: Machine, answers: Answers) -> list[IPNetwork]:
    """The prefixes of the LANs for guests. A zone with the IPv4 prefix of a LAN has its IPv6 prefixes too, which
    providers change."""
    found: list[IPNetwork] = []
    for lan in answers.lans:
        link = machine.interface(lan.name)
        if lan.guests and link is not None:
            own = [a.network for a in link.addresses if not a.ip.is_link_local]
            found += [net for net in own if net.version == 4] or own
    return found


def _system_changes(directory: Path, machine: Machine, answers: Answers) -> list[Change]:
    """The files that mode "router" needs beside the configuration, where the service is installed."""
    found: list[Change] = []
    if answers.mode is FirewallMode.ROUTER and directory == ETC and GATEWAY in machine.service.installed:
        closed = directory / "closed.nft"
        before = read_text(closed)
        found.append(Change(DROP_IN, read_text(DROP_IN), drop_in()))
        found.append(Change(closed, before, closed_table(before, answers.wan)))
    return found


def _check(policy_change: Change, config_change: Change, machine: Machine) -> None:
    """Raises ConfigError if the configuration does not fit this machine, or the policy has a mistake."""
    where = str(config_change.path)
    config = Config(**parse_text(config_change.after, where))
    with locate_errors(config_change.after, where):
        check_apart(config.wan, config.lan, machine.interfaces)
        check_links(config, where, machine.interfaces, {route.interface for route in machine.routes})
    today = datetime.now().astimezone().date()
    lists = ListFiles(policy_change.path.parent)
    for warning in load_text(policy_change.after, str(policy_change.path), today, lists).warnings:
        print_text(paint("warning:", CAUTION) + f" {shown(str(warning), 1000)}")


def show_changes(changes: Sequence[Change]) -> None:
    """Prints new files whole, and of others the difference."""
    for change in changes:
        path = shown(str(change.path), 1000)
        click.echo()
        if not change.changes:
            print_text(f"{path}: nothing to change")
            continue
        print_text(paint(f"{path}: {'new file' if change.before is None else 'changes'}", HEADING))
        for line in change.lines():
            style = {"+": GOOD, "-": BAD}.get(line[:1]) if change.before is not None else None
            click.echo(paint(f"  {shown(line.expandtabs(4), LONGEST_TEXT)}".rstrip(), style))


def write_changes(changes: Sequence[Change], quiet: bool = False) -> None:
    """Writes the files, and says where they and the copies are."""
    copies = write(changes, datetime.now().astimezone())
    if quiet:
        return
    for change in changes:
        if change.changes:
            print_text(f"{paint('wrote', GOOD)} {shown(str(change.path), 1000)}")
    for copy in copies:
        print_text(f"the old file is {shown(str(copy), 1000)}")
