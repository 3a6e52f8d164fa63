"""Checks this machine for problems, and says how to fix each.

inspection     reads the machine into a MachineState; needs no daemon, sees more as root
machine_state  the state of the machine at one moment, as values
checks         MachineState -> findings; pure
forwarding     the check of forwarding; pure
answers        the check of the way that answers take; pure
findings       makes a finding, with the commands that mend it; pure
guides         the pages of the documentation that findings name
search         other gateways on the LAN
holders        processes that have our ports
"""

from upnp_gw.api import Check
from upnp_gw.config.settings import Config
from upnp_gw.doctor.checks import judge
from upnp_gw.doctor.inspection import read_machine


async def examine(config: Config, daemon_pid: int | None = None, *, page: bool = False) -> list[Check]:
    """All findings, in a fixed order. Changes nothing; takes about 1.5 s.

    ``daemon_pid``: the daemon that runs with this configuration; None: it is not running. ``page``: the page will
    run, so its ports matter too; they do in any case while it runs.
    """
    return judge(await read_machine(config, daemon_pid, page=page))


__all__ = ["examine"]
