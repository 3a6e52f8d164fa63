"""What the daemon takes of the machine that it runs on: clocks, the boot, the one table in its kernel."""

import socket
import time
from pathlib import Path

from upnp_gw.errors import ConfigError
from upnp_gw.model import Instant


def clock() -> Instant:
    """The one clock of the daemon."""
    return Instant(time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


def claim_kernel() -> socket.socket:
    """Keeps a second daemon out of this network namespace: there is one table. Raises ConfigError.

    An abstract unix socket belongs to its network namespace and goes with its process.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind("\0upnp-gw/inet upnp_gw")
    except OSError as error:
        claim.close()
        raise ConfigError(
            "run", "", "another upnp-gw fills the kernel's table of this network namespace"
        ) from error
    return claim


def boot_id() -> str:
    """The kernel's name for this boot: BOOTTIME deadlines hold within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
