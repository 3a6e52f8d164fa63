"""``uninstall``: takes our table out of the kernel."""

import json
import sys

import click

from upnp_gw.cli.client import REFUSED, Gateway, Refusal, talks
from upnp_gw.errors import FirewallError
from upnp_gw.terminal import shown

WARNING = (
    "This removes every mapping and pinhole; in router mode the masquerade too, and the drops that keep the"
    " internet out: forwarding is switched off first. The state directory stays."
)


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@talks
def uninstall(gateway: Gateway, as_json: bool, yes: bool) -> None:
    """Remove the nftables table of upnp-gw. The daemon must be stopped."""
    if gateway.running():
        raise Refusal(
            {"error": "running", "message": "upnp-gw is running and would install it again; stop it first"}
        )
    if not yes:
        click.echo(WARNING, err=True)
        click.confirm("Go on?", abort=True, err=True)
    from upnp_gw.firewall.nftables import uninstall as remove

    try:
        there_was = remove()
    except FirewallError as error:
        if as_json:
            click.echo(json.dumps({"error": "backend-failed", "message": str(error)}), err=True)
        else:
            click.echo(f"upnp-gw: {shown(str(error), 400)}", err=True)
        sys.exit(REFUSED)
    if as_json:
        click.echo(json.dumps({"removed": there_was}))
    else:
        click.echo("removed" if there_was else "there was nothing to remove")
