"""The SSDP announcements of the emulator."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from upnp_gw.testing.changes import Changes
from upnp_gw.testing.records import NEWEST


@dataclass(frozen=True, slots=True)
class Announcement:
    """One NOTIFY to the multicast group."""

    nts: str
    """``ssdp:alive``, ``ssdp:byebye`` or ``ssdp:update``."""
    nt: str
    """The subject: a device or service type, ``upnp:rootdevice``, or a UUID."""
    usn: str
    location: str
    """The URL of the description; empty in a byebye."""
    boot_id: int
    """BOOTID.UPNP.ORG."""
    data: bytes
    """The whole datagram."""
    at_s: float
    """Seconds since the emulator's start, by its own clock."""

    def __str__(self) -> str:
        return f"{self.nts} of {self.nt}, BOOTID {self.boot_id}"


class Announced:
    """The announcements so far. Kept on the emulator's loop. ``now_s``: seconds since its start."""

    def __init__(self, now_s: Callable[[], float], changes: Changes | None = None) -> None:
        self._now_s = now_s
        self._changes = changes or Changes()
        self._announcements: deque[Announcement] = deque(maxlen=NEWEST)

    def add(self, data: bytes) -> None:
        """Notes a datagram to the multicast group."""
        lines = data.decode("utf-8", "replace").split("\r\n")[1:]
        fields = {name.upper(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._announcements.append(
            Announcement(
                nts=fields.get("NTS", ""),
                nt=fields.get("NT", ""),
                usn=fields.get("USN", ""),
                location=fields.get("LOCATION", ""),
                boot_id=int(fields.get("BOOTID.UPNP.ORG", "0")),
                data=data,
                at_s=self._now_s(),
            )
        )
        self._changes.changed()

    def all(self) -> tuple[Announcement, ...]:
        """In the order in which they were sent."""
        return tuple(self._announcements)

    def clear(self) -> None:
        """Forgets all of them."""
        self._announcements.clear()
