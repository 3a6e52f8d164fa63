"""PortMappingList, the XML document that GetListOfPortMappings returns as text (IGD section 5.1.4).

Two of its eight names differ from those of the action arguments: ``NewDescription`` and ``NewLeaseTime``.
"""

from collections.abc import Iterable

from upnp_gw.model.mapping import Mapping
from upnp_gw.protocols.xml import Document, escape

LIST = (
    '<p:PortMappingList xmlns:p="urn:schemas-upnp-org:gw:WANIPConnection"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    ' xsi:schemaLocation="urn:schemas-upnp-org:gw:WANIPConnection'
    ' http://www.upnp.org/schemas/gw/WANIPConnection-v2.xsd">'
    "{}</p:PortMappingList>"
)


def build_port_listing(entries: Iterable[tuple[Mapping, int]]) -> Document:
    """The list of mappings, each with its remaining lease in seconds."""
    return Document(LIST.format("".join(_entry(mapping, left_s) for mapping, left_s in entries)))


def remote_text(mapping: Mapping) -> str:
    """RemoteHost: empty for anyone, else an address, or a prefix, which only the operator can set."""
    remote = mapping.key.remote
    if remote is None:
        return ""
    return str(remote.network_address) if remote.num_addresses == 1 else str(remote)


def _entry(mapping: Mapping, left_s: int) -> str:
    children = (
        ("NewRemoteHost", remote_text(mapping)),
        ("NewExternalPort", str(mapping.key.external_port)),
        ("NewProtocol", mapping.key.transport.value.upper()),
        ("NewInternalPort", str(mapping.internal.port)),
        ("NewInternalClient", str(mapping.internal.address)),
        ("NewEnabled", str(int(mapping.enabled))),
        ("NewDescription", escape(mapping.description)),
        ("NewLeaseTime", str(left_s)),
    )
    inner = "".join(f"<p:{name}>{value}</p:{name}>" for name, value in children)
    return f"<p:PortMappingEntry>{inner}</p:PortMappingEntry>"
