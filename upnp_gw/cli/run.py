"""``run``: from options, file and detection to a daemon."""

import faulthandler
import signal
import sys
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import click

from upnp_gw.cli.parameters import HTTP_PORT
from upnp_gw.cli.terminal import print_text
from upnp_gw.config.file import Settings, load
from upnp_gw.config.settings import Config, check_links
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.network import Link, awaited
from upnp_gw.text.escape import shown

CONFIG_ERROR = 2
EMULATED_WAN = "emulated"
"""The name of the emulator's WAN; no interface has this name."""
EMULATED_ADDRESS = IPv4Address("11.22.33.44")
"""The emulator's external address. upnpc reports no connection for a private or documentation address."""

_PATH = click.Path(path_type=Path)


def interface_options(command: Callable[..., None]) -> Callable[..., None]:
    """--lan, --wan and --config, which ``doctor`` takes as well."""
    for option in (
        click.option("--config", "config_file", type=_PATH, metavar="FILE", help="The configuration, TOML."),
        click.option("--wan", metavar="IF", help="The interface to the internet."),
        click.option(
            "--lan", multiple=True, metavar="IF", help="An interface to serve, the home LAN first; repeatable."
        ),
    ):
        command = option(command)
    return command


@click.command()
@interface_options
@click.option("--external", multiple=True, metavar="ADDRESS", help="An external IPv4 address; repeatable.")
@click.option("--policy", type=_PATH, metavar="FILE", help="The policy. Default: the built-in home policy.")
@click.option("--state-dir", type=_PATH, metavar="DIR", help="Where mappings and decisions are kept.")
@click.option(
    "--runtime-dir",
    type=_PATH,
    envvar="UPNP_GW_RUNTIME_DIR",
    metavar="DIR",
    help="Where the control socket is.",
)
@click.option("--http-port", type=HTTP_PORT, metavar="N", help="Description and control, on each LAN address.")
@click.option("--firewall", metavar="router|alongside", help="The whole firewall, or only our table in it.")
@click.option("--user", metavar="NAME", help="Whom root becomes: upnp-gw where there is one; root: nobody else.")
@click.option("--flush", is_flag=True, default=None, help="A stop ends every mapping and its flows.")
@click.option("--backend", metavar="nftables|memory", help="memory opens nothing: for a look around.")
def run(config_file: Path | None, **given: object) -> None:
    """Serve the LAN. Options override the file, the file overrides what is detected."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the daemon listens to it: it has yet to read the policy
    options = {"--" + name.replace("_", "-"): value for name, value in given.items()}
    try:
        config, chosen, missing = configure(config_file, options)
        for sentence in (*chosen, *missing):
            print_text(sentence)
        from upnp_gw.daemon import run_daemon

        if sys.__stderr__ is not None:
            faulthandler.enable(sys.__stderr__)  # libnftables is C: if it crashes, the log has a trace
        code = run_daemon(config, chosen)
    except ConfigError as error:
        print_text(f"upnp-gw: {shown(str(error), 1000)}", err=True)
        sys.exit(CONFIG_ERROR)
    sys.exit(code)


def is_emulator(given: Settings) -> bool:
    """True if only the loopback is served with the memory backend: a router for client tests."""
    return given.get("backend") == "memory" and tuple(given.get("lan", ())) == ("lo",)


def emulator_defaults(given: Settings) -> tuple[Settings, tuple[str, ...]]:
    """The emulator's defaults: a WAN that is always up, and an external address."""
    chosen: Settings = {}
    if "wan" not in given:
        chosen["wan"] = EMULATED_WAN
        if not given.get("external_addresses"):
            chosen["external_addresses"] = (EMULATED_ADDRESS,)
    return chosen, ()


def configure(
    config_file: Path | None, options: dict[str, object]
) -> tuple[Config, tuple[str, ...], tuple[str, ...]]:
    """The configuration in force, checked against this machine, what was chosen and why, and what is not there yet.

    Raises ConfigError.
    """
    from upnp_gw.config.interface_detection import check_apart, detect, read_interfaces

    where = str(config_file) if config_file is not None else "command line"
    try:
        interfaces, routes = read_interfaces()
    except OSError as error:
        raise ConfigError("network interfaces", "", f"cannot be read: {error.strerror}") from None

    def choose(given: Settings) -> tuple[Settings, tuple[str, ...]]:
        if is_emulator(given):
            return emulator_defaults(given)
        try:
            found = detect(interfaces, routes, wan=given.get("wan"), lan=given.get("lan", ()))
        except ConfigError as error:
            if "lan" in given:  # what was named is at fault: say where it was named
                raise ConfigError(where, error.key, error.problem) from None
            raise
        return {"wan": found.wan, "lan": found.lan}, found.why

    config, chosen, _ = load(config_file, options, choose)
    check_apart(config.wan, config.lan, interfaces)
    check_links(config, where, interfaces, {route.interface for route in routes})  # routed prefixes too
    known = {interface.name: interface for interface in interfaces}
    if config.wan == EMULATED_WAN:
        return config, chosen, ()
    return config, chosen, awaited(known.get(name, Link(name, 0, False)) for name in (config.wan, *config.lan))
