"""The number of forwards in the kernel, by one netlink dump of each map: nft(8) takes too long for many calls."""

import socket
import struct

from tests.lab.end_to_end import MAPS
from upnp_gw.lab import Host

NETLINK_NETFILTER = 12
NFT_GETSETELEM = 10 << 8 | 13
NFT_GETGEN = 10 << 8 | 16
NFPROTO_INET = 1
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
TABLE, SET, ELEMENTS = 1, 2, 3
"""NFTA_SET_ELEM_LIST_*"""
GENERATION = 1
"""NFTA_GEN_ID"""
NESTED_MASK = 0x3FFF


class KernelElements:
    """``with KernelElements(gateway) as elements: elements.count()``"""

    def __init__(self, host: Host) -> None:
        with host.inside():
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.settimeout(5)
        self._counted = (-1, 0)

    def __enter__(self) -> "KernelElements":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def count(self) -> int:
        """Elements of all maps. Cheap while nothing changed."""
        generation = self._generation()
        if generation != self._counted[0]:
            self._counted = generation, sum(self._count(name) for name in MAPS)
        return self._counted[1]

    def _generation(self) -> int:
        """The number of changes of the ruleset so far."""
        self._send(NFT_GETGEN, NLM_F_REQUEST, 0, b"")
        data = self._socket.recv(65536)
        return int(dict(_attributes(data[20:]))[GENERATION].hex(), 16)

    def _count(self, name: str) -> int:
        self._send(
            NFT_GETSETELEM,
            NLM_F_REQUEST | NLM_F_DUMP,
            NFPROTO_INET,
            _attribute(TABLE, b"upnp_gw\0") + _attribute(SET, name.encode() + b"\0"),
        )
        elements = 0
        while True:
            data, position = self._socket.recv(1 << 17), 0
            while position < len(data):
                length, kind = struct.unpack_from("=IH", data, position)
                if kind == NLMSG_DONE:
                    return elements
                if kind == NLMSG_ERROR:
                    return 0  # there is no such table yet
                for attribute, value in _attributes(data[position + 20 : position + length]):
                    if attribute == ELEMENTS:
                        elements += sum(1 for _ in _attributes(value))
                position += length + (-length % 4)

    def _send(self, kind: int, flags: int, family: int, attributes: bytes) -> None:
        self._socket.send(
            struct.pack("=IHHIIBBH", 20 + len(attributes), kind, flags, 1, 0, family, 0, 0) + attributes
        )


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> list[tuple[int, bytes]]:
    attributes, position = [], 0
    while position + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, position)
        if length < 4:
            break
        attributes.append((kind & NESTED_MASK, data[position + 4 : position + length]))
        position += (length + 3) & ~3
    return attributes
