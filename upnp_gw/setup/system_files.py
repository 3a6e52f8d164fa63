"""The files of mode "router" beside the configuration, and the sysctls that a boot sets.

The texts are those of examples/systemd.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from upnp_gw.system.shipped_files import shipped_text

DROP_IN = Path("/etc/systemd/system/upnp-gw.service.d/router.conf")
SYSCTLS = Path("/etc/sysctl.d/60-upnp-gw.conf")
WAN = re.compile(r'^define WAN = "[^"\n]*"$', re.MULTILINE)
HEAD = "# Written by upnp-gw setup."


def closed_table(before: str | None, wan: str) -> str:
    """The table that keeps the internet out at boot until the gateway runs, with the name of the WAN in it.
    ``before``: the text that is there, which keeps the operator's changes."""
    text = before if before is not None and WAN.search(before) else shipped_text("systemd/closed.nft")
    return WAN.sub(f'define WAN = "{wan}"', text, count=1)


def drop_in() -> str:
    """The part of the unit that lets the daemon switch forwarding on."""
    return shipped_text("systemd/upnp-gw-router.conf")


def kept_sysctls(before: str | None, commands: Sequence[str]) -> str:
    """The file of sysctls with those of ``sysctl -w KEY=VALUE`` commands."""
    lines = (before if before is not None else f"{HEAD}\n").splitlines()
    for setting in (command.removeprefix("sysctl -w ") for command in commands if command.startswith("sysctl -w ")):
        key, _, value = setting.partition("=")
        lines = [line for line in lines if line.partition("=")[0].strip().lstrip("-") != key]
        lines.append(f"{key} = {value}")
    return "\n".join(lines) + "\n"
