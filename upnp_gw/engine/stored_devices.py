"""Gives stored devices their present identifiers: the gateway may serve other LANs than when they were written.

A device's identifier contains its LAN where the gateway serves several (``upnp_gw.model.device``). An older version
wrote only the MAC address, as this one does for one LAN; and an interface can get another name. Pure.
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

        A name of a LAN that is served stays. Else its address tells the LAN. Where nothing tells it, a MAC address
        alone is on the first LAN, and a device of a LAN that is not served any more keeps its name: it must not
        become a device of another LAN.
        """
        mac, said = mac_of(device), lan_of(device)
        if mac is None:
            return device
        served = self._network.lan_names
        if said in served:
            return self._network.device_id(mac, said)
        found = lan if lan in served else self._lans.get(device, "")
        if not found and said:
            return device
        return self._network.device_id(mac, found or self._network.main_lan)
