"""The mappings in memory, with an index for each query of a request. Each query is O(1).

Only the gateway's writer changes it, through a ``TableDelta``. The next request of a batch sees the changes of the
earlier ones. The whole batch is undone if the kernel or the store refuses it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec import Struct

from upnp_gw.ledger.charges import Charged, Charges, InternalPort
from upnp_gw.ledger.row_index import Numbering, RowIndex
from upnp_gw.model.mapping import Endpoint, IPAddress, Mapping, MappingKey, MappingKind, Transport


class Row(Struct, frozen=True, gc=False):
    """A mapping and its number: the order of first grants, kept over a refresh."""

    mapping: Mapping
    number: int


class MappingTable:
    """Every row of the ledger: active, parked and disabled ones."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._by_key: dict[MappingKey, str] = {}
        # one index for each transport: so the keys are objects that the rows have anyway
        self._by_port = {transport: RowIndex[int]() for transport in Transport}
        self._pinholes_on = {transport: RowIndex[tuple[str, int]]() for transport in Transport}
        self._by_internal = {transport: RowIndex[Endpoint]() for transport in Transport}
        self._by_client = RowIndex[IPAddress]()
        self._by_device: dict[str, Numbering] = {}
        self._everyone = Numbering()
        self._of_device = RowIndex[str]()
        self._charges = Charges()
        self._by_unique_id: dict[int, str] = {}
        self._told = {transport: RowIndex[int]() for transport in Transport}
        """The external ports that a gateway above gave in place of ours."""
        self._states: Counter[tuple[bool, bool]] = Counter()
        """(enabled, parked) -> number of rows."""
        self._next_number = 1

    # -- queries

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Mapping]:
        return iter([row.mapping for row in self._rows.values()])

    def ids(self) -> list[str]:
        """The ids of all rows, as a copy: for work in portions, between which rows come and go."""
        return list(self._rows)

    def states(self) -> tuple[int, int, int]:
        """The numbers of active, parked and disabled mappings. Those without a lease above count as parked."""
        of = self._states
        return of[True, False], of[True, True] + of[False, True], of[False, False]

    def get(self, mapping_id: str) -> Mapping | None:
        """The mapping with this id; None: there is none."""
        row = self._rows.get(mapping_id)
        return row.mapping if row else None

    def row(self, mapping_id: str) -> Row | None:
        """The mapping with this id, with its number."""
        return self._rows.get(mapping_id)

    def by_key(self, key: MappingKey) -> Mapping | None:
        """The mapping with exactly this key."""
        mapping_id = self._by_key.get(key)
        return self._rows[mapping_id].mapping if mapping_id else None

    def pinhole(self, unique_id: int) -> Mapping | None:
        """The IPv6 pinhole with this UniqueID of WANIPv6FirewallControl."""
        mapping_id = self._by_unique_id.get(unique_id)
        return self._rows[mapping_id].mapping if mapping_id else None

    def on_port(self, transport: Transport, port: int) -> list[Mapping]:
        """Every port mapping on this external port, for any external address and remote host."""
        return self._get_all(self._by_port[transport].ids(port))

    def told_as(self, transport: Transport, port: int) -> list[Mapping]:
        """Every mapping whose clients know this external port, where it is that of a gateway above and not ours."""
        return self._get_all(self._told[transport].ids(port))

    def pinholes_on(self, transport: Transport, port: int, device: str) -> Iterator[Mapping]:
        """The IPv4 pinholes on this port that a device holds, oldest first."""
        return (self._rows[i].mapping for i in self._pinholes_on[transport].ids((device, port)))

    def to_internal(self, transport: Transport, internal: Endpoint) -> list[Mapping]:
        """Every mapping to this internal endpoint, oldest first."""
        rows = [self._rows[i] for i in self._by_internal[transport].ids(internal)]
        return [row.mapping for row in sorted(rows, key=lambda row: row.number)]

    def to_client(self, address: IPAddress) -> list[Mapping]:
        """Every mapping whose internal client has this address."""
        return self._get_all(self._by_client.ids(address))

    def of_device(self, device: str) -> list[Mapping]:
        """The port mappings and pinholes that a device holds."""
        return self._get_all(self._of_device.ids(device))

    def numbering(self, device: str | None) -> Numbering:
        """The IGD array of one device, or of everyone (None). IPv6 pinholes are in no array."""
        return self._everyone if device is None else self._by_device.get(device, Numbering())

    def charged(self, device: str, inner: InternalPort, without: Iterable[Mapping] = ()) -> Charged:
        """The charges against a device's quotas, ``without`` these rows of this table."""
        return self._charges.of(device, inner, [row for row in without if row.device == device])

    def counted(self, device: str) -> int:
        """Number of a device's mappings, as its quota counts them."""
        return self._charges.mappings(device)

    def elements(self, device: str) -> int:
        """Number of kernel elements for a device's mappings."""
        return self._charges.elements(device)

    def held_by(self, device: str) -> int:
        """Number of a device's rows. Its quota goes by ``counted``."""
        return len(self._of_device.ids(device))

    def devices(self) -> Iterable[str]:
        """The devices that hold mappings."""
        return tuple(self._of_device.keys())

    # -- changes, called only by TableDelta and by the restore

    def put(self, mapping: Mapping, number: int | None = None) -> Row | None:
        """Adds or replaces by id. Returns the row before."""
        before = self._rows.get(mapping.id)
        if before is not None:
            self._unlink(before)
            number = before.number
        elif number is None:
            number = self._next_number
        self._next_number = max(self._next_number, number + 1)
        self._link(Row(mapping, number))
        return before

    def put_times(self, mapping: Mapping) -> None:
        """Replaces a row by one that differs only in its times (``recheck_at``, ``grant_ends_at``). No index and no
        charge depends on them."""
        self._rows[mapping.id] = Row(mapping, self._rows[mapping.id].number)
        self._charges.replace(mapping)

    def remove(self, mapping_id: str) -> Row | None:
        """Removes a row and returns it; None: there was none."""
        row = self._rows.get(mapping_id)
        if row is not None:
            self._unlink(row)
        return row

    def _link(self, row: Row) -> None:
        mapping = row.mapping
        self._rows[mapping.id] = row
        self._states[mapping.enabled, _closed(mapping)] += 1
        if mapping.above is not None and mapping.outside_port != mapping.key.external_port:
            self._told[mapping.key.transport].add(mapping.outside_port, mapping.id)
        self._by_key[mapping.key] = mapping.id
        self._by_internal[mapping.key.transport].add(mapping.internal, mapping.id)
        self._by_client.add(mapping.internal.address, mapping.id)
        self._of_device.add(mapping.device, mapping.id)
        self._charges.add(mapping)
        if mapping.internal.address.version == 4:
            self._link_port(mapping)
            if not mapping.waits:
                self._everyone.put(row.number, mapping.id)
                self._by_device.setdefault(mapping.device, Numbering()).put(row.number, mapping.id)
        else:
            self._by_unique_id[mapping.unique_id] = mapping.id

    def _unlink(self, row: Row) -> None:
        mapping = row.mapping
        del self._rows[mapping.id]
        self._states[mapping.enabled, _closed(mapping)] -= 1
        if mapping.above is not None and mapping.outside_port != mapping.key.external_port:
            self._told[mapping.key.transport].remove(mapping.outside_port, mapping.id)
        if self._by_key.get(mapping.key) == mapping.id:
            del self._by_key[mapping.key]
        self._by_internal[mapping.key.transport].remove(mapping.internal, mapping.id)
        self._by_client.remove(mapping.internal.address, mapping.id)
        self._of_device.remove(mapping.device, mapping.id)
        self._charges.remove(mapping)
        if mapping.internal.address.version == 4:
            self._unlink_port(mapping)
            if not mapping.waits:
                self._unlink_number(row)
        else:
            del self._by_unique_id[mapping.unique_id]

    def _unlink_number(self, row: Row) -> None:
        device = row.mapping.device
        self._everyone.remove(row.number)
        own = self._by_device[device]
        own.remove(row.number)
        if not len(own):
            del self._by_device[device]

    def _link_port(self, mapping: Mapping) -> None:
        transport, _, port, *_ = mapping.key
        if mapping.kind is MappingKind.PORT_MAPPING:
            self._by_port[transport].add(port, mapping.id)
        else:
            self._pinholes_on[transport].add((mapping.device, port), mapping.id)

    def _unlink_port(self, mapping: Mapping) -> None:
        transport, _, port, *_ = mapping.key
        if mapping.kind is MappingKind.PORT_MAPPING:
            self._by_port[transport].remove(port, mapping.id)
        else:
            self._pinholes_on[transport].remove((mapping.device, port), mapping.id)

    def _get_all(self, ids: Iterable[str]) -> list[Mapping]:
        return [self._rows[i].mapping for i in ids]


def _closed(mapping: Mapping) -> bool:
    return mapping.parked or (mapping.above is not None and not mapping.above.granted)


class TableDelta:
    """The changes of one batch, which are in the table already, and their undo."""

    def __init__(self, table: MappingTable) -> None:
        self.table = table
        self._before: dict[str, Row | None] = {}

    def put(self, mapping: Mapping) -> None:
        """Adds or replaces by id. A row that this batch removed gets its number back."""
        removed = self._before.get(mapping.id)
        before = self.table.put(mapping, removed.number if removed is not None else None)
        self._before.setdefault(mapping.id, before)

    def remove(self, mapping_id: str) -> None:
        """Removes a row."""
        before = self.table.remove(mapping_id)
        if before is not None:
            self._before.setdefault(mapping_id, before)

    def changes(self) -> list[tuple[Mapping | None, Mapping | None]]:
        """(before, after) of every row that differs."""
        pairs = [(row.mapping if row else None, self.table.get(i)) for i, row in self._before.items()]
        return [(before, after) for before, after in pairs if before != after]

    def undo(self) -> None:
        """Restores the rows as they were, in reverse order."""
        for mapping_id in reversed(self._before):
            self.table.remove(mapping_id)
        for row in self._before.values():
            if row is not None:
                self.table.put(row.mapping, row.number)
        self._before.clear()
