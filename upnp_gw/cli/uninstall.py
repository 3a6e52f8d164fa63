"""``uninstall``: removes the nftables table of upnp-gw."""

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
        " the internet out. It first switches forwarding off: the LAN then has no internet."
    ),
}
STAYS = (
    "Not removed: configuration, policy, the program, the service and its user, and the state directory:"
    " /var/lib/upnp-gw, unless [store] state_dir or --state-dir named another one."
)


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@daemon_command
def uninstall(daemon: DaemonClient, as_json: bool, yes: bool) -> None:
    """Remove the nftables table of upnp-gw. The daemon must be stopped."""
    if daemon.running():
        raise RequestProblem(
            {"error": "running", "message": "upnp-gw is running and would install its table again: stop it first"}
        )
    from upnp_gw.firewall.nftables import installed_mode
    from upnp_gw.firewall.nftables import uninstall as remove
    from upnp_gw.system.privileges import check_right

    try:
        check_right("uninstall")
        mode = installed_mode()
        if mode is not None and not yes:
            confirm(f"{REMOVES[mode]} {STAYS}", "upnp-gw uninstall --yes")
        removed = remove()
    except FirewallError as error:
        if as_json:
            click.echo(json.dumps({"error": "backend-failed", "message": str(error)}), err=True)
        else:
            print_text(f"upnp-gw: {shown(str(error), 400)}", err=True)
        sys.exit(REFUSED)
    if as_json:
        click.echo(json.dumps({"removed": removed}))
        return
    print_text("The table of upnp-gw is removed." if removed else "There was no table of upnp-gw.")
    if mode is FirewallMode.ROUTER:
        click.echo("Forwarding is off.")
    print_text(STAYS, further="")


def confirm(text: str, command: str) -> None:
    """Asks for confirmation. ``command``: the same without a question. Raises UsageError without a terminal, Abort
    on no."""
    print_text(text, further="", err=True)
    if not sys.stdin.isatty():
        raise click.UsageError(f"cannot ask for confirmation without a terminal: use {command}")
    click.confirm("Continue?", abort=True, err=True)
