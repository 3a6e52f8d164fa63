"""The epoch of NAT-PMP and PCP: one counter for both, seconds on CLOCK_BOOTTIME since state was last lost.

Clients renew everything when it jumps. So it continues over a restart of the daemon that lost nothing. It starts
again after a boot, with a new store, with another external address (RFC 6886 section 3.6, RFC 6887 section 8.5),
and when other LANs than before have NAT: that moves the external address of every host on them.
"""

import json
from collections.abc import Set
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from upnp_gw.model.mapping import Instant


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch. ``Hold.epoch`` is the number of the epoch in which a nonce was last seen."""

    number: int = 0
    """Grows by one with each new epoch, also over restarts."""
    since: float = 0.0
    """BOOTTIME seconds at which the counter was 0."""
    external: IPv4Address | None = None
    """The last known external address. Another address begins a new epoch, the loss of the address does not."""
    without_nat: frozenset[str] = frozenset()
    """The LAN interfaces without NAT."""

    def seconds(self, now: Instant) -> int:
        """The value in messages: whole seconds since the epoch began."""
        return max(0, int(now.boot - self.since))

    def restarted(self, now: Instant) -> "Epoch":
        """The next epoch, after a loss of state."""
        return replace(self, number=self.number + 1, since=now.boot)

    def with_external(self, external: IPv4Address | None, now: Instant) -> "Epoch":
        """The epoch with this external address: a new epoch if the address has changed."""
        if external is None or external == self.external:
            return self
        return replace(self if self.external is None else self.restarted(now), external=external)

    def with_lans(self, without_nat: Set[str], now: Instant) -> "Epoch":
        """The epoch in which exactly these LAN interfaces have no NAT: a new epoch if others had none."""
        if without_nat == self.without_nat:
            return self
        return replace(self.restarted(now), without_nat=frozenset(without_nat))

    def to_json(self, boot_id: str) -> str:
        """The stored form. ``boot_id``: the kernel's, which shows at the next start whether BOOTTIME continued."""
        external = None if self.external is None else str(self.external)
        form = {"number": self.number, "since": self.since, "external": external, "boot": boot_id}
        return json.dumps({**form, "without_nat": sorted(self.without_nat)} if self.without_nat else form)

    @classmethod
    def from_json(cls, text: str | None, boot_id: str, now: Instant) -> "Epoch":
        """The stored epoch; a new one after a boot, or if ``text`` is missing or invalid.

        A boot ends every flow through a mapping, although its lease continues: clients have to learn of it.
        """
        if text is None:
            return cls().restarted(now)
        try:
            stored = json.loads(text)
            external = None if stored["external"] is None else IPv4Address(stored["external"])
            without_nat = frozenset(map(str, stored.get("without_nat", ())))
            epoch = cls(int(stored["number"]), float(stored["since"]), external, without_nat)
            boot = stored["boot"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return cls().restarted(now)
        return epoch if boot == boot_id else epoch.restarted(now)
