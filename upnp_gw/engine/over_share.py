"""Counts packets that the kernel drops because a LAN host sends more than its share; logs them once a minute."""

from collections import Counter
from collections.abc import Iterable

from upnp_gw.firewall.base import OverShare

LOG_INTERVAL_S = 60.0
"""Seconds from one line about a host to the next."""


class OverShareLog:
    """Adds up readings of the kernel's counters. A host's counter restarts after a minute without drops."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        """Target, as in ``UDP port 5351`` -> dropped packets."""
        self._seen: dict[OverShare, int] = {}
        self._logged_at: dict[OverShare, float] = {}

    def counts(self) -> dict[str, int]:
        """Counter name -> packets, for the status page."""
        return {f"over share {target}": count for target, count in sorted(self.dropped.items())}

    def take(self, found: Iterable[OverShare], now: float) -> list[str]:
        """Adds a reading. Returns the lines for the log. ``now``: CLOCK_BOOTTIME seconds."""
        lines = []
        before, self._seen = self._seen, {}
        for host in found:
            self._seen[host] = host.packets
            count = before.get(host, 0)
            new = host.packets - count if host.packets >= count else host.packets
            self.dropped[host.target] += new
            if new and now - self._logged_at.get(host, float("-inf")) >= LOG_INTERVAL_S:
                self._logged_at[host] = now
                lines.append(
                    f"{host.mac} on {host.interface} sends more than its share to {host.target}:"
                    f" {host.packets} packets dropped in the kernel so far"
                )
        self._logged_at = {host: at for host, at in self._logged_at.items() if now - at < LOG_INTERVAL_S}
        return lines
