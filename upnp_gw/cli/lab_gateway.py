"""``python -m upnp_gw.cli.lab_gateway --fault F... OPTIONS OF RUN``: the daemon with faults, for ``upnp-gw lab``.

Not a command: a router cannot have faults.
"""

import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from weakref import WeakSet

import click

from upnp_gw.cli.run import run, serve
from upnp_gw.config.settings import Config
from upnp_gw.daemon.process import run_daemon
from upnp_gw.servers.wire import EpochOf, WireClasses
from upnp_gw.testing.datagram_sockets import lan_port5351_socket, lan_ssdp_socket
from upnp_gw.testing.fault_option import fault_rules
from upnp_gw.testing.firewall_seam import FirewallSeam
from upnp_gw.testing.http_connection import NotedConnection
from upnp_gw.testing.journal import Journal
from upnp_gw.testing.rules import Rules


class FaultyWire:
    """The rules, as the sockets use them."""

    def __init__(self, rules: Rules, epoch_s: EpochOf) -> None:
        self.journal = Journal(time.monotonic)
        self.rules = rules
        self._epoch_s = epoch_s

    def epoch_s(self) -> int:
        return self._epoch_s()

    def classes(self) -> WireClasses:
        return WireClasses(
            connection=partial(NotedConnection, self.journal, self.rules, WeakSet()),
            ssdp_socket=partial(lan_ssdp_socket, self),
            port5351_socket=partial(lan_port5351_socket, self),
        )


def run_with_faults(fault: Sequence[str], config_file: Path | None, **given: object) -> None:
    rules = fault_rules(fault)

    def start(config: Config, detected: tuple[str, ...]) -> int:
        return run_daemon(
            config,
            detected,
            lambda epoch_s: FaultyWire(rules, epoch_s).classes(),
            lambda firewall: FirewallSeam(firewall, lambda: rules.lasting),
        )

    sys.exit(serve(config_file, given, start))


if __name__ == "__main__":
    click.Command(
        "lab-gateway", params=[*run.params, click.Option(["--fault"], multiple=True)], callback=run_with_faults
    )()
