"""Asks the kernel which tables there are, and for a chain of our table.

libnftables reads every element of every map for such a question: 0.2 s with 10,000 mappings.
"""

import errno
import os

from upnp_gw.firewall.base import FAMILY, NAME
from upnp_gw.firewall.libnftables import plain_reason
from upnp_gw.firewall.netlink import NFPROTO_INET, SUBSYS_NFTABLES, NfnetlinkSocket, attributes_of
from upnp_gw.model.errors import FirewallError
from upnp_gw.system.netlink import InterruptedDump, NetlinkMessage, attribute

GET_TABLE, GET_CHAIN, GET_SET = 1, 4, 10
SET_TABLE, SET_NAME = 1, 2
TABLE_NAME = 1
CHAIN_TABLE, CHAIN_NAME = 1, 3
FAMILIES = {NFPROTO_INET: "inet", 2: "ip", 10: "ip6"}
"""NFPROTO_ numbers of the families that we read."""
OWN = (FAMILY, NAME)
"""Family and name of our table."""
TRIES = 3
"""Attempts at a listing. A change of a table meanwhile interrupts it."""


def tables() -> list[tuple[str, str]]:
    """Family and name of each table of the network namespace of the calling thread. Raises FirewallError."""
    try:
        with NfnetlinkSocket() as netlink:
            return _tables(netlink)
    except OSError as error:
        raise FirewallError(f"nftables: {plain_reason(os.strerror(error.errno or 0))}") from None


def _dumped(netlink: NfnetlinkSocket, kind: int, family: int, request: bytes = b"") -> list[NetlinkMessage]:
    for tries_left in reversed(range(TRIES)):
        try:
            return list(netlink.dump(SUBSYS_NFTABLES, kind, family, request))
        except InterruptedDump:
            if not tries_left:
                raise
    raise AssertionError("unreachable")


def _tables(netlink: NfnetlinkSocket) -> list[tuple[str, str]]:
    messages = _dumped(netlink, GET_TABLE, 0)
    names = ((message.body[0], attributes_of(message).get(TABLE_NAME, b"")) for message in messages)
    return [
        (FAMILIES[family], name.rstrip(b"\0").decode("ascii", "replace"))
        for family, name in names
        if family in FAMILIES
    ]


def set_names() -> list[str]:
    """The names of the sets and maps of our table in the network namespace of the calling thread; empty: there is
    no table. Raises FirewallError."""
    table = attribute(SET_TABLE, NAME.encode() + b"\0")
    try:
        with NfnetlinkSocket() as netlink:
            messages = _dumped(netlink, GET_SET, NFPROTO_INET, table)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return []
        raise FirewallError(f"nftables: {plain_reason(os.strerror(error.errno or 0))}") from None
    names = (attributes_of(message).get(SET_NAME, b"") for message in messages)
    return [name.rstrip(b"\0").decode("ascii", "replace") for name in names]


def has_chain(name: str) -> bool:
    """True if our table in the network namespace of the calling thread has this chain. False without the right to
    ask."""
    request = attribute(CHAIN_TABLE, NAME.encode() + b"\0") + attribute(CHAIN_NAME, name.encode() + b"\0")
    try:
        with NfnetlinkSocket() as netlink:
            return netlink.request(SUBSYS_NFTABLES, GET_CHAIN, NFPROTO_INET, request) is not None
    except OSError:
        return False
