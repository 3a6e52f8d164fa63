"""The mapping that a control point means by a key of IGD, which does not name the internal client.

With NAT a key has one mapping. Without NAT each host has its own external address, so two hosts can both hold
port 443.
"""

from itertools import chain, islice

from upnp_gw.ledger.table import MappingTable
from upnp_gw.model.mapping import Mapping, MappingKey
from upnp_gw.model.network import Network
from upnp_gw.model.request import Source


def find(
    table: MappingTable, network: Network, key: MappingKey, source: Source, device: str, sees_all: bool
) -> Mapping | None:
    """The mapping that the control point at ``source`` means; None: there is none.

    A key with an external address is exact. Another one finds, in this order: on a LAN without NAT the control
    point's own pinhole, on one with NAT the mapping of the gateway's external address, whosever it is; the only one
    of its ``device``; with ``sees_all`` the only one of all.
    """
    if key.external_address is not None:
        return table.by_key(key)
    translated = _translated(table, network, key)
    if not network.without_nat:
        return translated
    if source.address.version == 4:
        own = table.by_key(key._replace(external_address=source.address))
        if own is not None:
            return own
    if network.translates_sender(source.address, source.interface) and translated is not None:
        return translated
    others = [translated] if translated is not None else []
    meant = _first_two(table, key, device, [row for row in others if row.device == device])
    if not meant and sees_all:
        meant = _first_two(table, key, None, others)
    return meant[0] if len(meant) == 1 else None


def _first_two(table: MappingTable, key: MappingKey, device: str | None, more: list[Mapping]) -> list[Mapping]:
    """The first two pinholes of a device, or of all, that the key may mean, and of ``more``."""
    pinholes = table.pinholes_on(key.transport, key.external_port, device)
    return list(islice(chain((row for row in pinholes if row.key.remote == key.remote), more), 2))


def _translated(table: MappingTable, network: Network, key: MappingKey) -> Mapping | None:
    """The port mapping of every external address, or that of the primary one."""
    mapping = table.by_key(key)
    if mapping is None and network.external:
        return table.by_key(key._replace(external_address=network.external[0]))
    return mapping
