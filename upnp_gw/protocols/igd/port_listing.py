"""PortMappingList, the XML document that GetListOfPortMappings returns as text (IGD section 5.1.4).

Two of its eight names differ from those of the action arguments: ``NewDescription`` and ``NewLeaseTime``.
"""

from collections.abc import Iterable

from upnp_gw.model.mapping import Mapping, Transport
from upnp_gw.protocols.xml import Document, escape

LIST = (
    '<p:PortMappingList xmlns:p="urn:schemas-upnp-org:gw:WANIPConnection"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    ' xsi:schemaLocation="urn:schemas-upnp-org:gw:WANIPConnection'
    ' http://www.upnp.org/schemas/gw/WANIPConnection-v2.xsd">'
    "{}</p:PortMappingList>"
)

PROTOCOLS = {transport: transport.value.upper() for transport in Transport}


def build_port_listing(entries: Iterable[tuple[Mapping, int]]) -> Document:
    """The list of mappings, each with its remaining lease in seconds."""
    texts: dict[int, str] = {}
    present = list(entries)  # their addresses stay, so the ids of these are theirs alone
    return Document(LIST.format("".join([_entry(mapping, left_s, texts) for mapping, left_s in present])))


def remote_text(mapping: Mapping) -> str:
    """RemoteHost: empty for anyone, else an address, or a prefix, which only the operator can set."""
    remote = mapping.key.remote
    if remote is None:
        return ""
    return str(remote.network_address) if remote.num_addresses == 1 else str(remote)


def _entry(mapping: Mapping, left_s: int, texts: dict[int, str]) -> str:
    """``texts``: id of an address object -> its text. Mappings of a host share one, whose text takes 1.5 us."""
    key, internal = mapping.key, mapping.internal
    client = texts.get(id(internal.address))
    if client is None:
        client = texts[id(internal.address)] = str(internal.address)
    return (
        f"<p:PortMappingEntry><p:NewRemoteHost>{remote_text(mapping)}</p:NewRemoteHost>"
        f"<p:NewExternalPort>{mapping.outside_port}</p:NewExternalPort>"
        f"<p:NewProtocol>{PROTOCOLS[key.transport]}</p:NewProtocol>"
        f"<p:NewInternalPort>{internal.port}</p:NewInternalPort>"
        f"<p:NewInternalClient>{client}</p:NewInternalClient>"
        f"<p:NewEnabled>{int(mapping.enabled)}</p:NewEnabled>"
        f"<p:NewDescription>{escape(mapping.description)}</p:NewDescription>"
        f"<p:NewLeaseTime>{left_s}</p:NewLeaseTime></p:PortMappingEntry>"
    )
