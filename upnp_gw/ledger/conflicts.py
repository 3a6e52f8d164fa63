"""Rows of the ledger that the kernel could not hold beside another one."""

from collections.abc import Iterator

from upnp_gw.ledger.filters import meet, reach
from upnp_gw.ledger.table import MappingTable
from upnp_gw.model.mapping import Mapping, MappingKind


def meeting(mapping: Mapping, table: MappingTable) -> Iterator[Mapping]:
    """The other rows that the kernel could not hold beside this one, whether they are in it now or come back."""
    if mapping.kind is MappingKind.PINHOLE:
        rows = table.to_internal(mapping.key.transport, mapping.internal)
    else:
        own = mapping.key.external_address
        rows = table.on_port(mapping.key.transport, mapping.key.external_port)
        rows = [row for row in rows if row.key.external_address == own]
    mine = reach(mapping)
    return (r for r in rows if r.id != mapping.id and any(meet(one, other) for one in reach(r) for other in mine))
