"""``uninstall``: takes our table out of the kernel."""

import json
import sys

import click

from upnp_gw.cli.client import REFUSED, DaemonClient, RequestProblem, daemon_command
from upnp_gw.cli.terminal import print_text
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.model.errors import FirewallError
from upnp_gw.text.escape import shown

REMOVES = {
    FirewallMode.ALONGSIDE: (
        "This removes the table of upnp-gw with every mapping and pinhole. Forwarding stays as it is."
    ),
    FirewallMode.ROUTER: (
        "This removes the table of upnp-gw with every mapping and pinhole, the masquerade, and the rules that keep"
        " the internet out. Forwarding is switched off first: the LAN has no internet then."
    ),
}
STAYS = "These stay: configuration, policy, state directory (/var/lib/upnp-gw), the service and its user."


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@daemon_command
def uninstall(daemon: DaemonClient, as_json: bool, yes: bool) -> None:
    """Remove the nftables table of upnp-gw. The daemon must be stopped."""
    if daemon.running():
        raise RequestProblem(
            {"error": "running", "message": "upnp-gw is running and would install it again; stop it first"}
        )
    from upnp_gw.firewall.nftables import installed_mode
    from upnp_gw.firewall.nftables import uninstall as remove
    from upnp_gw.system.privileges import check_right

    try:
        check_right("uninstall")
        mode = installed_mode()
        if mode is not None and not yes:
            _confirm(mode)
        there_was = remove()
    except FirewallError as error:
        if as_json:
            click.echo(json.dumps({"error": "backend-failed", "message": str(error)}), err=True)
        else:
            print_text(f"upnp-gw: {shown(str(error), 400)}", err=True)
        sys.exit(REFUSED)
    if as_json:
        click.echo(json.dumps({"removed": there_was}))
        return
    print_text("The table of upnp-gw is removed." if there_was else "There is no table of upnp-gw.")
    if mode is FirewallMode.ROUTER:
        click.echo("Forwarding is off.")
    print_text(STAYS, further="")


def _confirm(mode: FirewallMode) -> None:
    """Asks for confirmation. Raises UsageError without a terminal."""
    print_text(f"{REMOVES[mode]} {STAYS}", further="", err=True)
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to confirm at; use: upnp-gw uninstall --yes")
    click.confirm("Go on?", abort=True, err=True)
