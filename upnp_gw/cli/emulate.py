"""``emulate``: the emulator of ``upnp_gw.testing`` as a process, for tests of clients in any language."""

import asyncio
import sys
from datetime import date
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from upnp_gw.cli.parameters import Number
from upnp_gw.cli.terminal import print_text
from upnp_gw.text.escape import shown

if TYPE_CHECKING:
    from upnp_gw.testing.api.bodies import State

CONFIG_ERROR = 2

UDP_PORT = Number("a UDP port", 0, 65535, 5351)
TCP_PORT = Number("a TCP port", 0, 65535, 5000)
"""0: any free port."""


OPTIONS = {
    "http_port": "--port",
    "pcp_port": "--pcp-port",
    "search_port": "--search-port",
    "control_port": "--control-port",
    "control_address": "--control-address",
    "interface": "--interface",
    "address": "--address",
}
"""Option of the emulator -> that of the command."""


class ExternalAddress(click.ParamType[str]):
    """An IPv4 address, or nothing."""

    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return str(IPv4Address(str(value))) if value else ""
        except AddressValueError:
            accepted = 'an IPv4 address such as 203.0.113.7, or "" for none'
            return self.fail(f'got "{shown(str(value), 60)}"; accepted: {accepted}', param, ctx)


class ControlAddress(click.ParamType[IPv4Address]):
    """An IPv4 address of this machine."""

    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> IPv4Address:
        try:
            return IPv4Address(str(value))
        except AddressValueError:
            return self.fail(
                f'got "{shown(str(value), 60)}"; accepted: an IPv4 address such as 0.0.0.0', param, ctx
            )


class FaultText(click.ParamType[str]):
    """A fault as ``testing.fault_option`` reads it."""

    name = "fault"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from upnp_gw.testing.fault_option import parse_fault

        try:
            parse_fault(str(value))
        except ValueError as error:
            self.fail(shown(str(error), 1000), param, ctx)
        return str(value)


class PersonalityName(click.ParamType[str]):
    """The name of a personality."""

    name = "personality"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from upnp_gw.testing.personalities import personality_of

        try:
            personality_of(str(value))
        except ValueError as error:
            self.fail(shown(str(error), 1000), param, ctx)
        return str(value)


@click.command()
@click.option(
    "--personality",
    "personalities",
    multiple=True,
    type=PersonalityName(),
    metavar="NAME",
    help="Kind of router, such as v1-only; repeatable.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    type=FaultText(),
    metavar="FAULT",
    help="Fault from the start on, such as AddPortMapping=718,times=1; repeatable.",
)
@click.option("--port", type=TCP_PORT, default=0, metavar="N", help="TCP port of descriptions and control URLs.")
@click.option("--pcp-port", type=UDP_PORT, metavar="N", help="UDP port of NAT-PMP and PCP. Default: 5351, if free.")
@click.option("--search-port", type=UDP_PORT, metavar="N", help="UDP port of SSDP. Default: 1900, if free.")
@click.option("--control-port", type=TCP_PORT, default=0, metavar="N", help="TCP port of the control API.")
@click.option(
    "--control-address",
    type=ControlAddress(),
    default="127.0.0.1",
    metavar="ADDRESS",
    help="Address of the control API, such as 0.0.0.0 in a container. Default: the loopback.",
)
@click.option("--interface", default="", metavar="IF", help="Interface to serve. Default: the loopback.")
@click.option("--address", default="", metavar="ADDRESS", help="IPv4 address on the interface.")
@click.option("--multicast", is_flag=True, help="Answer searches by multicast too.")
@click.option(
    "--external",
    type=ExternalAddress(),
    metavar="ADDRESS",
    help="External IPv4 address. Empty: none. Default: 11.22.33.44.",
)
@click.option("--no-nat", is_flag=True, help="A firewall without NAT: mappings are pinholes.")
@click.option("--ipv6", is_flag=True, help="Serve ::1 too, for IPv6 pinholes.")
@click.option(
    "--policy", type=click.Path(path_type=Path), metavar="FILE", help="Policy file. Default: home policy."
)
@click.option("--frozen", is_flag=True, help="Time stands still until the control API moves it.")
@click.option("--until-eof", is_flag=True, help="Stop when standard input ends, too.")
@click.option("--json", "as_json", is_flag=True, help="Print the first line as a JSON object.")
def emulate(
    personalities: tuple[str, ...],
    faults: tuple[str, ...],
    port: int,
    pcp_port: int | None,
    search_port: int | None,
    control_port: int,
    control_address: IPv4Address,
    interface: str,
    address: str,
    multicast: bool,
    external: str | None,
    no_nat: bool,
    ipv6: bool,
    policy: Path | None,
    frozen: bool,
    until_eof: bool,
    as_json: bool,
) -> None:
    """Emulate a router for tests of clients. It opens no port, and needs no root.

    One line with its URLs is printed when it answers. It runs until SIGINT or SIGTERM. Ports without a default are
    any free ones. Faults, time and journal: HTTP at the control URL (docs/emulate.md). Example:

    \b
      upnp-gw emulate --fault AddPortMapping=718,times=1

    Exit codes: 0: stopped; 2: wrong usage, or a port that is taken.
    """
    from upnp_gw.gate.load import load_text, read_text
    from upnp_gw.model.errors import ConfigError, GatewayError
    from upnp_gw.testing.api.process import serve

    options: dict[str, Any] = {
        "http_port": port,
        "pcp_port": pcp_port,
        "search_port": search_port,
        "interface": interface,
        "address": address,
        "multicast": multicast,
        "nat": not no_nat,
        "ipv6": ipv6,
        "personality": personalities,
        "frozen": frozen,
    }
    try:
        if external is not None:
            options["external_address"] = external
        if policy is not None:
            options["policy"] = read_text(policy)
            load_text(options["policy"], str(policy), date.today())  # noqa: DTZ011 - a mistake names the file
        started = _print_json if as_json else _print_line
        asyncio.run(serve(options, faults, control_port, started, until_eof, control_address))
    except ConfigError as error:
        option = OPTIONS.get(error.where, error.where)
        print_text(f"upnp-gw emulate: {option}: {shown(error.key, 200)}: {shown(error.problem, 1000)}", err=True)
        sys.exit(CONFIG_ERROR)
    except GatewayError as error:
        print_text(f"upnp-gw emulate: {shown(str(error), 1000)}", err=True)
        sys.exit(CONFIG_ERROR)


def _print_json(state: "State") -> None:
    import msgspec

    click.echo(msgspec.json.encode(state))


def _print_line(state: "State") -> None:
    parts = {
        "location": state.location,
        "control": state.control,
        "pcp": f"{state.gateway_address}:{state.pcp_port}",
        "ssdp": f"{state.gateway_address}:{state.search_port}",
    }
    click.echo(" ".join(f"{name} {value}" for name, value in parts.items()))
