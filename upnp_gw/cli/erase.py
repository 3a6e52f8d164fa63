"""``erase``: what the gateway keeps of a device, or of all."""

import sys

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli.client import DaemonClient, daemon_command, print_json
from upnp_gw.cli.devices import OPTION_OF, device_path
from upnp_gw.cli.formats import plural
from upnp_gw.cli.terminal import print_text
from upnp_gw.text.escape import shown


@click.command()
@click.option("--device", metavar="DEVICE", help="What is kept of this device: name, MAC or IP address.")
@click.option("--all", "everything", is_flag=True, help="The audit log, the evidence and all counts of devices.")
@click.option("--deleted", is_flag=True, help="Only overwrite the bytes of what was deleted before.")
@click.option("--revoke", is_flag=True, help="With --device: end its mappings first, which name it.")
@click.option("--copies", is_flag=True, help="Delete the older copies of the state too (ledger.db.kept-...).")
@click.option("--yes", is_flag=True, help="Do not ask.")
@daemon_command
def erase(
    daemon: DaemonClient,
    as_json: bool,
    device: str | None,
    everything: bool,
    deleted: bool,
    revoke: bool,
    copies: bool,
    yes: bool,
) -> None:
    """Erase what the gateway keeps: decisions, evidence, traffic, counts and questions of a device, or all.

    No byte of it stays in the state files. Mappings stay open and rules stay in force; what still names the device
    is listed. A backup made before still has it.
    """
    if (device is not None) + everything + deleted != 1:
        raise click.UsageError("give one of --device DEVICE, --all and --deleted")
    if revoke and device is None:
        raise click.UsageError("--revoke goes with --device")
    if not yes and not deleted:
        if not sys.stdin.isatty():
            raise click.UsageError("cannot ask for confirmation without a terminal: use --yes")
        what = "all history" if device is None else f"what is kept of {shown(device, 60)}"
        click.confirm(f"Erase {what}? It cannot be undone.", abort=True, err=True)
    options = OPTION_OF | {"device": "--device"}
    if revoke and device is not None:
        daemon.request("POST", device_path(device, "revoke"), options=options)
    wanted = {"device": device, "everything": everything, "deleted": deleted, "copies": copies}
    body = daemon.request("POST", "/v1/erase", body=wanted, options=options)
    if as_json:
        print_json(body)
        return
    _print(msgspec.json.decode(body, type=api.Erased), device)


def _print(erased: api.Erased, device: str | None) -> None:
    print_text(
        f"erased: {plural(erased.decisions, 'decision')}, evidence of {plural(erased.openings, 'port')},"
        f" {plural(erased.questions, 'question')}"
    )
    named = "them" if device is None else shown(device, 60)
    if erased.kept_decisions:
        print_text(f"{plural(erased.kept_decisions, 'decision')} stay: standing mappings name them")
    if erased.mappings:
        ids = " ".join(map(shown, erased.mappings))
        print_text(
            f"still open, and naming {named}: {ids}. To end them first: upnp-gw erase --device DEVICE --revoke"
        )
    if erased.incident:
        print_text(f"an incident of {named} is open: it stays until it ends, or upnp-gw release {named}")
    if erased.names:
        print_text(f"the policy names {named}: {', '.join(shown(name, 60) for name in erased.names)}")
    for copy in erased.copies:
        print_text(f"older copy of the state: {shown(copy, 300)}; --copies deletes it")
