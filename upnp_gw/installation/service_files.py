"""The files of the service with their places: units, users, directories, router mode, forwarding. Their texts are
those of examples/systemd; a checkout, the Debian package and the command ``install`` share them.

Every path is relative to the root directory.
"""

from collections.abc import Mapping
from enum import Enum
from pathlib import PurePosixPath

from upnp_gw.system.shipped_files import shipped_text

OWN_PROGRAM = "/opt/upnp-gw/bin/upnp-gw"
"""The program in the units of examples/systemd."""
UNITS = ("upnp-gw.service", "upnp-gw-page.service", "upnp-gw-closed.service")
USERS = ("upnp-gw", "upnp-gw-page")
"""The users of the gateway and of its page, each with a file of systemd-sysusers and one of systemd-tmpfiles."""
WAN = 'define WAN = "eth0"'
"""The line of closed.nft with the interface to the internet."""
Files = Mapping[PurePosixPath, str]
"""Path -> text."""


class Layout(Enum):
    """PACKAGE: files of a distribution's package. ADMINISTRATOR: files of the machine, which override those."""

    PACKAGE = PurePosixPath("usr/lib")
    ADMINISTRATOR = PurePosixPath("etc")


def service_files(layout: Layout, program: str = OWN_PROGRAM) -> Files:
    """Units, users and their directories, for both modes of the firewall.

    ``program``: the absolute path for ExecStart.
    """
    units = {layout.value / "systemd" / "system" / name: unit(name, program) for name in UNITS}
    users = {
        layout.value / f"{kind}.d" / f"{user}.conf": _text(f"{user}-{kind}.conf")
        for kind in ("sysusers", "tmpfiles")
        for user in USERS
    }
    return units | users


def unit(name: str, program: str = OWN_PROGRAM) -> str:
    """The text of a unit of ``UNITS`` for that program, with the man pages as its documentation."""
    head = "[Unit]\n"
    return _text(name).replace(OWN_PROGRAM, program).replace(head, f"{head}Documentation=man:upnp-gw(1)\n")


def router_files(wan: str) -> Files:
    """The additional files of mode router: the drop-in, and the table that upnp-gw-closed.service loads at boot.

    ``wan``: the name of the interface to the internet.
    """
    return {
        PurePosixPath("etc/systemd/system/upnp-gw.service.d/router.conf"): _text("upnp-gw-router.conf"),
        PurePosixPath("etc/upnp-gw/closed.nft"): _text("closed.nft").replace(WAN, f'define WAN = "{wan}"'),
    }


def forwarding_files() -> Files:
    """The sysctls for mode alongside on a machine that does not forward yet."""
    return {PurePosixPath("etc/sysctl.d/60-upnp-gw.conf"): _text("upnp-gw-sysctl.conf")}


def _text(name: str) -> str:
    return shipped_text(f"systemd/{name}")
