"""``request``: a client. It asks the gateway of this host for ports, and needs no daemon and no root."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar

import click

from upnp_gw.cli.parameters import PORT, Seconds, lease_option
from upnp_gw.cli.terminal import BAD, paint, print_text
from upnp_gw.model.mapping import IPAddress, Transport, Via
from upnp_gw.text.escape import shown

if TYPE_CHECKING:
    from upnp_gw.client.mapping_request import MappingLease, RequestedMapping
    from upnp_gw.client.options import ClientOptions

REFUSED, NO_GATEWAY = 1, 3
VIAS = {"pcp": Via.PCP, "natpmp": Via.NATPMP, "igd": Via.IGD2}

T = TypeVar("T")


def _address(ctx: click.Context, param: click.Parameter, value: str | None) -> IPAddress | None:
    try:
        return None if value is None else ip_address(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not an address; accepted: 192.168.1.23 or 2001:db8::23") from None


@click.command()
@click.argument("transport", type=click.Choice(["tcp", "udp"]), required=False)
@click.argument("port", type=PORT, required=False)
@click.option("--external", type=PORT, metavar="PORT", help="External port.  [default: the same]")
@click.option(
    "--ttl", default="1h", callback=lease_option, metavar="TIME", show_default=True, help="Lease: 90s, 4h, 7d."
)
@click.option("--ipv6", is_flag=True, help="A pinhole to the IPv6 address of this host.")
@click.option("--hold", is_flag=True, help="Renew the lease until Ctrl-C or SIGTERM, then release it.")
@click.option("--release", is_flag=True, help="Release the port.")
@click.option("--listening", is_flag=True, help="Request the ports that listen on this host; asks you about each.")
@click.option(
    "--yes", "chosen", metavar="LIST", help="With --listening: these ports, without asking: tcp/8080,udp/3074."
)
@click.option("--via", type=click.Choice(list(VIAS)), help="Only this protocol.  [default: pcp, natpmp, igd]")
@click.option("--gateway", callback=_address, metavar="ADDRESS", help="[default: that of the default route]")
@click.option("--address", callback=_address, metavar="ADDRESS", help="The address of this host to use.")
@click.option(
    "--timeout", type=Seconds(0.5, 600), default=4.0, show_default=True, help="Seconds for each protocol."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
def request(
    transport: str | None,
    port: int | None,
    external: int | None,
    ttl: int,
    ipv6: bool,
    hold: bool,
    release: bool,
    listening: bool,
    chosen: str | None,
    via: str | None,
    gateway: IPAddress | None,
    address: IPAddress | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Ask the gateway of this host for a port. It need not be upnp-gw.

    Prints the lease: 11.22.33.44:8080 tcp via pcp 3600s. Exit code 0: the port is open (or released); 1: the
    gateway refused; 3: no gateway answered.

    Examples: upnp-gw request tcp 8080 --ttl 4h; upnp-gw request udp 3074 --hold
    """
    if listening == (transport is not None) or (transport is None) != (port is None):
        raise click.UsageError("give either TRANSPORT and PORT, or --listening")
    if hold and release:
        raise click.UsageError("--hold and --release exclude each other")
    if (chosen is not None or external is not None) and listening != (chosen is not None):
        raise click.UsageError("--yes needs --listening, --external needs TRANSPORT and PORT")
    from upnp_gw.client.mapping_request import RequestedMapping
    from upnp_gw.client.options import ORDER, ClientOptions
    from upnp_gw.client.secret import load_secret, nonces, secret_path

    version = 6 if ipv6 else 4
    named = [(Transport(transport), port)] if transport is not None and port is not None else None
    ports = named or _choose_listeners(chosen)
    requests = [
        RequestedMapping(protocol, number, number if ipv6 else external or number, ttl, version)
        for protocol, number in ports
    ]
    options = ClientOptions(
        nonce=nonces(load_secret(secret_path(os.environ))),
        vias=ORDER if via is None else (VIAS[via],),
        gateway=gateway,
        source=address,
        timeout_s=timeout,
    )
    if not requests:
        return
    output = _Output(as_json)
    sys.exit(
        _run(
            _hold_until_stopped(options, requests, output)
            if hold
            else _request_once(options, requests, release, output)
        )
    )


class _Output:
    """Prints leases on stdout, one a line, and errors on stderr. Text of the gateway is escaped."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def print_lease(self, lease: "MappingLease") -> None:
        if self._as_json:
            values: dict[str, Any] = {
                "external_address": str(lease.external.address),
                "external_port": lease.external.port,
                "transport": lease.transport.value,
                "internal_address": str(lease.internal.address),
                "internal_port": lease.internal.port,
                "via": lease.via.value,
                "lifetime_s": lease.lifetime_s,
            }
            click.echo(json.dumps(values))
        else:
            click.echo(str(lease))
        sys.stdout.flush()

    def on_loss(self, requested: "RequestedMapping") -> "Callable[[Exception], None]":
        """The callback of a ``LeaseHolder`` that has lost the port."""

        def report(error: Exception) -> None:
            self.print_failure(requested, error)

        return report

    def print_failure(self, requested: "RequestedMapping", error: Exception) -> int:
        """Prints the error and returns the exit code."""
        from upnp_gw.client.mapping_request import RequestRefused

        refused = isinstance(error, RequestRefused)
        message = shown(
            f"{error} ({error.gateway_text})"
            if isinstance(error, RequestRefused) and error.gateway_text
            else str(error),
            400,
        )
        via = f"over {error.via.protocol}: " if isinstance(error, RequestRefused) else ""
        if self._as_json:
            values = {
                "error": "refused" if refused else "unreachable",
                "message": message,
                "transport": requested.transport.value,
                "internal_port": requested.port,
                "via": error.via.value if isinstance(error, RequestRefused) else None,
            }
            click.echo(json.dumps(values), err=True)
        else:
            heading = "refused" if refused else "no gateway"
            print_text(f"{requested.transport} {requested.port}: {paint(heading, BAD)}: {via}{message}", err=True)
        return REFUSED if refused else NO_GATEWAY


async def _request_once(
    options: "ClientOptions", requests: Sequence["RequestedMapping"], release: bool, output: _Output
) -> int:
    """Sends the requests one after the other (RFC 6886 section 3.1)."""
    from upnp_gw.client.ask import release_mapping, request_mapping
    from upnp_gw.client.mapping_request import NoAnswer, RequestRefused

    worst = 0
    for requested in requests:
        try:
            if release:
                for lease in await release_mapping(options, requested):
                    output.print_lease(lease)
                continue
            async with request_mapping(options, requested) as (_, lease):
                output.print_lease(lease)
        except (RequestRefused, NoAnswer) as error:
            worst = max(worst, output.print_failure(requested, error))
    return worst


async def _hold_until_stopped(
    options: "ClientOptions", requests: Sequence["RequestedMapping"], output: _Output
) -> int:
    from upnp_gw.client.hold import LeaseHolder
    from upnp_gw.client.mapping_request import NoAnswer, RequestRefused

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async def keep(requested: "RequestedMapping") -> int:
        holder = LeaseHolder(options, requested, output.print_lease, output.on_loss(requested))
        try:
            await holder.run(stop)
        except (RequestRefused, NoAnswer) as error:
            return output.print_failure(requested, error)
        return 0

    return max(await asyncio.gather(*(keep(requested) for requested in requests)))


def _choose_listeners(chosen: str | None) -> list[tuple[Transport, int]]:
    """The listening ports of this host that are in the list ``chosen``; None: those that the user confirms."""
    from upnp_gw.client.listening import of_this_host

    listeners = of_this_host()
    if chosen is not None:
        names = {part.strip().lower() for part in chosen.split(",") if part.strip()}
        unknown = names - {str(listener) for listener in listeners}
        if unknown:
            listed = ", ".join(map(str, listeners)) or "nothing"
            raise click.UsageError(f"nothing listens on {', '.join(sorted(unknown))}; accepted: {listed}")
        return [(listener.transport, listener.port) for listener in listeners if str(listener) in names]
    if not listeners:
        print_text("no port of this host listens for other hosts", err=True)
    return [
        (listener.transport, listener.port)
        for listener in listeners
        if click.confirm(f"open {listener}?", default=False, err=True)
    ]


def _run(work: "Coroutine[Any, Any, T]") -> T:
    return asyncio.run(work)
