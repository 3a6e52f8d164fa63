"""Announcements and search answers as bytes (IGD sections 2.2, 2.4, 2.5).

No value comes from a client, except an ST that matched a row of the notify set. So none has a line break, and
``_message`` checks that.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from upnp_gw import RELEASE
from upnp_gw.model.mapping import IPAddress
from upnp_gw.protocols.igd.description import RootDevice
from upnp_gw.protocols.ssdp.targets import SsdpTarget

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
VALUE = re.compile(r"[ -~]*")

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class MessageIdentity:
    """The values that all messages share."""

    roots: tuple[RootDevice, ...]
    """From the lowest version to the highest, at least one."""
    server: str
    """Three tokens, see ``server_token``."""
    max_age_s: int
    """Seconds for which an announcement is valid, >= 1800."""
    http_port: int
    """The HTTP port of the descriptions on every LAN address."""

    def location(self, root: RootDevice, own: IPAddress) -> str:
        """The URL of a description at an address of the gateway; IPv6 in brackets, without a zone."""
        host = f"[{own}]" if own.version == 6 else f"{own}"
        return f"http://{host}:{self.http_port}{root.path}"


def server_token(kernel_release: str) -> str:
    """SERVER: operating system, UPnP version (of specVersion), product. Only the first two numbers of the kernel's
    version: control points need no more, and attackers should not get more."""
    match = re.match(r"[0-9]{1,4}\.[0-9]{1,4}", kernel_release, re.ASCII)
    return f"Linux/{match[0] if match else '0'} UPnP/1.1 upnp-gw/{RELEASE}"


def build_alive(
    identity: MessageIdentity, target: SsdpTarget, *, group: str, own: IPAddress, boot_id: int
) -> bytes:
    """ssdp:alive for a row. ``group``: the HOST of the group; ``own``: the source address."""
    return _notify(
        group,
        ("CACHE-CONTROL", f"max-age={identity.max_age_s}"),
        ("LOCATION", identity.location(target.root, own)),
        ("NT", target.nt),
        ("NTS", "ssdp:alive"),
        ("SERVER", identity.server),
        ("USN", target.usn),
        *_state(target, boot_id),
    )


def build_byebye(target: SsdpTarget, *, group: str, boot_id: int) -> bytes:
    """ssdp:byebye for a row; it has no LOCATION, CACHE-CONTROL and SERVER."""
    return _notify(group, ("NT", target.nt), ("NTS", "ssdp:byebye"), ("USN", target.usn), *_state(target, boot_id))


def build_update(
    identity: MessageIdentity, target: SsdpTarget, *, group: str, own: IPAddress, boot_id: int, next_boot_id: int
) -> bytes:
    """ssdp:update for a row: the next announcements will have ``next_boot_id``, and the gateway did not restart."""
    return _notify(
        group,
        ("LOCATION", identity.location(target.root, own)),
        ("NT", target.nt),
        ("NTS", "ssdp:update"),
        ("USN", target.usn),
        *_state(target, boot_id),
        ("NEXTBOOTID.UPNP.ORG", str(next_boot_id)),
    )


def build_answer(
    identity: MessageIdentity, target: SsdpTarget, *, own: IPAddress, boot_id: int, wall: float
) -> bytes:
    """The search answer of a row. ``wall``: seconds since the epoch, for DATE."""
    return _message(
        "HTTP/1.1 200 OK",
        (
            ("CACHE-CONTROL", f"max-age={identity.max_age_s}"),
            ("DATE", http_date(wall)),
            ("EXT", ""),
            ("LOCATION", identity.location(target.root, own)),
            ("SERVER", identity.server),
            ("ST", target.nt),
            ("USN", target.usn),
            *_state(target, boot_id),
        ),
    )


def http_date(wall: float) -> str:
    """A date of RFC 9110 section 5.6.7, independent of the locale."""
    at = datetime.fromtimestamp(wall, UTC)
    return f"{DAYS[at.weekday()]}, {at.day:02} {MONTHS[at.month - 1]} {at.year:04} {at:%H:%M:%S} GMT"


def _state(target: SsdpTarget, boot_id: int) -> tuple[Header, Header]:
    return ("BOOTID.UPNP.ORG", str(boot_id)), ("CONFIGID.UPNP.ORG", str(target.root.config_id))


def _notify(group: str, *headers: Header) -> bytes:
    return _message("NOTIFY * HTTP/1.1", (("HOST", group), *headers))


def _message(start: str, headers: Iterable[Header]) -> bytes:
    lines = [start]
    for name, value in headers:
        if not VALUE.fullmatch(value):
            raise ValueError(f"{name} cannot be sent: {value!r}")
        lines.append(f"{name}: {value}" if value else f"{name}:")
    return "\r\n".join([*lines, "", ""]).encode("ascii")
