"""LANs that come after the start of the gateway, as at a boot: mappings to their hosts wait."""

from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.network import Network


def awaits_lan(network: Network, address: IPAddress) -> bool:
    """True if the address is on no LAN, and may be on one that has no prefix of its IP version yet."""
    if network.on_lan(address):
        return False
    return any(
        all(net.is_link_local or net.version != address.version for net in link.networks) for link in network.lans
    )
