"""``devices``, ``name``, ``allow``, ``block``, ``release``, ``revoke``, ``retract``: devices and rules for them.

A command that changes rules prints the TOML that it wrote to or removed from approved.toml. The change is in force
when the command ends.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli import formats, known_values
from upnp_gw.cli.client import DaemonClient, daemon_command, print_json
from upnp_gw.cli.incidents import banner, format_incident
from upnp_gw.cli.mappings import format_closed, format_mapping
from upnp_gw.cli.parameters import ports_argument, rule_time_option
from upnp_gw.cli.table import Column, table
from upnp_gw.cli.terminal import BAD, print_text, table_columns
from upnp_gw.model.mapping import Via
from upnp_gw.text.escape import shown

DEVICE = click.argument("device", metavar="DEVICE", shell_complete=known_values.devices)
"""A device: its name, MAC address (``MAC@LAN`` if the gateway serves several LANs) or IP address."""
OPTION_OF = {"device": "", "name": "NAME", "ports": "PORT", "transports": "--proto", "for_s": "--for"}
"""Field of the API -> argument or option. A problem with DEVICE names the device itself."""
IDS_PER_COMMAND = 6
"""Ids in one ``delete`` command, so that it fits a line of 80 columns."""


def device_path(device: str, *more: str) -> str:
    """The path of a device in the API, escaped: the argument can have any character."""
    from urllib.parse import quote

    return "/".join(("/v1/devices", quote(device, safe=""), *more))


def format_toml(toml: str) -> str:
    """TOML with control characters escaped, line by line."""
    return "\n".join(shown(line, 400) for line in toml.rstrip("\n").split("\n"))


def print_written(body: bytes, as_json: bool, verb: str = "written to") -> None:
    if as_json:
        print_json(body)
        return
    written = msgspec.json.decode(body, type=api.Written)
    if written.toml:
        click.echo(format_toml(written.toml))
        print_text(shown(f"# {verb} {written.file}; policy {written.policy} is in force", 400), further="# ")
    print_closed(written.closed)


def print_closed(mappings: list[api.Mapping]) -> None:
    """Prints a line for each mapping that ended."""
    for mapping in mappings:
        print_text(format_closed(mapping))


def format_ended(mappings: list[api.Mapping], questions: int) -> str:
    return f"{formats.plural(len(mappings), 'mapping')} and {formats.plural(questions, 'question')} ended"


def delete_commands(mappings: list[api.Mapping]) -> Iterator[str]:
    """The commands that delete these mappings."""
    for at in range(0, len(mappings), IDS_PER_COMMAND):
        yield f"  upnp-gw delete {' '.join(shown(mapping.id) for mapping in mappings[at : at + IDS_PER_COMMAND])}"


def device_columns(now: datetime) -> list[Column[api.Device]]:
    return [
        Column("DEVICE", lambda d: shown(d.device), keep=9),
        Column("NAME", lambda d: shown(d.name or ""), below=16, keep=7),
        Column("CALLS ITSELF", lambda d: shown(d.dhcp_name or ""), least=8, keep=5),
        Column("ADDRESS", _addresses, below=15, keep=6, needed=True),
        Column("SEEN", lambda d: formats.age(d.last_seen, now), right=True, keep=4),
        Column("HOLDS", lambda d: str(d.holds), right=True, keep=8),
        Column("GRANTED", lambda d: formats.count(d.granted), right=True, keep=3),
        Column("REFUSED", lambda d: formats.count(d.refused), right=True, keep=8),
        Column("FROZEN", lambda d: "frozen" if d.frozen else "", keep=8, style=lambda d: BAD),
        Column("FIRST SEEN", lambda d: formats.time(d.first_seen)[:10], keep=1),
        Column("LAST REFUSAL", lambda d: shown(d.last_refusal or ""), least=12, keep=2),
    ]


def _addresses(device: api.Device) -> str:
    first, more = device.addresses[:1], len(device.addresses) - 1
    return shown("".join(first)) + (f" +{more}" if more > 0 else "")


@click.command()
@daemon_command
def devices(daemon: DaemonClient, as_json: bool) -> None:
    """List devices that asked for ports, with their mappings and refusals.

    NAME is from the policy, CALLS ITSELF is the name that the device gives in DHCP.
    """
    body = daemon.request("GET", "/v1/devices")
    if as_json:
        print_json(body)
        return
    rows = msgspec.json.decode(body, type=list[api.Device])
    most = table_columns()
    drawn = table(device_columns(datetime.now(UTC)), rows, most) if rows else ["no devices"]
    click.echo("\n".join(banner(daemon, most) + drawn))


@click.command()
@DEVICE
@click.argument("name")
@daemon_command
def name(daemon: DaemonClient, as_json: bool, device: str, name: str) -> None:
    """Give a device a NAME, for rules and lists. Rules that commands wrote for it follow.

    Example: upnp-gw name 192.168.1.23 nas
    """
    print_written(
        daemon.request("PUT", device_path(device, "name"), body={"name": name}, options=OPTION_OF), as_json
    )


@click.command()
@DEVICE
@click.argument("ports", nargs=-1, metavar="[PORT|FIRST-LAST]...", callback=ports_argument)
@click.option("--proto", type=click.Choice(["tcp", "udp"]), help="Only this transport. Default: both.")
@click.option(
    "--for",
    "for_s",
    callback=rule_time_option,
    metavar="TIME",
    help="How long: 4h, 30d. Default: until retracted.",
)
@daemon_command
def allow(
    daemon: DaemonClient, as_json: bool, device: str, ports: tuple[str, ...], proto: str | None, for_s: int | None
) -> None:
    """Let a device open these of its own ports; without PORT, all from 1024 up.

    Example: upnp-gw allow ps5 3074 3478-3480 --proto udp --for 30d
    """
    body = {"ports": list(ports) or None, "transports": [proto] if proto else None, "for_s": for_s}
    print_written(daemon.request("POST", device_path(device, "allow"), body=body, options=OPTION_OF), as_json)


@click.command()
@DEVICE
@click.option(
    "--for", "for_s", callback=rule_time_option, metavar="TIME", help="How long. Default: until released."
)
@daemon_command
def block(daemon: DaemonClient, as_json: bool, device: str, for_s: int | None) -> None:
    """Refuse every request of a device, and end its mappings and questions.

    Mappings that you added (upnp-gw add) stay open and are listed.
    """
    body = daemon.request("POST", device_path(device, "block"), body={"for_s": for_s}, options=OPTION_OF)
    print_written(body, as_json)
    if as_json:
        return
    blocked = msgspec.json.decode(body, type=api.Blocked)
    print_text(format_ended(blocked.closed, blocked.questions))
    if blocked.left:
        them = "it" if len(blocked.left) == 1 else "them"
        print_text(f"Still open, because you added {them} (upnp-gw add):")
        for mapping in blocked.left:
            print_text(f"  {format_mapping(mapping)}")
        click.echo(f"To close {them}:")
        for line in delete_commands(blocked.left):
            click.echo(line)


@click.command()
@DEVICE
@daemon_command
def release(daemon: DaemonClient, as_json: bool, device: str) -> None:
    """End the incident of a device and remove its block."""
    body = daemon.request("POST", device_path(device, "release"), options=OPTION_OF)
    if as_json:
        print_json(body)
        return
    released = msgspec.json.decode(body, type=api.Released)
    for incident in released.incidents:
        print_text(f"ended: {format_incident(incident)}")
    if released.removed:
        click.echo(f"{format_toml(released.removed)}\n# removed: the device may ask again")
    print_closed(released.closed)
    if not released.incidents and not released.removed:
        click.echo("the device had no incident and no block")


@click.command()
@click.option(
    "--device",
    required=True,
    metavar="DEVICE",
    help="Name, MAC address (MAC@LAN) or IP address.",
    shell_complete=known_values.devices,
)
@daemon_command
def revoke(daemon: DaemonClient, as_json: bool, device: str) -> None:
    """End all mappings of a device, their flows and its pending questions, at once.

    Mappings that you added (upnp-gw add) end too. The device may ask again: to prevent that, use upnp-gw block.
    """
    body = daemon.request("POST", device_path(device, "revoke"), options=OPTION_OF | {"device": "--device"})
    if as_json:
        print_json(body)
        return
    revoked = msgspec.json.decode(body, type=api.Revoked)
    print_closed(revoked.mappings)
    print_text(format_ended(revoked.mappings, revoked.questions))
    added = [mapping for mapping in revoked.mappings if Via.OPERATOR in mapping.vias]
    if added:
        print_text("You had added these (upnp-gw add):")
        for mapping in added:
            print_text(f"  {format_mapping(mapping)}")


@click.command()
@click.argument("rule", shell_complete=known_values.rules)
@daemon_command
def retract(daemon: DaemonClient, as_json: bool, rule: str) -> None:
    """Remove a RULE that a command wrote (allow, block, approve, deny) from approved.toml.

    The names of these rules are at the end of `upnp-gw policy show`.
    """
    from urllib.parse import quote

    print_written(daemon.request("DELETE", f"/v1/rules/{quote(rule, safe='')}"), as_json, "removed from")
