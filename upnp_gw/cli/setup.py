"""``setup``: five questions, the two files, the doctor, the service."""

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import click

from upnp_gw.cli.client import DaemonClient
from upnp_gw.cli.run import CONFIG_ERROR
from upnp_gw.cli.setup_after import After, finish
from upnp_gw.cli.setup_questions import Questions, ask_all, show_machine
from upnp_gw.cli.terminal import BAD, CAUTION, GOOD, HEADING, LONGEST_TEXT, paint, print_text
from upnp_gw.config.file import parse_text
from upnp_gw.config.interface_detection import check_apart
from upnp_gw.config.settings import Config, check_links
from upnp_gw.gate.load import load_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import IPNetwork
from upnp_gw.setup.answers import NAT, NO_NAT, SIGN_INS, Answers, NotAccepted
from upnp_gw.setup.documents import Surroundings, configuration, policy
from upnp_gw.setup.files import Change, read_text, write
from upnp_gw.setup.machine import Machine, read_machine
from upnp_gw.system.files import FileProblem
from upnp_gw.text.escape import shown
from upnp_gw.text.toml import locate_errors

ETC = Path("/etc/upnp-gw")
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
@click.option("--sign-in", metavar="ssh|lan", help="Sign in to the page over ssh, or from the LAN over TLS.")
@click.option(
    "--config-dir", type=_PATH, default=ETC, metavar="DIR", help=f"Directory of the files.  [default: {ETC}]"
)
@click.option("--yes", is_flag=True, help="Ask nothing: take what is detected, write, and start the service.")
@click.option("--dry-run", is_flag=True, help="Show the files; write and start nothing.")
@click.option("--fix", is_flag=True, help="Run the fixing commands of the doctor without asking.")
@click.option("--no-start", is_flag=True, help="Leave the service as it is.")
@click.option(
    "--runtime-dir",
    type=_PATH,
    envvar="UPNP_GW_RUNTIME_DIR",
    metavar="DIR",
    help="Directory of the control socket.",
)
def setup(
    config_dir: Path,
    yes: bool,
    dry_run: bool,
    fix: bool,
    no_start: bool,
    runtime_dir: Path | None,
    **given: Any,
) -> None:
    """Set this machine up as a gateway: five questions, with what is detected as the answers.

    Shows configuration and policy before it writes them, and keeps a copy of a file that it changes. Then the
    doctor checks the machine; each command that mends something is run only after a yes. Exit code 1: a check or a
    command failed; 2: an answer is missing or not accepted, and nothing was written.
    """
    try:
        sys.exit(_setup(config_dir.absolute(), _options(given), yes, dry_run, fix, not no_start, runtime_dir))
    except (ConfigError, FileProblem) as error:
        print_text(f"upnp-gw: {shown(str(error), 1000)}", err=True)
        sys.exit(CONFIG_ERROR)


def _options(given: dict[str, Any]) -> dict[str, str]:
    """Option -> answer, in the words of the questions. Raises UsageError for two that exclude each other."""
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
            "setup asks questions, and this is no terminal: --yes takes what is detected, --dry-run shows it,"
            " and each answer is an option (upnp-gw setup --help)"
        )
    if not dry_run:
        _check_right(directory)
    config_file = directory / "config.toml"
    before = read_text(config_file)
    now = None if before is None else Config(**{"wan": "", "lan": (), **parse_text(before, str(config_file))})
    policy_file = directory / "policy.toml" if now is None or now.policy is None else directory / now.policy
    policy_before = read_text(policy_file)
    machine = _read_machine()
    show_machine(machine)
    asks = at_terminal and not yes
    answers = ask_all(Questions(options, asks), machine, now, policy_before is not None)
    around = Surroundings(policy_file, _first_address(machine, answers), machine.page_group)
    changes = [
        Change(
            policy_file, policy_before, policy(policy_before, str(policy_file), answers, _guests(machine, answers))
        ),
        Change(config_file, before, configuration(before, str(config_file), answers, around)),
    ]
    config = _checked(changes, machine)
    _show(changes)
    if dry_run:
        click.echo()
        print_text("Nothing was written (--dry-run).")
        return 0
    if any(change.changes for change in changes):
        if asks and not click.confirm("\nWrite this?", default=True):
            print_text("Nothing was written.")
            return 1
        for copy in write(changes, datetime.now().astimezone()):
            print_text(f"copy of the old file: {shown(str(copy), 1000)}")
        for change in changes:
            if change.changes:
                print_text(f"{paint('wrote', GOOD)} {shown(str(change.path), 1000)}")
    after = After(
        config_file=config_file,
        config=config,
        machine=machine,
        daemon=DaemonClient(runtime_dir or config.runtime_dir),
        asks=asks,
        fix=fix,
        start=start,
        config_changed=changes[1].changes,
        policy_changed=changes[0].changes,
    )
    return finish(after)


def _check_right(directory: Path) -> None:
    """Raises UsageError if this user may not write the files: before the questions, not after them."""
    there = directory
    while not there.exists() and there != there.parent:
        there = there.parent
    if not os.access(there, os.W_OK | os.X_OK):
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
    """The prefixes of the LANs for guests."""
    links = [machine.interface(lan.name) for lan in answers.lans if lan.guests]
    return [
        address.network
        for link in links
        if link is not None
        for address in link.addresses
        if not address.ip.is_link_local
    ]


def _checked(changes: Sequence[Change], machine: Machine) -> Config:
    """The new configuration. Raises ConfigError if it does not fit this machine, or the policy fails its tests."""
    policy_change, config_change = changes
    where = str(config_change.path)
    config = Config(**parse_text(config_change.after, where))
    with locate_errors(config_change.after, where):
        check_apart(config.wan, config.lan, machine.interfaces)
        check_links(config, where, machine.interfaces, {route.interface for route in machine.routes})
    loaded = load_text(policy_change.after, str(policy_change.path), datetime.now().astimezone().date())
    for warning in loaded.warnings:
        print_text(paint("warning:", CAUTION) + f" {shown(str(warning), 1000)}")
    return config


def _show(changes: Sequence[Change]) -> None:
    for change in changes:
        path = shown(str(change.path), 1000)
        click.echo()
        if not change.changes:
            print_text(f"{path}: nothing to change.")
            continue
        print_text(paint(f"{path}: new file" if change.before is None else f"{path}: changes", HEADING))
        for line in change.lines():
            style = {"+": GOOD, "-": BAD}.get(line[:1]) if change.before is not None else None
            click.echo(paint(f"  {shown(line, LONGEST_TEXT)}".rstrip(), style))
