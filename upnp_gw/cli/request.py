"""``request``: the client side. Asks this host's gateway for ports; needs no daemon here and no root."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar

import click

from upnp_gw.cli import formats
from upnp_gw.cli.parameters import PORT, Seconds
from upnp_gw.cli.terminal import BAD, paint, print_text
from upnp_gw.model.mapping import IPAddress, Transport, Via
from upnp_gw.text.escape import shown

if TYPE_CHECKING:
    from upnp_gw.client.mapping_request import MappingLease, RequestedMapping
    from upnp_gw.client.options import ClientOptions

REFUSED, NO_GATEWAY = 1, 3
VIAS = {"pcp": Via.PCP, "natpmp": Via.NATPMP, "igd": Via.IGD2}

T = TypeVar("T")


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> int:
    try:
        found = formats.parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not 1 <= found <= 366 * 86400:
        raise click.BadParameter(f"got {value!r}; accepted: a time from 1s to 366d, such as 4h")
    return found


def _address(ctx: click.Context, param: click.Parameter, value: str | None) -> IPAddress | None:
    try:
        return None if value is None else ip_address(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no address; write it as 192.168.1.23 or 2001:db8::23") from None


@click.command()
@click.argument("transport", type=click.Choice(["tcp", "udp"]), required=False)
@click.argument("port", type=PORT, required=False)
@click.option("--external", type=PORT, metavar="PORT", help="Wished for.  [default: the same]")
@click.option("--ttl", default="1h", callback=_seconds, metavar="TIME", show_default=True, help="90s, 4h, 7d.")
@click.option("--ipv6", is_flag=True, help="A pinhole to this host's IPv6 address.")
@click.option("--hold", is_flag=True, help="Keep it until Ctrl-C or SIGTERM, then let it go.")
@click.option("--release", is_flag=True, help="Let it go.")
@click.option("--listening", is_flag=True, help="Ask for what this host listens on, one question for each.")
@click.option("--yes", "chosen", metavar="LIST", help="With --listening: these, unasked: tcp/8080,udp/3074.")
@click.option("--via", type=click.Choice(list(VIAS)), help="This protocol alone.  [default: pcp, natpmp, igd]")
@click.option("--gateway", callback=_address, metavar="ADDRESS", help="[default: the default route's]")
@click.option("--address", callback=_address, metavar="ADDRESS", help="Which of this host's own addresses.")
@click.option("--timeout", type=Seconds(0.5, 600), default=4.0, show_default=True, help="For each protocol.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, one object a line.")
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
    """Ask the gateway for a port of this host, from this host.

    Prints what it got: 11.22.33.44:8080 tcp via pcp 3600s. Any gateway will do. The exit code is 0 where the port
    is open (or let go), 1 where the gateway refused, 3 where none answered.

    Examples: upnp-gw request tcp 8080 --ttl 4h; upnp-gw request udp 3074 --hold
    """
    if listening == (transport is not None) or (transport is None) != (port is None):
        raise click.UsageError("either TRANSPORT and PORT, or --listening")
    if hold and release:
        raise click.UsageError("either --hold or --release")
    if (chosen is not None or external is not None) and listening != (chosen is not None):
        raise click.UsageError("--yes goes with --listening, --external with TRANSPORT and PORT")
    from upnp_gw.client.mapping_request import RequestedMapping
    from upnp_gw.client.options import ORDER, ClientOptions
    from upnp_gw.client.secret import load_secret, nonces, secret_path

    version = 6 if ipv6 else 4
    asked = [(Transport(transport), port)] if transport is not None and port is not None else None
    wanted = asked or _choose_listeners(chosen)
    wishes = [
        RequestedMapping(way, number, number if ipv6 else external or number, ttl, version)
        for way, number in wanted
    ]
    options = ClientOptions(
        nonce=nonces(load_secret(secret_path(os.environ))),
        vias=ORDER if via is None else (VIAS[via],),
        gateway=gateway,
        source=address,
        patience_s=timeout,
    )
    if not wishes:
        return
    teller = _Output(as_json)
    sys.exit(
        _run(
            _hold_until_stopped(options, wishes, teller)
            if hold
            else _request_once(options, wishes, release, teller)
        )
    )


class _Output:
    """Results on stdout, one a line; complaints on stderr. Text of the gateway's is escaped."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def got(self, got: "MappingLease") -> None:
        if self._as_json:
            told: dict[str, Any] = {
                "external_address": str(got.external.address),
                "external_port": got.external.port,
                "transport": got.transport.value,
                "internal_address": str(got.internal.address),
                "internal_port": got.internal.port,
                "via": got.via.value,
                "lifetime_s": got.lifetime_s,
            }
            click.echo(json.dumps(told))
        else:
            click.echo(str(got))
        sys.stdout.flush()

    def complain(self, requested: "RequestedMapping") -> "Callable[[Exception], None]":
        """What a holder calls when it has lost the port."""

        def told(no: Exception) -> None:
            self.failed(requested, no)

        return told

    def failed(self, requested: "RequestedMapping", no: Exception) -> int:
        """Tells it; the answer is the exit code."""
        from upnp_gw.client.mapping_request import RequestRefused

        refused = isinstance(no, RequestRefused)
        words_of = shown(f"{no} ({no.told})" if isinstance(no, RequestRefused) and no.told else str(no), 400)
        via = f"over {no.via.protocol}: " if isinstance(no, RequestRefused) else ""
        if self._as_json:
            told = {
                "error": "refused" if refused else "unreachable",
                "message": words_of,
                "transport": requested.transport.value,
                "internal_port": requested.port,
                "via": no.via.value if isinstance(no, RequestRefused) else None,
            }
            click.echo(json.dumps(told), err=True)
        else:
            what = "refused" if refused else "no gateway"
            print_text(f"{requested.transport} {requested.port}: {paint(what, BAD)}: {via}{words_of}", err=True)
        return REFUSED if refused else NO_GATEWAY


async def _request_once(
    options: "ClientOptions", wishes: Sequence["RequestedMapping"], release: bool, teller: _Output
) -> int:
    """One after the other, as a client of a gateway should (RFC 6886 section 3.1)."""
    from upnp_gw.client.ask import first_answer, let_go
    from upnp_gw.client.mapping_request import NoAnswer, RequestRefused

    worst = 0
    for requested in wishes:
        try:
            if release:
                for gone in await let_go(options, requested):
                    teller.got(gone)
                continue
            async with first_answer(options, requested) as (_, got):
                teller.got(got)
        except (RequestRefused, NoAnswer) as no:
            worst = max(worst, teller.failed(requested, no))
    return worst


async def _hold_until_stopped(
    options: "ClientOptions", wishes: Sequence["RequestedMapping"], teller: _Output
) -> int:
    from upnp_gw.client.hold import LeaseHolder
    from upnp_gw.client.mapping_request import NoAnswer, RequestRefused

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async def keep(requested: "RequestedMapping") -> int:
        holder = LeaseHolder(options, requested, teller.got, teller.complain(requested))
        try:
            await holder.run(stop)
        except (RequestRefused, NoAnswer) as no:
            return teller.failed(requested, no)
        return 0

    return max(await asyncio.gather(*(keep(requested) for requested in wishes)))


def _choose_listeners(chosen: str | None) -> list[tuple[Transport, int]]:
    """What is listened on, as far as the user says yes to it: in the list given, or one question for each."""
    from upnp_gw.client.listening import of_this_host

    found = of_this_host()
    if chosen is not None:
        wanted = {part.strip().lower() for part in chosen.split(",") if part.strip()}
        unknown = wanted - {str(one) for one in found}
        if unknown:
            there = ", ".join(map(str, found)) or "nothing"
            raise click.UsageError(f"nobody listens on {', '.join(sorted(unknown))}; there is: {there}")
        return [(one.transport, one.port) for one in found if str(one) in wanted]
    if not found:
        print_text("nothing listens for other hosts here", err=True)
    return [(one.transport, one.port) for one in found if click.confirm(f"open {one}?", default=False, err=True)]


def _run(work: "Coroutine[Any, Any, T]") -> T:
    return asyncio.run(work)
