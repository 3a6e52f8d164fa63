"""Counts packets that the kernel drops because a LAN host sends more than its share; logs them once a minute."""

from collections import Counter
from collections.abc import Iterable

from upnp_gw.firewall.base import OverShare

TELL_AGAIN_S = 60.0


class OverShareLog:
    """Takes each reading of the kernel's counters, which begin anew after a host was quiet for a minute."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        """Packets by what they were for: ``UDP port 5351``."""
        self._seen: dict[OverShare, int] = {}
        self._told: dict[OverShare, float] = {}

    def counts(self) -> dict[str, int]:
        """Counter name -> packets, for the status page."""
        return {f"over share {target}": count for target, count in sorted(self.dropped.items())}

    def take(self, found: Iterable[OverShare], now: float) -> list[str]:
        """The lines for the log. ``now``: seconds."""
        lines = []
        before, self._seen = self._seen, {}
        for host in found:
            self._seen[host] = host.packets
            count = before.get(host, 0)
            new = host.packets - count if host.packets >= count else host.packets
            self.dropped[host.target] += new
            if new and now - self._told.get(host, float("-inf")) >= TELL_AGAIN_S:
                self._told[host] = now
                lines.append(
                    f"{host.mac} on {host.interface} sends more than its share to {host.target}:"
                    f" {host.packets} packets dropped in the kernel so far"
                )
        self._told = {host: at for host, at in self._told.items() if now - at < TELL_AGAIN_S}
        return lines
