"""Flows of connection tracking that began outside and lead to LAN hosts, as classes of packets. Parsing is pure.

Values are those of linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_common.h.
"""

import socket
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from upnp_gw.firewall.conntrack import CT_GET, CTA_IP_V6_DST, CTA_IP_V6_SRC, CTA_LABELS
from upnp_gw.firewall.conntrack_dumps import (
    CTA_IP_V4_DST,
    CTA_IP_V4_SRC,
    CTA_PROTO_DST_PORT,
    CTA_PROTO_NUM,
    CTA_PROTO_SRC_PORT,
    CTA_STATUS,
    CTA_TUPLE_IP,
    CTA_TUPLE_ORIG,
    CTA_TUPLE_PROTO,
    CTA_TUPLE_REPLY,
)
from upnp_gw.firewall.netlink import SUBSYS_CONNTRACK, NfnetlinkSocket, attributes_of
from upnp_gw.firewall.openings.path import PORTED
from upnp_gw.firewall.rules.packets import EVERY_FLAG, Box, Common, Packets
from upnp_gw.firewall.rules.ranges import Ranges, both, united
from upnp_gw.system.netlink import Attributes, NetlinkMessage, parse_attributes

CTA_MARK = 8
STATUS_BITS = {
    "expected": 1 << 0,
    "seen-reply": 1 << 1,
    "assured": 1 << 2,
    "confirmed": 1 << 3,
    "snat": 1 << 4,
    "dnat": 1 << 5,
}
OFFLOADED = 1 << 14 | 1 << 15
"""IPS_OFFLOAD, IPS_HW_OFFLOAD: a flowtable forwards it past every chain."""
FLOWS_MOST = 20_000
"""The most flows from outside that are looked at."""


class Tuple(NamedTuple):
    """One direction of a flow. Addresses are numbers."""

    protocol: int
    source: int
    sport: int
    destination: int
    dport: int


class TrackedFlow(NamedTuple):
    """A flow of connection tracking."""

    version: int
    original: Tuple
    reply: Tuple
    status: int
    labels: frozenset[int]
    mark: int

    @property
    def offloaded(self) -> bool:
        return bool(self.status & OFFLOADED)

    def packets(self, wan: str) -> Packets:
        """The packets of the flow that come in from outside. They are translated already."""
        status = frozenset(name for name, bit in STATUS_BITS.items() if self.status & bit)
        common = Common(
            self.version, wan, state="established", status=status, labels=self.labels, ct_mark=self.mark
        )
        sent, inside = self.original, self.reply
        parts = (sent.protocol, sent.source, sent.sport, inside.source, inside.sport, sent.destination, sent.dport)
        return Packets(common, [Box((*(((n, n),) for n in parts), EVERY_FLAG))])


def read_flows(
    netlink: NfnetlinkSocket, hosts: Mapping[int, Ranges], elsewhere: Mapping[int, Ranges]
) -> list[TrackedFlow]:
    """The flows from outside to LAN hosts, at most one more than ``FLOWS_MOST``. By IP version: ``hosts``: the LAN
    hosts, ``elsewhere``: sources that are not on the WAN. Raises OSError."""
    found: list[TrackedFlow] = []
    for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
        inside = hosts[version]
        began = united((*inside, *elsewhere[version]))
        for message in netlink.dump(SUBSYS_CONNTRACK, CT_GET, family):
            flow = parse_flow(message, version, inside, began)
            if flow is not None and len(found) <= FLOWS_MOST:
                found.append(flow)
    return found


def parse_flow(message: NetlinkMessage, version: int, hosts: Ranges, not_outside: Ranges) -> TrackedFlow | None:
    """The flow of a message; None: it does not lead from outside to one of these hosts, or it is ICMP."""
    attributes = attributes_of(message)
    original = _tuple(attributes.get(CTA_TUPLE_ORIG, b""))
    if original is None or _within(original.source, not_outside):
        return None
    reply = _tuple(attributes.get(CTA_TUPLE_REPLY, b""))
    if reply is None or not _within(reply.source, hosts) or not _within(original.protocol, PORTED):
        return None
    return TrackedFlow(
        version,
        original,
        reply,
        int.from_bytes(attributes.get(CTA_STATUS, b""), "big"),
        _labels(attributes),
        int.from_bytes(attributes.get(CTA_MARK, b""), "big"),
    )


def _within(number: int, ranges: Ranges) -> bool:
    return bool(both(((number, number),), ranges))


def _tuple(data: bytes) -> Tuple | None:
    nested = parse_attributes(data)
    ip, proto = parse_attributes(nested.get(CTA_TUPLE_IP, b"")), parse_attributes(nested.get(CTA_TUPLE_PROTO, b""))
    source = ip.get(CTA_IP_V4_SRC) or ip.get(CTA_IP_V6_SRC)
    destination = ip.get(CTA_IP_V4_DST) or ip.get(CTA_IP_V6_DST)
    if not (source and destination):
        return None
    ports = (int.from_bytes(proto.get(kind, b""), "big") for kind in (CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT))
    sport, dport = ports
    number = (proto.get(CTA_PROTO_NUM) or b"\0")[0]
    return Tuple(number, int.from_bytes(source, "big"), sport, int.from_bytes(destination, "big"), dport)


def _labels(attributes: Attributes) -> frozenset[int]:
    """The numbers of the labels that are set. The kernel sends them as words of the machine."""
    data = attributes.get(CTA_LABELS, b"")
    words = [int.from_bytes(data[at : at + 8], sys.byteorder) << 8 * at for at in range(0, len(data), 8)]
    bits = sum(words)
    return frozenset(number for number in range(bits.bit_length()) if bits >> number & 1)


def classes_of(flows: Iterable[TrackedFlow], wan: str) -> list[Packets]:
    """The flows as classes: those with the same labels and state together."""
    boxes: dict[Common, list[Box]] = {}
    for flow in flows:
        packets = flow.packets(wan)
        boxes.setdefault(packets.common, []).extend(packets.boxes)
    return [Packets(common, found) for common, found in boxes.items()]
