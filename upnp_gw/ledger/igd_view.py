"""The mappings that a control point may read: its own, or all of them (``visibility = "all"``)."""

from collections.abc import Callable, Sequence

from upnp_gw.ledger.igd_key import find
from upnp_gw.ledger.leases import left_s
from upnp_gw.ledger.transaction import Ledger
from upnp_gw.model.mapping import Endpoint, Instant, Mapping, MappingKey, Transport, Via
from upnp_gw.model.network import Network
from upnp_gw.model.request import Ipv6Firewall, MapRequest, Refusal, Refused, ReleaseRequest, Source, WanStatus


class LedgerView:
    """``request.View`` over the ledger. ``device_of``: source -> device."""

    def __init__(
        self,
        ledger: Ledger,
        device_of: Callable[[Source], str],
        network: Callable[[], Network],
        clock: Callable[[], Instant],
        counters: Callable[[], tuple[int, int, int, int]],
        speed: Callable[[], int],
        visibility: str = "own",
        ipv6_firewall: Callable[[], Ipv6Firewall] = Ipv6Firewall,
        idle_timeout_s: Callable[[Transport], int] = lambda transport: 30,
    ) -> None:
        self._ledger = ledger
        self._device_of = device_of
        self._network = network
        self._clock = clock
        self.wan_counters = counters
        self.wan_speed = speed
        self.ipv6_firewall = ipv6_firewall
        self.idle_timeout_s = idle_timeout_s
        self._all = visibility == "all"

    def _visible_device(self, source: Source) -> str | None:
        return None if self._all else self._device_of(source)

    def find(self, source: Source, key: MappingKey) -> Mapping | Refused | None:
        """As ``View.find``."""
        device = self._device_of(source)
        mapping = find(self._ledger.table, self._network(), key, source, device)
        if mapping is not None and mapping.waits:
            return None
        if mapping is None or self._all or mapping.device == device:
            return mapping
        return Refused(Refusal.NOT_AUTHORIZED, "the mapping belongs to another device", None)

    def at(self, source: Source, index: int) -> Mapping | None:
        """As ``View.at``."""
        mapping_id = self._ledger.table.numbering(self._visible_device(source)).at(index)
        return self._ledger.table.get(mapping_id) if mapping_id is not None else None

    def names_lease(self, request: MapRequest | ReleaseRequest) -> bool:
        """True if a request over NAT-PMP or PCP is for a present lease and has its nonce."""
        internal = request.internal if isinstance(request, MapRequest) else Endpoint(request.address, request.port)
        holds = (
            row.hold_of(request.via.protocol) for row in self._ledger.table.to_internal(request.transport, internal)
        )
        return any(hold is not None and hold.nonce == request.nonce for hold in holds)

    def pinhole(self, source: Source, unique_id: int) -> Mapping | Refused | None:
        """As ``View.pinhole``."""
        mapping = self._ledger.table.pinhole(unique_id)
        if mapping is None or mapping.waits or mapping.until <= self._clock().boot:
            return None
        if self._visible_device(source) in (None, mapping.device):
            return mapping
        return Refused(Refusal.NOT_AUTHORIZED, "the pinhole belongs to another device", None)

    def packets(self, mapping: Mapping) -> int:
        """Packets that the mapping let in, since its grant."""
        return self._ledger.usage_of(mapping).packets

    def mapping(self, mapping_id: str) -> Mapping | None:
        """By id, of any device. For the gateway's own servers."""
        return self._ledger.table.get(mapping_id)

    def epoch_s(self) -> int:
        """The epoch in replies of NAT-PMP and PCP, seconds."""
        return self._ledger.epoch.seconds(self._clock())

    def count(self, source: Source) -> int:
        """As ``View.count``."""
        return len(self._ledger.table.numbering(self._visible_device(source)))

    def in_range(
        self, source: Source, transport: Transport, start: int, end: int, everyone: bool, limit: int
    ) -> Sequence[Mapping]:
        """As ``View.in_range``."""
        device = None if self._all and everyone else self._device_of(source)
        table = self._ledger.table
        rows = [table.get(i) for i in table.numbering(device)]
        mappings = [
            m for m in rows if m is not None and m.key.transport is transport and start <= m.outside_port <= end
        ]
        mappings.sort(key=lambda m: m.outside_port)
        return mappings[:limit] if limit else mappings

    def left_s(self, mapping: Mapping, via: Via) -> int:
        """Seconds until the lease over this protocol ends, at least 1."""
        return left_s(mapping, via, self._clock())

    def lefts_s(self, mappings: Sequence[Mapping], via: Via) -> Sequence[int]:
        """As ``View.lefts_s``."""
        now = self._clock()
        return [left_s(mapping, via, now) for mapping in mappings]

    def system_update_id(self) -> int:
        """SystemUpdateID of WANIPConnection:2."""
        return self._ledger.update_id

    def wan(self, source: Source) -> WanStatus:
        """The status of the WAN. Uptime counts from the first external address.

        Without NAT the external address of a control point is the IPv4 address that it asks from. If it asks over
        IPv6, its IPv4 address is not known.
        """
        network, address = self._network(), source.address
        nat = network.translates_sender(address, source.interface)
        own = address if address.version == 4 else None
        connected = network.wan.up and (bool(network.external) or not nat)
        since = network.connected_at
        return WanStatus(
            interface=network.wan.name,
            up=network.wan.up,
            connected=connected,
            uptime_s=max(0, int(self._clock().boot - since)) if connected and since is not None else 0,
            external_address=(network.advertised if nat else own) if connected else None,
            nat=nat,
        )
