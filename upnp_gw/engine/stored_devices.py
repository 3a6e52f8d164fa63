"""Gives stored devices their present identifiers: the gateway may serve other LANs than when they were written.

A device's identifier contains its LAN if the gateway serves several (``upnp_gw.model.device``). Older versions
stored only the MAC address, as this one does for one LAN. An interface can also get another name. Pure.
"""

from upnp_gw.model.device import lan_of, mac_of
from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.network import Network


class StoredDevices:
    """Present identifiers, by the network at the start. Call ``learn`` for all devices before ``now``."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._lans: dict[str, str] = {}
        """Stored identifier -> the LAN of the device's address."""

    def learn(self, device: str, address: IPAddress) -> None:
        """Notes an address of a stored device."""
        if lan := self._network.lan_of(address):
            self._lans[device] = lan

    def now(self, device: str, lan: str = "") -> str:
        """The present identifier of a stored device. ``lan``: its LAN, if that was stored beside it.

        An identifier with a served LAN stays. Otherwise ``lan`` or the device's address gives the LAN. Without
        either, a bare MAC address is on the first LAN; an identifier with a LAN that is no longer served stays: the
        device must not become one of another LAN.
        """
        mac, named_lan = mac_of(device), lan_of(device)
        if mac is None:
            return device
        served = self._network.lan_names
        if named_lan in served:
            return self._network.device_id(mac, named_lan)
        found = lan if lan in served else self._lans.get(device, "")
        if not found and named_lan:
            return device
        return self._network.device_id(mac, found or self._network.main_lan)
