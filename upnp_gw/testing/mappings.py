"""Port mappings and pinholes of the emulator, as a test compares them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil

from upnp_gw.ledger.events import Event, TableChanged
from upnp_gw.model.mapping import Instant, Mapping, MappingKind


@dataclass(frozen=True, slots=True)
class HeldMapping:
    """One port mapping or pinhole."""

    external_port: int
    internal_port: int
    internal_client: str
    """Its address."""
    transport: str
    """``tcp`` or ``udp``."""
    lease_s: int
    """Seconds, as it was granted or renewed last."""
    left_s: int
    """Seconds until it ends, rounded up."""
    via: str
    """``igd1``, ``igd2``, ``natpmp`` or ``pcp``: the protocol of the lease that ends last."""
    description: str
    remote_host: str
    """The address or prefix that may connect; empty: anyone."""
    enabled: bool
    forwards: bool = True
    """False: the firewall does not have it, by a fault, or since it is disabled."""

    def __str__(self) -> str:
        dead = "" if self.forwards else ", not forwarding"
        place = f"{self.transport} {self.external_port} to {self.internal_client}:{self.internal_port}"
        return f"{place} via {self.via}, {self.left_s} of {self.lease_s} s left, {self.description!r}{dead}"


def seconds_left(until: float, now: float) -> int:
    """Whole seconds, rounded up. A difference of two clock readings is not exact: 1800 s may be 1800.0000000001."""
    return ceil(round(until - now, 6))


class GrantedLeases:
    """Keeps the length of each lease at its grant. A listener of ``Events``."""

    def __init__(self) -> None:
        self._granted: dict[str, tuple[float, int]] = {}
        """Mapping id -> its end, and its seconds."""

    def on_event(self, event: Event, now: Instant) -> None:
        if not isinstance(event, TableChanged):
            return
        for mapping, _ in event.removed:
            self._granted.pop(mapping.id, None)
        for mapping in (*event.added, *(after for _, after in event.changed)):
            end, _ = self._granted.get(mapping.id, (None, 0))
            if end != mapping.until:
                self._granted[mapping.id] = mapping.until, round(mapping.until - now.boot)

    def held(
        self, mappings: Iterable[Mapping], kind: MappingKind, now: Instant, forwards: Callable[[str], bool]
    ) -> list[HeldMapping]:
        """Those of one kind whose lease has not ended, by external port. ``forwards``: True for the id of a mapping
        that the firewall has."""
        rows = [self._row(m, now, forwards(m.id)) for m in mappings if m.kind is kind and m.until > now.boot]
        return sorted(rows, key=lambda row: (row.external_port, row.transport))

    def _row(self, mapping: Mapping, now: Instant, forwards: bool) -> HeldMapping:
        last = max(mapping.holds, key=lambda hold: hold.until)
        left_s = seconds_left(mapping.until, now.boot)
        return HeldMapping(
            external_port=mapping.key.external_port,
            internal_port=mapping.internal.port,
            internal_client=str(mapping.internal.address),
            transport=mapping.key.transport.value,
            lease_s=self._granted.get(mapping.id, (0.0, left_s))[1],
            left_s=left_s,
            via=last.via.value,
            description=mapping.description,
            remote_host=str(mapping.key.remote or ""),
            enabled=mapping.enabled,
            forwards=forwards,
        )
