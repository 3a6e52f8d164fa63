"""The reasons of the ledger against a mapping that the gate allows."""

from dataclasses import dataclass, replace

from upnp_gw.gate.decide import SAME_PORT_ONLY
from upnp_gw.model.mapping import MOST_FILTERS, Mapping, MappingKind
from upnp_gw.model.network import Network
from upnp_gw.model.request import Refusal


@dataclass(frozen=True, slots=True)
class NotPlanned:
    refusal: Refusal
    reason: str
    retry_s: int = 0
    """The same as in ``Refused``."""
    holder: Mapping | None = None
    """The mapping in conflict. Only for the operator: a control point must not learn of it."""


ONLY_ITS_OWN_PORT = NotPlanned(Refusal.SAME_PORT, SAME_PORT_ONLY)
PINHOLE_OVERLAP = NotPlanned(
    Refusal.CONFLICT, "another pinhole of this internal endpoint has an overlapping remote host and port"
)
MAPPING_OVERLAP = NotPlanned(Refusal.CONFLICT, "another mapping of this port has an overlapping remote host")
TOO_MANY_FILTERS = NotPlanned(Refusal.TOO_MANY_FILTERS, f"a mapping can have at most {MOST_FILTERS} filters")
TOO_MANY_ELEMENTS = NotPlanned(
    Refusal.QUOTA, "this device's mappings would need more elements than elements_per_device allows"
)
TOO_MANY_ELEMENTS_WITH_FILTERS = replace(TOO_MANY_ELEMENTS, refusal=Refusal.TOO_MANY_FILTERS)
NOT_GRANTED = NotPlanned(Refusal.NOT_AUTHORIZED, "the grant allows none of the remote hosts of a filter")
OPEN_OVER_TCP = NotPlanned(
    Refusal.TOO_MANY_FILTERS, "the mapping has a lease over another protocol, which lets anyone connect"
)
NAT_BEGAN = NotPlanned(
    Refusal.UNSUPPORTED, "the LAN of its internal client has NAT now, and had none when it was made"
)
NAT_ENDED = NotPlanned(Refusal.UNSUPPORTED, "the LAN of its internal client has no NAT any more")


def overlap_refusal(mapping: Mapping, holder: Mapping) -> NotPlanned:
    """The refusal of a mapping that conflicts with ``holder``."""
    return replace(PINHOLE_OVERLAP if mapping.kind is MappingKind.PINHOLE else MAPPING_OVERLAP, holder=holder)


def nat_refusal(mapping: Mapping, network: Network) -> NotPlanned | None:
    """The reason why a mapping has no place any more: its LAN translates now and did not before, or the other way
    round. None: it has, or its LAN is not known now."""
    address = mapping.internal.address
    translated = mapping.kind is MappingKind.PORT_MAPPING
    if address.version == 6 or translated == network.translates(address) or not network.on_lan(address):
        return None
    return NAT_ENDED if translated else NAT_BEGAN
