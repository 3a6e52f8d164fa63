"""Announcements of complete sets (IGD sections 2.3, 2.4): at the start, periodically, at a change, at the end."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

Uniform = Callable[[float, float], float]
"""A random number between two bounds: ``random.uniform``."""

FIRST_WAIT_S = 0.1
"""The longest wait before the first alive set."""
REPEATS = 3
"""The number of times that a burst sends the set, because multicast on Wi-Fi gets lost."""
BETWEEN_S = (0.2, 0.4)
RETRY_S = (2.0, 900.0)
"""First and longest wait, seconds, before a set that the kernel did not send is tried again."""
BOOT_ID_EPOCH = 1_577_836_800
"""2020-01-01: boot ids counted in seconds from here fit 31 bits until 2088."""
BOOT_ID_MAX = 2**31 - 1


class Nts(StrEnum):
    """Kinds of announcements, as in the NTS header (IGD section 2.4)."""

    ALIVE = "ssdp:alive"
    BYEBYE = "ssdp:byebye"
    UPDATE = "ssdp:update"


@dataclass(frozen=True, slots=True)
class AnnouncementRound:
    """One complete set of every root device, to send on every interface."""

    nts: Nts
    boot_id: int
    """BOOTID.UPNP.ORG of its messages."""
    next_boot_id: int = 0
    """NEXTBOOTID.UPNP.ORG, with UPDATE."""


def next_boot_id(previous: int, wall: float) -> int:
    """A BOOTID greater than every earlier one, 1..2**31-1.

    It is greater than the stored one and follows the wall clock, so that it grows even if the state directory is
    lost. The caller stores it before it is announced.
    """
    return min(max(previous + 1, int(wall) - BOOT_ID_EPOCH), BOOT_ID_MAX)


class Announcer:
    """The schedule. Call ``on_deadline`` at ``next_deadline``; it returns what to send. Times are BOOTTIME
    seconds."""

    def __init__(self, max_age_s: int, uniform: Uniform) -> None:
        self.boot_id = 0
        self._again_s = (max_age_s * 0.25, max_age_s * 0.45)
        self._uniform = uniform
        self._plan: list[tuple[float, AnnouncementRound]] = []
        self._retry_s = RETRY_S[0]

    def start(self, now: float, boot_id: int) -> None:
        """Schedules the first burst: byebye, so that control points forget the previous run, then alive."""
        self.boot_id = boot_id
        self._plan = [(now, AnnouncementRound(Nts.BYEBYE, boot_id)), *self._burst(now, boot_id)]

    def moved(self, now: float, boot_id: int) -> None:
        """The gateway's addresses changed: schedules an update to the new BOOTID, then a burst with it."""
        self._plan = [(now, AnnouncementRound(Nts.UPDATE, self.boot_id, boot_id)), *self._burst(now, boot_id)]
        self.boot_id = boot_id

    def stop(self) -> AnnouncementRound:
        """Ends the schedule. The answer is the byebye, to send at once."""
        self._plan = []
        return AnnouncementRound(Nts.BYEBYE, self.boot_id)

    def failed(self, now: float) -> None:
        """A set was not sent on an interface (tentative IPv6 address, full queue): schedules the next one sooner,
        at growing intervals."""
        if self._plan and self._plan[0][0] > now + self._retry_s:
            self._plan = [(now + self._retry_s, AnnouncementRound(Nts.ALIVE, self.boot_id))]
            self._retry_s = min(self._retry_s * 2, RETRY_S[1])

    def next_deadline(self) -> float | None:
        """BOOTTIME seconds of the next round; None: not started, or stopped."""
        return self._plan[0][0] if self._plan else None

    def on_deadline(self, now: float) -> list[AnnouncementRound]:
        """The sets that are due, in order."""
        due = [round_ for at, round_ in self._plan if at <= now]
        self._plan = [entry for entry in self._plan if entry[0] > now]
        if due and not self._plan:
            self._plan = [(now + self._uniform(*self._again_s), AnnouncementRound(Nts.ALIVE, self.boot_id))]
        return due

    def _burst(self, now: float, boot_id: int) -> list[tuple[float, AnnouncementRound]]:
        self._retry_s = RETRY_S[0]
        times = [now + self._uniform(0, FIRST_WAIT_S)]
        while len(times) < REPEATS:
            times.append(times[-1] + self._uniform(*BETWEEN_S))
        return [(at, AnnouncementRound(Nts.ALIVE, boot_id)) for at in times]
