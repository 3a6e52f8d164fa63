"""``name``, ``allow``, ``block``, ``release``, ``revoke``, ``retract``: what people say about devices.

Each prints the TOML that it wrote to the machine-owned file, or took out of it; it is in force then.
"""

from collections.abc import Iterator

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli import formats
from upnp_gw.cli.client import DaemonClient, print_json, talks
from upnp_gw.cli.incidents import described
from upnp_gw.cli.mappings import closed, named
from upnp_gw.cli.terminal import say
from upnp_gw.model.mapping import Via
from upnp_gw.text.escape import shown

DEVICE = click.argument("device", metavar="DEVICE")
"""A device: its name, MAC address (``MAC@LAN`` if the gateway serves several LANs) or IP address."""


DELETES = 6
"""Ids in one line of a `delete` command."""


def lasting(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else formats.seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def path_of(device: str, *more: str) -> str:
    """The way of the API to a device: its name may hold anything that a shell lets through."""
    from urllib.parse import quote

    return "/".join(("/v1/devices", quote(device, safe=""), *more))


def told(toml: str) -> str:
    """TOML as a terminal may show it, line by line."""
    return "\n".join(shown(line, 400) for line in toml.rstrip("\n").split("\n"))


def print_written(body: bytes, as_json: bool, verb: str = "written to") -> None:
    if as_json:
        print_json(body)
        return
    written = msgspec.json.decode(body, type=api.Written)
    if written.toml:
        click.echo(told(written.toml))
        say(shown(f"# {verb} {written.file}; policy {written.policy} is in force", 400), further="# ")
    print_closed(written.closed)


def print_closed(mappings: list[api.Mapping]) -> None:
    """A line for each mapping that ended."""
    for mapping in mappings:
        say(closed(mapping))


def ended(mappings: list[api.Mapping], questions: int) -> str:
    return f"{formats.counted(len(mappings), 'mapping')} and {formats.counted(questions, 'question')} ended"


def deletes(mappings: list[api.Mapping]) -> Iterator[str]:
    """The commands that delete these mappings, each within a line of a terminal."""
    for at in range(0, len(mappings), DELETES):
        yield f"  upnp-gw delete {' '.join(shown(mapping.id) for mapping in mappings[at : at + DELETES])}"


@click.command()
@DEVICE
@click.argument("name")
@talks
def name(gateway: DaemonClient, as_json: bool, device: str, name: str) -> None:
    """Give the device at an address, or of a MAC address, a NAME."""
    print_written(gateway.ask("PUT", path_of(device, "name"), body={"name": name}), as_json)


@click.command()
@DEVICE
@click.argument("ports", nargs=-1, metavar="[PORT|FIRST-LAST]...")
@click.option("--proto", type=click.Choice(["tcp", "udp"]), help="Only of this transport. Default: both.")
@click.option(
    "--for", "for_s", callback=lasting, metavar="TIME", help="How long: 4h, 30d. Default: until retracted."
)
@talks
def allow(
    gateway: DaemonClient, as_json: bool, device: str, ports: tuple[str, ...], proto: str | None, for_s: int | None
) -> None:
    """Let a device open PORTS of its own; without any, every one from 1024 up.

    Example: upnp-gw allow ps5 3074 3478-3480 --proto udp --for 30d
    """
    asked = {"ports": list(ports) or None, "transports": [proto] if proto else None, "for_s": for_s}
    print_written(gateway.ask("POST", path_of(device, "allow"), body=asked), as_json)


@click.command()
@DEVICE
@click.option("--for", "for_s", callback=lasting, metavar="TIME", help="How long. Default: until released.")
@talks
def block(gateway: DaemonClient, as_json: bool, device: str, for_s: int | None) -> None:
    """Refuse a device everything, and end what it holds.

    Mappings that you added yourself (upnp-gw add) stay open; they are listed.
    """
    body = gateway.ask("POST", path_of(device, "block"), body={"for_s": for_s})
    print_written(body, as_json)
    if as_json:
        return
    blocked = msgspec.json.decode(body, type=api.Blocked)
    say(ended(blocked.closed, blocked.questions))
    if blocked.left:
        them = "it" if len(blocked.left) == 1 else "them"
        say(f"Still open, because you added {them} yourself (upnp-gw add):")
        for mapping in blocked.left:
            say(f"  {named(mapping)}")
        click.echo(f"To close {them}:")
        for line in deletes(blocked.left):
            click.echo(line)


@click.command()
@DEVICE
@talks
def release(gateway: DaemonClient, as_json: bool, device: str) -> None:
    """End the incident of a device, and take back its block."""
    body = gateway.ask("POST", path_of(device, "release"))
    if as_json:
        print_json(body)
        return
    released = msgspec.json.decode(body, type=api.Released)
    for incident in released.incidents:
        say(f"ended: {described(incident)}")
    if released.removed:
        click.echo(f"{told(released.removed)}\n# taken back: the device may ask again")
    print_closed(released.closed)
    if not released.incidents and not released.removed:
        click.echo("there was no incident and no block")


@click.command()
@click.option("--device", required=True, metavar="DEVICE", help="A name, MAC address (MAC@LAN) or address.")
@talks
def revoke(gateway: DaemonClient, as_json: bool, device: str) -> None:
    """End all mappings of a device, their flows and its pending questions, at once.

    Those that you added yourself (upnp-gw add) end too.
    """
    body = gateway.ask("POST", path_of(device, "revoke"))
    if as_json:
        print_json(body)
        return
    revoked = msgspec.json.decode(body, type=api.Revoked)
    print_closed(revoked.mappings)
    say(ended(revoked.mappings, revoked.questions))
    added = [mapping for mapping in revoked.mappings if Via.OPERATOR in mapping.vias]
    if added:
        say("You had added these yourself (upnp-gw add):")
        for mapping in added:
            say(f"  {named(mapping)}")


@click.command()
@click.argument("rule")
@talks
def retract(gateway: DaemonClient, as_json: bool, rule: str) -> None:
    """Take back a RULE that a command wrote."""
    from urllib.parse import quote

    print_written(gateway.ask("DELETE", f"/v1/rules/{quote(rule, safe='')}"), as_json, "taken out of")
