"""Keeps the DHCP leases current from the lease files of this machine: found by themselves, or configured.

A file is read again only when its size, inode or time of change (of its mode too) is another. That is looked at
every few seconds, and at once (not more than twice a second) when a request comes: a device that has just got its
lease may ask a moment later.

What a lease file says opens ports where a policy asks for it. So of the files that were found, one in a directory
where every user of this machine may write counts only if a server's user wrote it.
"""

import asyncio
import logging
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from upnp_gw.model.dhcp import Lease, Leases, parse_leases
from upnp_gw.system.files import FileProblem, irregular, read_trusted

log = logging.getLogger(__name__)

USUAL = (
    "/tmp/dhcp.leases",  # OpenWrt
    "/var/lib/misc/dnsmasq.leases",
    "/var/lib/dnsmasq/dnsmasq.leases",
    "/var/lib/libvirt/dnsmasq/*.leases",
    "/var/lib/kea/kea-leases4.csv",
    "/var/lib/kea/dhcp4.leases",
    "/var/lib/kea/kea-leases6.csv",
    "/var/lib/dhcp/dhcpd.leases",
    "/var/lib/dhcpd/dhcpd.leases",
    "/var/db/dhcpd.leases",
    "/var/lib/systemd/network/dhcp-server-lease/*",
    "/run/systemd/netif/dhcp-server-lease/*",
)
"""Where the servers keep them, by their own defaults and by distributions."""
LOOK_S = 5.0
AT_ONCE_S = 0.5
LARGEST = 16 * 1024 * 1024
AT_ONCE_BYTES = 256 * 1024
"""A larger file is read in a thread, on the next turn: a request does not wait for it."""

SYSTEM_UIDS = range(1000)
"""Root and the users of services; people come after them (login.defs: SYS_UID_MAX)."""

Stamp = tuple[int, int, int]


@dataclass(slots=True)
class _File:
    stamp: Stamp
    leases: tuple[Lease, ...]


class LeaseFiles:
    """``paths``: the configured files; empty: the usual places. ``now``: BOOTTIME seconds."""

    def __init__(self, paths: Iterable[Path], now: Callable[[], float]) -> None:
        self._patterns = tuple(map(str, paths)) or USUAL
        self._configured = self._patterns is not USUAL
        self._now = now
        self._files: dict[str, _File] = {}
        self._looked_at = float("-inf")
        self._problems: dict[str, str] = {}
        self.leases = Leases()

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that are read now."""
        return tuple(self._files)

    def look(self) -> None:
        """Takes in what changed, small files only; at most twice a second."""
        if self._now() - self._looked_at < AT_ONCE_S:
            return
        self._looked_at = self._now()
        small = [(path, stamp) for path, stamp in self._changed() if stamp[1] <= AT_ONCE_BYTES]
        self._take([(path, stamp, self._read(path)) for path, stamp in small])

    async def follow(self) -> None:
        """Keeps on looking, large files too."""
        while True:
            await self.refresh()
            await asyncio.sleep(LOOK_S)

    async def refresh(self) -> None:
        """Takes in all that changed."""
        changed = self._changed()
        self._take([(path, stamp, await asyncio.to_thread(self._read, path)) for path, stamp in changed])

    def _changed(self) -> list[tuple[str, Stamp]]:
        """The files whose stamp is another than when they were read; those that are gone are forgotten."""
        found = {path: stamp for path in self._candidates() if (stamp := self._stamp(path)) is not None}
        gone = self._files.keys() - found.keys()
        for path in gone:
            del self._files[path]
        if gone:
            self._rebuild()
        return [(p, stamp) for p, stamp in found.items() if p not in self._files or self._files[p].stamp != stamp]

    def _candidates(self) -> list[str]:
        if self._configured:
            return list(self._patterns)
        return [path for p in self._patterns for path in (sorted(glob(p)) if "*" in p else (p,))]

    def _stamp(self, path: str) -> Stamp | None:
        try:
            found = os.stat(path)
            problem = irregular(found) or None
            if problem is None and not self._configured:
                problem = _planted(path)
        except OSError as error:
            if self._configured:
                self._say(path, f"cannot be read: {error.strerror}")
            return None
        if problem is not None:
            self._say(path, problem)
            return None
        return found.st_ctime_ns, found.st_size, found.st_ino

    def _read(self, path: str) -> tuple[tuple[Lease, ...], str | None]:
        try:
            parsed = parse_leases(read_trusted(Path(path), LARGEST))
        except FileProblem as error:
            return (), error.problem
        return parsed.leases, parsed.problem

    def _take(self, read: list[tuple[str, Stamp, tuple[tuple[Lease, ...], str | None]]]) -> None:
        for path, stamp, (leases, problem) in read:
            self._files[path] = _File(stamp, leases)
            if problem is not None:
                self._say(path, problem)
            else:
                self._problems.pop(path, None)
        if read:
            self._rebuild()

    def _rebuild(self) -> None:
        self.leases = Leases(lease for file in self._files.values() for lease in file.leases)

    def _say(self, path: str, problem: str) -> None:
        """Once for each problem of a file."""
        if self._problems.get(path) != problem:
            self._problems[path] = problem
            log.warning("DHCP leases: %s: %s", path, problem)


def _planted(path: str) -> str | None:
    """Why any user of this machine could have put this file, or a link, there; None: none could. Raises OSError."""
    if not os.stat(os.path.dirname(path)).st_mode & stat.S_IWOTH or os.lstat(path).st_uid in SYSTEM_UIDS:
        return None
    return "any user can have put it there; if it is a DHCP server's, name it in [gate] lease_files"
