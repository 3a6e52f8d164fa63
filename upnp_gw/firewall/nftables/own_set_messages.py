"""The sets of our own interfaces and addresses, renewed, as nfnetlink messages: the same as ``ruleset.own_sets``.
Pure.

libnftables reads all lists of remote hosts before it adds an element to any set: seconds, with 100,000 prefixes.
"""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

from upnp_gw.firewall.nftables.element_messages import (
    DELETE_ELEMENT,
    KEY,
    KEY_END,
    NEW_ELEMENT,
    deleted_all,
    element_list,
    valued,
)
from upnp_gw.firewall.nftables.host_messages import run_elements
from upnp_gw.firewall.nftables.ruleset import prefixes_of_lans, translated_apart
from upnp_gw.model.address_ranges import AddressRanges
from upnp_gw.model.mapping import IPNetwork
from upnp_gw.model.network import Network
from upnp_gw.system.netlink import NLM_F_CREATE, NLM_F_REQUEST

IFNAMSIZ = 16
Elements = list[bytes]
"""The body of each element."""


def own_messages(network: Network | None) -> Iterator[tuple[int, int, bytes]]:
    """The kind, flags and body of each message that empties or fills a set. None: there are none."""
    for name, elements in own_elements(network).items() if network is not None else ():
        yield DELETE_ELEMENT, NLM_F_REQUEST, deleted_all(name)
        if elements:
            yield NEW_ELEMENT, NLM_F_REQUEST | NLM_F_CREATE, element_list(name, elements)


def own_elements(network: Network) -> dict[str, Elements]:
    """Set -> its elements."""
    lans = [link.name for link in network.lans]
    places = [(lan, net) for lan, net in prefixes_of_lans(network) if lan]
    hosts = AddressRanges.of(network.lan_hosts)

    def ranges(version: int, wanted: Callable[[str, IPNetwork], bool] = lambda lan, net: True) -> Elements:
        return [_place(lan, net) for lan, net in places if net.version == version and wanted(lan, net)]

    return {
        "wan": [valued(KEY, _interface(network.wan.name))],
        "lan": [valued(KEY, _interface(name)) for name in lans],
        "same_lan": [valued(KEY, 2 * _interface(name)) for name in lans],
        "external": [valued(KEY, IPv4Address(address).packed) for address in network.external],
        "lan_hosts": list(run_elements(4, hosts.spans(4))),
        "lan_hosts6": list(run_elements(6, hosts.spans(6))),
        "untranslated": ranges(4, lambda lan, net: translated_apart(network, lan, net)),
        "inside": ranges(4),
        "inside6": ranges(6),
    }


def _interface(name: str) -> bytes:
    return name.encode("ascii").ljust(IFNAMSIZ, b"\0")


def _place(lan: str, net: IPNetwork) -> bytes:
    """A prefix on a LAN: a range of two parts."""
    first, last = (_interface(lan) + address.packed for address in (net.network_address, net.broadcast_address))
    return valued(KEY, first) + valued(KEY_END, last)
