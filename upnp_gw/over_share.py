"""What the kernel dropped since a LAN host sent more than its share: counted, and told once a minute."""

from collections import Counter
from collections.abc import Iterable, Sequence

from upnp_gw.firewall.base import OverShare

TELL_AGAIN_S = 60.0
MOST_TOLD = 8
"""Hosts that are named in TELL_AGAIN_S, those with the most packets first: MAC addresses can be made up."""


class OverShareLog:
    """Fed with each reading of the kernel's counters, which begin anew when a host has been quiet for a minute."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        """Packets by what they were for: ``UDP port 5351``."""
        self._seen: dict[OverShare, int] = {}
        self._told: dict[OverShare, float] = {}
        self._more_told = float("-inf")

    def counts(self) -> dict[str, int]:
        """For the status page."""
        return {f"over share {target}": count for target, count in sorted(self.dropped.items())}

    def take(self, found: Iterable[OverShare], now: float) -> list[str]:
        """The lines for the log. ``now``: seconds."""
        before, self._seen = self._seen, {}
        self._told = {host: at for host, at in self._told.items() if now - at < TELL_AGAIN_S}
        untold = []
        for host in found:
            self._seen[host] = host.packets
            count = before.get(host, 0)
            new = host.packets - count if host.packets >= count else host.packets
            self.dropped[host.target] += new
            if new and host not in self._told:
                untold.append(host)
        return self._lines(sorted(untold, key=lambda host: -host.packets), now)

    def _lines(self, hosts: Sequence[OverShare], now: float) -> list[str]:
        named = hosts[: max(0, MOST_TOLD - len(self._told))]
        self._told |= dict.fromkeys(named, now)
        lines = [
            f"{host.mac} on {host.interface} sends more than its share to {host.target}:"
            f" {host.packets} packets dropped in the kernel so far"
            for host in named
        ]
        if len(hosts) > len(named) and now - self._more_told >= TELL_AGAIN_S:
            self._more_told = now
            lines.append(f"{len(hosts) - len(named)} more hosts send more than their share, some perhaps made up")
        return lines
