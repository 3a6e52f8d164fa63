"""Links and addresses from rtnetlink messages, and the ``Network`` made of them. Pure: no socket, no clock."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

from upnp_gw.model.mapping import IPNetwork
from upnp_gw.model.network import Link, Network
from upnp_gw.system.rtnetlink import AddressMessage, LinkMessage


class LinkState:
    """Keeps every link of the namespace: the WAN or a LAN may appear later, be renamed, or get another index."""

    def __init__(
        self, wan: str, lan: Sequence[str], routed: Sequence[IPNetwork] = (), external: Sequence[IPv4Address] = ()
    ) -> None:
        self._external = tuple(external)
        self._links: dict[int, LinkMessage] = {}
        self._addresses: dict[int, dict[IPv4Interface | IPv6Interface, AddressMessage]] = {}
        self._lans: dict[int, str] = {}
        absent = tuple(Link(name, 0, False) for name in lan)
        self.nothing = Network(Link(wan, 0, False), absent, tuple(routed), external=self._external)
        """The network before the first message."""

    def clear(self) -> None:
        self._links.clear()
        self._addresses.clear()

    def update(self, message: LinkMessage | AddressMessage) -> None:
        if isinstance(message, AddressMessage):
            addresses = self._addresses.setdefault(message.index, {})
            if message.deleted:
                addresses.pop(message.address, None)
            else:
                addresses[message.address] = message
        elif message.deleted:
            self._links.pop(message.index, None)
            self._addresses.pop(message.index, None)
        else:
            self._links[message.index] = message

    def lan_of(self, index: int) -> str | None:
        """The name of the LAN link of this index, as of the last ``network()``."""
        return self._lans.get(index)

    def mac_of(self, index: int) -> str | None:
        """The link's own MAC address; None: it has none."""
        message = self._links.get(index)
        return message.mac if message is not None else None

    def network(self, old: Network, boot: float) -> Network:
        """The network as it is now; ``old`` itself if nothing has changed. ``boot``: BOOTTIME seconds."""
        by_name = {message.name: message for message in self._links.values()}
        wan = self._link(old.wan.name, by_name.get(old.wan.name))
        lans = tuple(self._link(link.name, by_name.get(link.name)) for link in old.lans)
        external = self._external or tuple(a for a in wan.ipv4 if not (a.is_link_local or a.is_loopback))
        new = replace(old, wan=wan, lans=lans, external=external)
        if new == old and (old.connected_at is not None or not external):
            return old
        self._lans = {link.index: link.name for link in lans if link.index}
        since = (boot if old.connected_at is None else old.connected_at) if external else None
        return replace(new, connected_at=since, generation=old.generation + 1)

    def _link(self, name: str, message: LinkMessage | None) -> Link:
        if message is None:
            return Link(name, 0, False)
        usable = [a for a in self._addresses.get(message.index, {}).values() if a.usable]
        return Link(
            name,
            message.index,
            message.up,
            tuple(a.address for a in sorted(usable, key=_order)),
            has_macs=message.has_macs,
        )


def _order(message: AddressMessage) -> tuple[int, int, int]:
    """Sort key: the kernel's order, the primary address first. Equal keys keep the order of their events."""
    version = message.address.version
    secondary = int(message.secondary)
    return (version, secondary, message.scope) if version == 4 else (version, message.scope, secondary)
