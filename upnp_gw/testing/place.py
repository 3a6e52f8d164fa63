"""The address and the ports of one emulator."""

import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import AddressValueError, IPv4Address, IPv4Interface

from upnp_gw.model.errors import ConfigError
from upnp_gw.testing.plain_sockets import unicast

LOCALHOST = IPv4Address("127.0.0.1")


@dataclass(frozen=True, slots=True)
class Place:
    """An IPv4 address of this machine, and its interface."""

    interface: str
    index: int
    """Of the interface."""
    own: IPv4Interface
    """With the prefix of its clients."""

    @property
    def exclusive(self) -> bool:
        """True for an address of 127.0.0.0/8 that no other emulator has: it has all ports there."""
        return self.own.ip.is_loopback and self.own.ip != LOCALHOST


def find_place(interface: str, address: str) -> Place:
    """``interface``: empty for the loopback; ``address``: empty for any of the interface. Raises ConfigError.

    On the loopback that is an address of 127.0.0.0/8 for this emulator alone, or 127.0.0.1 where the system has no
    other one (macOS).
    """
    if interface:
        return _on_interface(interface, address)
    if not address:
        return _on_loopback(_unused_address())
    try:
        given = IPv4Address(address)
    except AddressValueError:
        given = IPv4Address(0)
    if not given.is_loopback:
        raise ConfigError("address", address, "accepted: an address of the loopback, such as 127.0.0.1")
    return _on_loopback(given)


def _on_loopback(address: IPv4Address) -> Place:
    number, name = next(((n, name) for n, name in socket.if_nameindex() if name in ("lo", "lo0")), (1, "lo"))
    return Place(name, number, IPv4Interface(f"{address}/8"))


def _unused_address() -> IPv4Address:
    """One of sixteen million: an emulator can have the ports 1900 and 5351 there."""
    numbers = 1 + secrets.randbelow(254), secrets.randbelow(256), 1 + secrets.randbelow(254)
    address = IPv4Address("127.{}.{}.{}".format(*numbers))
    try:
        unicast(address, (0,)).close()
    except OSError:
        return LOCALHOST
    return address


def _on_interface(interface: str, address: str) -> Place:
    import ifaddr  # only here: the loopback needs no list

    places: dict[str, list[Place]] = {}
    for adapter in ifaddr.get_adapters():
        for found in adapter.ips:
            if isinstance(found.ip, str):
                own = IPv4Interface(f"{found.ip}/{found.network_prefix}")
                places.setdefault(adapter.nice_name, []).append(Place(adapter.nice_name, adapter.index or 1, own))
    if interface not in places:
        near = "".join(f"; did you mean {name}?" for name in get_close_matches(interface, places, 1))
        raise ConfigError("interface", interface, f"has no IPv4 address here{near} accepted: {', '.join(places)}")
    fitting = [place for place in places[interface] if address in ("", str(place.own.ip))]
    if not fitting:
        raise ConfigError("address", address, f"accepted: {', '.join(_addresses(places[interface]))}")
    return fitting[0]


def _addresses(places: list[Place]) -> Iterator[str]:
    return (str(place.own.ip) for place in places)
