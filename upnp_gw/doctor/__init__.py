"""Checks this machine for problems, and says how to fix each.

inspection     reads the machine into a MachineState; needs no daemon, sees more as root
machine_state  the state of the machine at one moment, as values
checks         MachineState -> findings; pure
forwarding     the check of forwarding; pure
kernel         the check of the kernel's rules against the ledger; pure
leftovers      the check for rules of miniupnpd; pure
stopped_daemon  that comparison while no daemon runs
answers        the check of the way that answers take; pure
findings       makes a finding, with the commands that mend it; pure
guides         the pages of the documentation that findings name
search         other gateways on the LAN
holders        processes that have our ports
"""

from upnp_gw.api import Check
from upnp_gw.config.settings import Config
from upnp_gw.doctor.checks import judge
from upnp_gw.doctor.inspection import Prove, read_machine


async def examine(
    config: Config, daemon_pid: int | None = None, *, page: bool = False, prove: Prove | None = None
) -> list[Check]:
    """All findings, in a fixed order. Changes nothing; takes about 1.5 s.

    ``daemon_pid``: the daemon that runs with this configuration; None: it is not running. ``page``: the page will
    run, so its ports matter too; they do in any case while it runs.
    ``prove``: compares the kernel with the ledger of the daemon; None: the store counts, if our table is there.
    """
    return judge(await read_machine(config, daemon_pid, page=page, prove=prove))


__all__ = ["examine"]
