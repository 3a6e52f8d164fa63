"""The epoch of NAT-PMP and PCP: one counter for both, seconds on CLOCK_BOOTTIME since state was last lost.

Clients renew everything when it jumps, so it goes on over a restart that lost nothing, and starts again where the
machine booted, the store is new, or the external address is another (RFC 6886 section 3.6, RFC 6887 section 8.5).
"""

import json
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from upnp_gw.model.mapping import Instant


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch. ``Hold.epoch`` remembers in which one a nonce was last seen."""

    number: int = 0
    """Grows by one with each new epoch, over restarts too."""
    since: float = 0.0
    """BOOTTIME seconds at which the counter was 0."""
    external: IPv4Address | None = None
    """The last external address known: another one begins a new epoch, none at all does not."""

    def seconds(self, now: Instant) -> int:
        """What messages carry: whole seconds."""
        return max(0, int(now.boot - self.since))

    def anew(self, now: Instant) -> "Epoch":
        """State was lost."""
        return replace(self, number=self.number + 1, since=now.boot)

    def at(self, external: IPv4Address | None, now: Instant) -> "Epoch":
        """The epoch with this external address: a new one where it was another."""
        if external is None or external == self.external:
            return self
        return replace(self if self.external is None else self.anew(now), external=external)

    def text(self, boot_id: str) -> str:
        """For the store."""
        external = None if self.external is None else str(self.external)
        return json.dumps({"number": self.number, "since": self.since, "external": external, "boot": boot_id})

    @classmethod
    def restored(cls, text: str | None, boot_id: str, now: Instant) -> "Epoch":
        """The one that ``text`` holds; after another boot, or without a text that makes sense, a new one.

        A boot ends every flow that went through a mapping, so its clients are to be told, though leases live on.
        """
        if text is None:
            return cls().anew(now)
        try:
            stored = json.loads(text)
            external = None if stored["external"] is None else IPv4Address(stored["external"])
            epoch = cls(int(stored["number"]), float(stored["since"]), external)
            boot = stored["boot"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return cls().anew(now)
        return epoch if boot == boot_id else epoch.anew(now)
