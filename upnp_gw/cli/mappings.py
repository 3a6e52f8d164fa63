"""``list``, ``show``, ``add``, ``delete``: the port mappings and pinholes."""

import sys
from contextlib import closing
from datetime import UTC, datetime

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli import formats, known_values
from upnp_gw.cli.client import REFUSED, DaemonClient, EventStream, RequestProblem, daemon_command, print_json
from upnp_gw.cli.incidents import banner
from upnp_gw.cli.mapping_table import format_device, format_external, format_lease_left, mapping_table
from upnp_gw.cli.parameters import PORT, endpoint_argument, lease_option
from upnp_gw.cli.terminal import CAUTION, LONGEST_TEXT, paint, print_text, table_columns, wrap_labelled
from upnp_gw.text.escape import shown

REASON_NOT_OPEN = {
    "parked": "nobody answers at the internal address",
    "contested": "two hosts claim the internal address",
}
"""State of a new mapping that is not open yet -> the reason."""


def _full_external(mapping: api.Mapping) -> str:
    """``tcp/203.0.113.9:443``. Without NAT many hosts have the same port."""
    return f"{mapping.transport}/{formats.endpoint(mapping.external_address or '', mapping.external_port)}"


def format_closed(mapping: api.Mapping) -> str:
    """``closed m3: tcp/8080 -> 192.168.1.23:80``."""
    return f"closed {format_mapping(mapping)}"


def format_mapping(mapping: api.Mapping) -> str:
    """``m3: tcp/8080 -> 192.168.1.23:80``: id, transport, external port and internal client."""
    target = formats.endpoint(mapping.internal_client, mapping.internal_port)
    return shown(f"{mapping.id}: {format_external(mapping)} -> {target}", 200)


def _print(daemon: DaemonClient, as_json: bool, *, line: bool = False) -> None:
    body = daemon.request("GET", "/v1/mappings")
    if as_json:
        print_json(body, line=line)
        return
    mappings = msgspec.json.decode(body, type=list[api.Mapping])
    most = table_columns()
    drawn = banner(daemon, most) + mapping_table(mappings, datetime.now(UTC), most)
    click.echo("\n".join(drawn))


@click.command("list")
@click.option("--watch", is_flag=True, help="Show the list again at each change, until Ctrl-C.")
@daemon_command
def list_mappings(daemon: DaemonClient, as_json: bool, watch: bool) -> None:
    """List port mappings and pinholes, oldest first. With --json an array of objects.

    A wide terminal shows more columns, `upnp-gw show ID` shows everything. At a terminal --watch also shows
    incidents, questions and the last denials.
    """
    if not watch:
        _print(daemon, as_json)
        return
    with closing(daemon.events()) as events:
        if sys.stdout.isatty() and not as_json:
            from upnp_gw.cli.watch import watch as watch_screen

            watch_screen(daemon, events)
        else:
            _watch(daemon, as_json, events)


def _watch(daemon: DaemonClient, as_json: bool, events: EventStream) -> None:
    """Prints the list at each change."""
    running = True
    while running:
        _print(daemon, as_json, line=True)
        running = events.wait(None)
    print_text("upnp-gw stopped", err=True)


def find_mapping(daemon: DaemonClient, target: str) -> api.Mapping:
    """The mapping with this id, external port (``tcp/8080``), or external address and port
    (``tcp/203.0.113.9:443``). Raises RequestProblem if not exactly one."""
    if "/" not in target:
        from urllib.parse import quote

        return msgspec.json.decode(
            daemon.request("GET", f"/v1/mappings/{quote(target, safe='')}"), type=api.Mapping
        )
    mappings = msgspec.json.decode(daemon.request("GET", "/v1/mappings"), type=list[api.Mapping])
    matches = [m for m in mappings if target.lower() in (format_external(m), _full_external(m))]
    if len(matches) == 1:
        return matches[0]
    message = (
        f"{target} is mapped by {' and '.join(m.id for m in matches)}: use an id"
        if matches
        else f"{target} is not mapped: see upnp-gw list"
    )
    raise RequestProblem({"error": "ambiguous" if matches else "no-such-mapping", "message": message})


@click.command("show")
@click.argument("target", metavar="ID|tcp/PORT", shell_complete=known_values.mappings)
@daemon_command
def show_mapping(daemon: DaemonClient, as_json: bool, target: str) -> None:
    """Show one mapping in full."""
    mapping = find_mapping(daemon, target)
    if as_json:
        print_json(api.encode(mapping))
    else:
        click.echo("\n".join(format_details(mapping, datetime.now(UTC), table_columns())))


def _facts_above(mapping: api.Mapping) -> list[tuple[str, str]]:
    """Both hops of a mapping with a gateway above."""
    above = mapping.above
    if above is None:
        return []
    who = shown(above.gateway or "the gateway above")
    left = "" if above.left_s is None else f", {formats.duration(above.left_s)} left"
    said = {
        "granted": f"granted over {above.via}{left}",
        "waiting": "asked",
        "lost": shown(above.problem or "lost"),
    }
    return [
        ("above", f"{who}: {said[above.state]}"),
        ("here", formats.endpoint(shown(above.own_address or "no address"), above.own_port)),
    ]


def format_details(mapping: api.Mapping, now: datetime, most: int) -> list[str]:
    """The facts of a mapping, one a line, wrapped."""
    outside = mapping.external_address or "no external address"
    facts = [
        ("mapping", f"{shown(mapping.id)}, {mapping.kind}, {mapping.state}"),
        ("external", f"{mapping.transport} {formats.endpoint(shown(outside), mapping.external_port)}"),
        *_facts_above(mapping),
        ("internal", formats.endpoint(shown(mapping.internal_client), mapping.internal_port)),
        ("may connect", shown(mapping.remote_host or "anyone", LONGEST_TEXT)),
        ("device", format_device(mapping) + (f" ({shown(mapping.device)})" if mapping.device_name else "")),
        ("requested via", mapping.via),
        ("description", shown(mapping.description) or "-"),
        ("granted", formats.time(mapping.granted_at)),
        ("ends", "never (permanent)" if mapping.expires_at is None else formats.time(mapping.expires_at)),
        ("left", format_lease_left(mapping)),
        ("connections", str(mapping.connections)),
        ("bytes", str(mapping.bytes)),
        ("last used", f"{formats.age(mapping.last_used, now)} ago" if mapping.last_used else "never"),
        ("rule", f"{shown(mapping.rule)}, decision {shown(mapping.decision)}"),
    ]
    return [line for fact in facts for line in wrap_labelled(*fact, most, 12)]


OPTION_OF = {
    "external_port": "PORT",
    "internal_client": "ADDRESS",
    "internal_port": "ADDRESS:PORT",
    "lease_s": "--ttl",
    "permanent": "--permanent",
    "remote_host": "--remote",
    "external_address": "--external-address",
    "description": "--description",
}
"""Field of the API -> argument or option of ``add``."""


@click.command()
@click.argument("transport", type=click.Choice(["tcp", "udp"], case_sensitive=False))
@click.argument("port", type=PORT)
@click.argument("internal", metavar="ADDRESS[:PORT]", callback=endpoint_argument)
@click.option(
    "--ttl", callback=lease_option, metavar="TIME", help="Lease: 90s, 4h, 7d. Default: as long as allowed."
)
@click.option("--permanent", is_flag=True, help="The gateway renews the lease until you delete the mapping.")
@click.option(
    "--remote", metavar="PREFIX", help="Remote hosts that may connect, such as 203.0.113.0/24. Default: anyone."
)
@click.option("--external-address", metavar="ADDRESS", help="One of several external addresses.")
@click.option("--description", default="", metavar="TEXT")
@daemon_command
def add(
    daemon: DaemonClient,
    as_json: bool,
    transport: str,
    port: int,
    internal: tuple[str, int | None],
    ttl: int | None,
    permanent: bool,
    remote: str | None,
    external_address: str | None,
    description: str,
) -> None:
    """Open the external PORT to an internal ADDRESS. The policy needs no grant for it.

    A mapping that crosses a [[never]] of the policy is opened, with a warning.

    An IPv6 address, and any on a LAN without NAT, makes a pinhole: its external port is the internal one.
    Example: upnp-gw add tcp 8080 192.168.1.23:80 --ttl 4h
    """
    if permanent and ttl is not None:
        raise click.UsageError("--ttl and --permanent exclude each other")
    body = {
        "transport": transport,
        "external_port": port,
        "internal_client": internal[0],
        "internal_port": internal[1],
        "external_address": external_address,
        "remote_host": remote,
        "lease_s": ttl,
        "permanent": permanent,
        "description": description,
    }
    answer = daemon.request("POST", "/v1/mappings", body=body, options=OPTION_OF)
    if as_json:
        print_json(answer)
        return
    mapping = msgspec.json.decode(answer, type=api.Added)
    lease = "permanent" if mapping.lease_left_s is None else f"for {format_lease_left(mapping)}"
    target = formats.endpoint(mapping.internal_client, mapping.internal_port)
    print_text(shown(f"{mapping.id}: {format_external(mapping)} -> {target}, {lease}", 200))
    for sentence in mapping.crosses:
        print_text(paint("warning:", CAUTION) + f" it {shown(sentence, LONGEST_TEXT)}", err=True)
    if mapping.state in REASON_NOT_OPEN:
        print_text(
            f"It is not open yet: {REASON_NOT_OPEN[mapping.state]}. It opens when one host answers.", err=True
        )


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="ID|tcp/PORT...", shell_complete=known_values.mappings)
@daemon_command
def delete(daemon: DaemonClient, as_json: bool, targets: tuple[str, ...]) -> None:
    """Close mappings and end their flows at once. `upnp-gw list` has the ids; tcp/PORT is an external port.

    Without NAT several hosts may have the same one: tcp/ADDRESS:PORT.
    """
    failed = False
    for target in targets:
        try:
            mapping = find_mapping(daemon, target)
            body = daemon.request("DELETE", f"/v1/mappings/{mapping.id}")
        except RequestProblem as refusal:
            if len(targets) == 1:
                raise
            failed = True
            refusal.show()
            continue
        if as_json:
            print_json(body, line=len(targets) > 1)
        else:
            print_text(format_closed(mapping))
    if failed:
        sys.exit(REFUSED)
