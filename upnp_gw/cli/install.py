"""``install``: a system installation from a copy that pipx or pip made, and its removal."""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import click

from upnp_gw.cli.client import DaemonClient
from upnp_gw.cli.manual.files import manual_files, page_date
from upnp_gw.cli.terminal import print_text
from upnp_gw.cli.uninstall import REMOVES, confirm
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.installation import steps
from upnp_gw.installation.machine import Machine
from upnp_gw.installation.own_environment import CannotInstall, running_copy
from upnp_gw.model.errors import FirewallError
from upnp_gw.system.files import FileProblem
from upnp_gw.text.escape import shown

RUNTIME_DIR = Path("/run/upnp-gw")
STAYS = (
    "Configuration, policy and state stay in /etc/upnp-gw and /var/lib/upnp-gw, with their users."
    " To remove them too: upnp-gw install --remove --purge"
)


@click.command()
@click.option("--remove", is_flag=True, help="Remove the installation; configuration and state stay.")
@click.option("--purge", is_flag=True, help="With --remove: configuration, state and users too.")
@click.option("--dry-run", is_flag=True, help="Show the steps; change nothing.")
@click.option("--yes", is_flag=True, help="With --remove: do not ask.")
def install(remove: bool, purge: bool, dry_run: bool, yes: bool) -> None:
    """Install the service on this machine, from a copy that pipx or pip made.

    Copies the program to /opt/upnp-gw, since a service cannot run from a home directory, and makes users, units,
    man pages and completions. Nothing is fetched. Run it again to upgrade: mappings stay open. Needs root. Example:

    \b
      pipx install .
      sudo ~/.local/bin/upnp-gw install
    """
    if purge and not remove:
        raise click.UsageError("--purge goes with --remove")
    machine = Machine()
    try:
        machine.check_package()
        if not dry_run:
            machine.check_root()
        if remove:
            _remove(machine, purge, dry_run, yes)
        else:
            _install(machine, dry_run)
    except (CannotInstall, FileProblem) as error:
        print_text(f"upnp-gw: {shown(str(error), 1000)}", err=True)
        sys.exit(1)
    except OSError as error:
        print_text(f"upnp-gw: {shown(str(error), 400)}", err=True)
        sys.exit(1)


def _install(machine: Machine, dry_run: bool) -> None:
    steps.check_origin(machine)
    _perform(steps.install_steps(machine, running_copy(), _manual()), dry_run)
    if dry_run:
        return
    if not machine.has_systemd:
        print_text("There is no systemd here: start /usr/local/bin/upnp-gw run at boot yourself (docs/service.md).")
    elif not (machine.root / steps.CONFIG_FILE).exists():
        print_text("Next, for configuration and policy: sudo upnp-gw setup")
    _check_library()


def _check_library() -> None:
    from upnp_gw.firewall.libnftables import load_library

    try:
        load_library()
    except FirewallError as error:
        print_text(shown(str(error), 400))


def _remove(machine: Machine, purge: bool, dry_run: bool, yes: bool) -> None:
    mode = _mode()
    if not dry_run and not yes:
        confirm(
            REMOVES[mode or FirewallMode.ALONGSIDE] + ("" if purge else f" {STAYS}"),
            "upnp-gw install --remove --yes",
        )
    _perform(steps.remove_steps(machine, _manual(), _close_table, purge), dry_run)
    if not dry_run and not purge:
        print_text(STAYS, further="")


def _mode() -> FirewallMode | None:
    """The mode of the table in the kernel; None: there is none, or this user cannot see it."""
    from upnp_gw.firewall.nftables import installed_mode

    try:
        return installed_mode()
    except FirewallError:
        return None


def _close_table() -> None:
    """Raises CannotInstall if a gateway still runs. Without libnftables the leases end by themselves."""
    from upnp_gw.firewall.nftables import uninstall

    if DaemonClient(RUNTIME_DIR).running():
        raise CannotInstall("a gateway runs here that is not the service: stop it, then run this command again")
    try:
        uninstall()
    except FirewallError as error:
        print_text(
            f"The table is still there, and its mappings until their leases end: {shown(str(error), 300)}", err=True
        )


def _manual() -> Mapping[PurePosixPath, str]:
    return manual_files(PurePosixPath("/usr/local"), page_date(os.environ.get("SOURCE_DATE_EPOCH")))


def _perform(every: Iterable[steps.Step], dry_run: bool) -> None:
    if dry_run:
        print_text("Nothing is changed. The steps:")
    for step in every:
        print_text(f"- {step.text}" if step.needed else f"- nothing to do: {step.text}", further="  ")
        if step.needed and not dry_run:
            step.act()
