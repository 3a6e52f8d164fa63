"""The sender of a connection: its address must belong on the interface that it came in on (SR-1)."""

from collections.abc import Callable
from ipaddress import ip_address

from upnp_gw.model.network import Network
from upnp_gw.model.request import Source

REMEMBERED_MAX = 1024
"""Most senders that ``Peers`` remembers."""


class Peers:
    """Remembers the senders, until the network changes."""

    def __init__(self, network: Callable[[], Network]) -> None:
        self._current = network
        self._network: Network | None = None
        self._known: dict[tuple[object, ...], Source | None] = {}

    def identify(self, peer: tuple[object, ...], interface: str) -> Source | None:
        """The peer as a source on this interface; None: its address does not belong there. ``peer``: the name of
        the socket's other end."""
        network = self._current()
        if network is not self._network or len(self._known) >= REMEMBERED_MAX:
            self._network = network
            self._known.clear()
        key = (interface, peer[0], *peer[3:])
        if key in self._known:
            return self._known[key]
        source = self._known[key] = _identify(peer, interface, network)
        return source


def _identify(peer: tuple[object, ...], interface: str, network: Network) -> Source | None:
    address = ip_address(str(peer[0]).partition("%")[0])
    link = network.lan(interface)
    if link is None or not network.on_link(address, interface):
        return None
    if address.version == 6 and address.is_link_local and peer[3] != link.index:
        return None
    return Source(address, interface)
