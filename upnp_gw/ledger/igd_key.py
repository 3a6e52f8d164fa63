"""The mapping that a control point means by a key of IGD, which does not name the internal client.

A key has a port of the external address that the gateway shows the control point (GetExternalIPAddress): with NAT
the gateway's, where each port has one mapping, without NAT the control point's own. Two hosts without NAT can both
hold port 443, and neither means the other's, even where every control point may see all mappings.
"""

from itertools import chain, islice

from upnp_gw.ledger.table import MappingTable
from upnp_gw.model.mapping import Mapping, MappingKey
from upnp_gw.model.network import Network
from upnp_gw.model.request import Source


def find(table: MappingTable, network: Network, key: MappingKey, source: Source, device: str) -> Mapping | None:
    """The mapping that the control point at ``source`` means; None: there is none.

    A key with an external address is exact. Another one finds, in this order: on a LAN without NAT the mapping of
    the control point's own address, on one with NAT that of the gateway's external address, whosever it is; then
    the only one of its ``device``, at another of its addresses or for another host.
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
    if translated is not None and network.translates_sender(source.address, source.interface):
        return translated
    pinholes = table.pinholes_on(key.transport, key.external_port, device)
    others = (translated,) if translated is not None and translated.device == device else ()
    meant = list(islice(chain((row for row in pinholes if row.key.remote == key.remote), others), 2))
    return meant[0] if len(meant) == 1 else None


def _translated(table: MappingTable, network: Network, key: MappingKey) -> Mapping | None:
    """The port mapping of every external address, or that of the primary one. A mapping with another external port
    at the gateway above is found by that one alone."""
    mapping = table.by_key(key)
    if mapping is None and network.external:
        mapping = table.by_key(key._replace(external_address=network.external[0]))
    if mapping is None or mapping.outside_port != key.external_port:
        told = table.told_as(key.transport, key.external_port)
        mapping = next((row for row in told if row.key.remote == key.remote), None)
    return mapping
