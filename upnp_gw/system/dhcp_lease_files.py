"""Follows the DHCP leases in the lease files of this machine: the usual ones, or the configured ones.

A file is read again only if its size, inode or ctime has changed. That is checked every few seconds, and at a
request (at most twice a second), because a device may send its first request just after it got its lease.

A policy can open ports by the content of a lease file. So a file that was found in a directory where every user may
write counts only if root or a service owns it.
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
"""Lease files of DHCP servers, by their own defaults and those of distributions."""
POLL_S = 5.0
"""Seconds between two checks of all files."""
AT_ONCE_S = 0.5
"""Shortest time between two checks because of requests, seconds."""
LARGEST = 16 * 1024 * 1024
"""Most bytes of a lease file."""
AT_ONCE_BYTES = 256 * 1024
"""A larger file is read in a thread at the next check: no request waits for it."""

SYSTEM_UIDS = range(1000)
"""Root and the users of services (login.defs: SYS_UID_MAX)."""

Stamp = tuple[int, int, int]


@dataclass(slots=True)
class _File:
    stamp: Stamp
    leases: tuple[Lease, ...]


class LeaseFiles:
    """``paths``: the configured files; empty: USUAL. ``now``: BOOTTIME seconds."""

    def __init__(self, paths: Iterable[Path], now: Callable[[], float]) -> None:
        self._patterns = tuple(map(str, paths)) or USUAL
        self._configured = self._patterns is not USUAL
        self._now = now
        self._files: dict[str, _File] = {}
        self._polled_at = float("-inf")
        self._problems: dict[str, str] = {}
        self.leases = Leases()

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that are read now."""
        return tuple(self._files)

    def poll(self) -> None:
        """Reads changed small files; at most twice a second."""
        if self._now() - self._polled_at < AT_ONCE_S:
            return
        self._polled_at = self._now()
        small = [(path, stamp) for path, stamp in self._changed() if stamp[1] <= AT_ONCE_BYTES]
        self._take([(path, stamp, self._read(path)) for path, stamp in small])

    async def follow(self) -> None:
        """Reads changed files every POLL_S, until it is cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(POLL_S)

    async def refresh(self) -> None:
        """Reads all changed files."""
        changed = self._changed()
        self._take([(path, stamp, await asyncio.to_thread(self._read, path)) for path, stamp in changed])

    def _changed(self) -> list[tuple[str, Stamp]]:
        """The files whose stamp has changed since they were read. Drops the leases of deleted files."""
        stamps = {path: stamp for path in self._candidates() if (stamp := self._stamp(path)) is not None}
        deleted = self._files.keys() - stamps.keys()
        for path in deleted:
            del self._files[path]
        if deleted:
            self._rebuild()
        return [(p, stamp) for p, stamp in stamps.items() if p not in self._files or self._files[p].stamp != stamp]

    def _candidates(self) -> list[str]:
        if self._configured:
            return list(self._patterns)
        return [path for p in self._patterns for path in (sorted(glob(p)) if "*" in p else (p,))]

    def _stamp(self, path: str) -> Stamp | None:
        try:
            status = os.stat(path)
            problem = irregular(status) or None
            if problem is None and not self._configured:
                problem = _untrusted(path)
        except OSError as error:
            if self._configured:
                self._log_problem(path, f"cannot be read: {error.strerror}")
            return None
        if problem is not None:
            self._log_problem(path, problem)
            return None
        return status.st_ctime_ns, status.st_size, status.st_ino

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
                self._log_problem(path, problem)
            else:
                self._problems.pop(path, None)
        if read:
            self._rebuild()

    def _rebuild(self) -> None:
        self.leases = Leases(lease for file in self._files.values() for lease in file.leases)

    def _log_problem(self, path: str, problem: str) -> None:
        """Logs each problem of a file once."""
        if self._problems.get(path) != problem:
            self._problems[path] = problem
            log.warning("DHCP leases: %s: %s", path, problem)


def _untrusted(path: str) -> str | None:
    """The reason why any user of this machine may have put this file or link there; None: no user can have. Raises
    OSError."""
    if not os.stat(os.path.dirname(path)).st_mode & stat.S_IWOTH or os.lstat(path).st_uid in SYSTEM_UIDS:
        return None
    return "ignored: any user may have put it there; if it is your DHCP server's, name it in [gate] lease_files"
