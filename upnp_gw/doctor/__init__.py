"""What could be wrong on this machine, and what to do about it.

look      reads the machine into a Scene; needs no daemon, sees more as root
scene     one moment of the machine, as values
checks    Scene -> findings; pure
search    who else on the LAN answers as a gateway
holders   who holds our ports
"""

from upnp_gw.api import Check
from upnp_gw.config.settings import Config
from upnp_gw.doctor.checks import judge
from upnp_gw.doctor.inspection import read_machine


async def examine(config: Config, daemon_pid: int | None = None) -> list[Check]:
    """Every finding, in a fixed order. Changes nothing; takes about 1.5 s.

    ``daemon_pid``: the daemon that runs with this configuration; None: it is not started yet.
    """
    return judge(await read_machine(config, daemon_pid))


__all__ = ["examine"]
