"""``run``: makes the configuration from options, file and detection, and starts the daemon."""

import faulthandler
import gc
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from upnp_gw.cli.parameters import HTTP_PORT, runtime_dir_option
from upnp_gw.cli.terminal import print_text
from upnp_gw.config.file import load
from upnp_gw.config.settings import EMULATED_ADDRESS, EMULATED_WAN, Config, Settings, check_links
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.network import Link, missing_interfaces
from upnp_gw.system.process import prepare_imports
from upnp_gw.text.escape import shown

CONFIG_ERROR = 2

_PATH = click.Path(path_type=Path)


def interface_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --no-nat, --lan, --wan and --config."""
    for option in (
        click.option(
            "--no-nat",
            is_flag=True,
            default=None,
            help="Translate nothing: hosts have their own IPv4 addresses outside.",
        ),
        click.option("--config", "config_file", type=_PATH, metavar="FILE", help="Configuration file, TOML."),
        click.option("--wan", metavar="IF", help="Interface to the internet."),
        click.option(
            "--lan", multiple=True, metavar="IF", help="Interface to serve; repeatable, the home LAN first."
        ),
    ):
        command = option(command)
    return command


@click.command()
@interface_options
@click.option("--external", multiple=True, metavar="ADDRESS", help="External IPv4 address; repeatable.")
@click.option("--policy", type=_PATH, metavar="FILE", help="Policy file. Default: the built-in home policy.")
@click.option("--state-dir", type=_PATH, metavar="DIR", help="Directory of mappings and decisions.")
@runtime_dir_option()
@click.option("--http-port", type=HTTP_PORT, metavar="N", help="TCP port of the UPnP server on each LAN address.")
@click.option(
    "--firewall", metavar="router|alongside", help="router: the whole firewall; alongside: one table in yours."
)
@click.option("--user", metavar="NAME", help="User to become. Default: upnp-gw, if it exists; root: stay root.")
@click.option("--flush", is_flag=True, default=None, help="End every mapping and its flows when the gateway stops.")
@click.option("--backend", metavar="nftables|memory", help="memory: opens nothing, for trials.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error. Default: info.")
def run(config_file: Path | None, **given: object) -> None:
    """Run the gateway in the foreground. Options override the file, the file overrides detection."""
    sys.exit(serve(config_file, given, _run_daemon))


def serve(
    config_file: Path | None,
    given: Mapping[str, object],
    run_daemon: Callable[[Config, tuple[str, ...]], int],
) -> int:
    """Makes the configuration and runs the daemon. ``given``: option -> value, None where it was not given. Returns
    the exit code."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the daemon handles it once the policy is loaded
    options = {"--" + name.replace("_", "-"): value for name, value in given.items()}
    try:
        config, detected, missing = configure(config_file, options)
        for sentence in (*detected, *missing):
            print_text(sentence)
        return run_daemon(config, detected)
    except ConfigError as error:
        print_text(f"upnp-gw: {shown(str(error), 1000)}", err=True)
        return CONFIG_ERROR


def _run_daemon(config: Config, detected: tuple[str, ...]) -> int:
    prepare_imports()
    try:
        from upnp_gw.daemon.process import run_daemon

        if sys.__stderr__ is not None:
            faulthandler.enable(sys.__stderr__)  # libnftables is C: if it crashes, the log has a trace
        return run_daemon(config, detected)
    finally:
        gc.enable()


FOR_TESTS = (
    "This is the daemon on the loopback; for tests of clients there is upnp-gw emulate, with faults and time."
)


def is_emulator(given: Settings) -> bool:
    """True if the memory backend serves the loopback alone: an emulated router for tests of clients."""
    return given.get("backend") == "memory" and tuple(given.get("lan", ())) == ("lo",)


def emulator_defaults(given: Settings) -> tuple[Settings, tuple[str, ...]]:
    """The emulator's defaults: a WAN that is always up, and an external address."""
    chosen: Settings = {}
    if "wan" not in given:
        chosen["wan"] = EMULATED_WAN
        if not given.get("external_addresses"):
            chosen["external_addresses"] = (EMULATED_ADDRESS,)
    return chosen, (FOR_TESTS,)


def configure(
    config_file: Path | None, options: dict[str, object]
) -> tuple[Config, tuple[str, ...], tuple[str, ...]]:
    """The configuration, a sentence for each detected interface, and one for each that is missing.

    Raises ConfigError, also if the configuration does not fit this machine.
    """
    from upnp_gw.config.interface_detection import check_apart, detect, read_interfaces

    options = {**options, "--no-nat": False if options.get("--no-nat") else None}  # the value of [firewall] nat
    where = str(config_file) if config_file is not None else "command line"
    try:
        interfaces, routes = read_interfaces()
    except OSError as error:
        raise ConfigError("network interfaces", "", f"cannot be read: {error.strerror}") from None

    def choose(given: Settings) -> tuple[Settings, tuple[str, ...]]:
        if is_emulator(given):
            return emulator_defaults(given)
        try:
            detected = detect(interfaces, routes, wan=given.get("wan"), lan=given.get("lan", ()))
        except ConfigError as error:
            if "lan" in given:  # the error is in what the file or the option names
                raise ConfigError(where, error.key, error.problem) from None
            raise
        return {"wan": detected.wan, "lan": detected.lan}, detected.why

    def fits(config: Config) -> None:
        check_apart(config.wan, config.lan, interfaces)
        check_links(config, where, interfaces, {route.interface for route in routes})  # routed prefixes too

    config, chosen, _ = load(config_file, options, choose, fits)
    known = {interface.name: interface for interface in interfaces}
    if config.wan == EMULATED_WAN:
        return config, chosen, ()
    return (
        config,
        chosen,
        missing_interfaces(known.get(name, Link(name, 0, False)) for name in (config.wan, *config.lan)),
    )
