"""Connection tracking: what is asked for, and which entries of the answer are meant."""

import errno
import socket
import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.firewall_driver import forward
from upnp_gw.firewall import conntrack_dumps
from upnp_gw.firewall.base import Forward
from upnp_gw.firewall.conntrack import (
    CT_STATS,
    end_flows,
    matching_entries,
    parse_entry,
    parse_tuple,
    remote_hosts_of,
)
from upnp_gw.firewall.conntrack_dumps import PortSide, flows_by_key
from upnp_gw.firewall.flows import EarlierFlows, Flows, FlowsToEnd, OutgoingFlows
from upnp_gw.firewall.labels import ASKED, LET_IN, MASQUERADED
from upnp_gw.firewall.netlink import NfnetlinkSocket, attributes_of, nfgen_body
from upnp_gw.lab import Host
from upnp_gw.model.mapping import Endpoint, Transport
from upnp_gw.system.netlink import (
    NetlinkMessage,
    attribute,
    build_message,
    nest,
    parse_attributes,
    parse_messages,
)

EXTERNAL, CONSOLE, PEER = "11.22.33.44", "192.168.77.10", "11.50.1.10"


def one_way(source: str, sport: int, destination: str, dport: int, protocol: int = 6) -> bytes:
    first = 1 if ip_address(source).version == 4 else 3
    return nest(
        1,
        attribute(first, ip_address(source).packed),
        attribute(first + 1, ip_address(destination).packed),
    ) + nest(
        2,
        attribute(1, bytes([protocol])),
        attribute(2, struct.pack("!H", sport)),
        attribute(3, struct.pack("!H", dport)),
    )


def entry(original: bytes, reply: bytes, label: int | None = ASKED, status: int = 0) -> NetlinkMessage:
    body = struct.pack("!BBH", 2, 0, 0) + nest(1, original) + nest(2, reply) + attribute(12, b"\0\0\0\7")
    if label is not None:
        body += attribute(22, (1 << label).to_bytes(16, sys.byteorder))
    return NetlinkMessage(0x100, 0, 0, 0, body + attribute(3, struct.pack("!I", status)))


TRANSLATED = entry(one_way(PEER, 5000, EXTERNAL, 4074), one_way(CONSOLE, 3074, PEER, 5000))
HAIRPIN = entry(one_way("192.168.77.20", 5, EXTERNAL, 4074), one_way(CONSOLE, 3074, "192.168.77.1", 5))
ELSEWHERE = entry(one_way(PEER, 5001, EXTERNAL, 4074), one_way("192.168.77.20", 3074, PEER, 5001))
UNTRANSLATED = entry(one_way(PEER, 5002, EXTERNAL, 4074), one_way(EXTERNAL, 4074, PEER, 5002))
OTHER_ADDRESS = entry(one_way(PEER, 5003, "11.22.33.45", 4074), one_way(CONSOLE, 3074, PEER, 5003))
OTHER_PORT = entry(one_way(PEER, 5004, EXTERNAL, 4075), one_way(CONSOLE, 3074, PEER, 5004))
UDP = entry(one_way(PEER, 5005, EXTERNAL, 4074, 17), one_way(CONSOLE, 3074, PEER, 5005, 17))
OUTBOUND = entry(one_way(CONSOLE, 3074, PEER, 80), one_way(PEER, 80, EXTERNAL, 4074), MASQUERADED, 1 << 1)
CONNECTED = entry(one_way(CONSOLE, 3074, PEER, 81), one_way(PEER, 81, EXTERNAL, 4074), MASQUERADED, 1 << 2)
SAME_PORT = entry(one_way(CONSOLE, 3074, PEER, 4074), one_way(PEER, 4074, EXTERNAL, 3074), MASQUERADED, 1 << 2)
OUTBOUND_UDP = entry(one_way(CONSOLE, 9, PEER, 8, 17), one_way(PEER, 8, EXTERNAL, 4074, 17), None, 1 << 1)
GATEWAYS_OWN = entry(one_way(EXTERNAL, 4074, PEER, 7, 17), one_way(PEER, 7, EXTERNAL, 4074, 17), None)
INSIDE = entry(one_way(PEER, 4074, EXTERNAL, 6, 17), one_way(CONSOLE, 6, PEER, 4074, 17))
STATIC = entry(one_way(PEER, 5006, EXTERNAL, 4074), one_way(CONSOLE, 3074, PEER, 5006), None)
STUN = entry(one_way(CONSOLE, 3074, PEER, 9, 17), one_way(PEER, 9, EXTERNAL, 3074, 17), None, 1 << 1)
GAME = entry(one_way(CONSOLE, 3074, PEER, 10, 17), one_way(PEER, 10, EXTERNAL, 3074, 17), None, 1 << 1 | 1 << 2)
MAPPED = entry(one_way(CONSOLE, 3074, PEER, 11, 17), one_way(PEER, 11, EXTERNAL, 4074, 17), None, 1 << 1)
LOCAL = entry(one_way(CONSOLE, 3074, PEER, 12, 17), one_way(PEER, 12, CONSOLE, 3074, 17), None, 1 << 1)
NEIGHBOUR = entry(one_way("192.168.77.20", 3074, PEER, 9, 17), one_way(PEER, 9, EXTERNAL, 3075, 17), None, 1 << 1)
ICMP = NetlinkMessage(0x100, 0, 0, 0, struct.pack("!BBH", 2, 0, 0) + nest(1, nest(2, attribute(1, b"\1"))))
EVERY = [
    TRANSLATED,
    HAIRPIN,
    ELSEWHERE,
    UNTRANSLATED,
    OTHER_ADDRESS,
    OTHER_PORT,
    UDP,
    OUTBOUND,
    CONNECTED,
    SAME_PORT,
    OUTBOUND_UDP,
    GATEWAYS_OWN,
    INSIDE,
    STATIC,
    STUN,
    GAME,
    MAPPED,
    LOCAL,
    NEIGHBOUR,
    ICMP,
]
ANY = forward(port=4074, internal_port=3074)


def spared(one: Forward, port: int = 4074, remote: str | None = None) -> Flows:
    """The flows of a forward, beside one that stays."""
    other = forward("m2", port, internal_port=3074, remote=remote)
    return replace(Flows.through(one), spared=(Flows.through(other),))


def leaving(transport: Transport, holder: int = 1, address: str = EXTERNAL) -> OutgoingFlows:
    """The flows that have external port 4074, which is mapped to this port of the console."""
    holders = frozenset([Endpoint(ip_address(CONSOLE), holder)])
    return OutgoingFlows(transport, 4074, frozenset([ip_address(address)]), holders)


@pytest.mark.parametrize(
    ("flows", "meant"),
    [
        (Flows.through(ANY), [TRANSLATED, HAIRPIN, OTHER_ADDRESS]),
        (
            Flows.through(forward(port=4074, internal_port=3074, external=ip_address(EXTERNAL))),
            [TRANSLATED, HAIRPIN],
        ),
        (
            Flows.through(forward(port=4074, internal_port=3074, remote="11.50.0.0/16")),
            [TRANSLATED, OTHER_ADDRESS],
        ),
        (Flows.through(replace(ANY, remote_port=5000)), [TRANSLATED]),
        (spared(ANY, remote=f"{PEER}/32"), [HAIRPIN]),
        (spared(ANY, port=4075, remote=f"{PEER}/32"), [TRANSLATED, HAIRPIN, OTHER_ADDRESS]),
        (spared(ANY, remote="1.2.3.4/32"), [TRANSLATED, HAIRPIN, OTHER_ADDRESS]),
        (Flows.untranslated(ANY, ip_address(EXTERNAL)), [UNTRANSLATED]),
        (Flows.untranslated(forward(port=4074, remote="1.2.3.4/32"), ip_address(EXTERNAL)), []),
        (Flows.through(forward(port=4074, internal_port=3074, transport=Transport.UDP)), [UDP]),
        (leaving(Transport.TCP), [OUTBOUND]),
        (leaving(Transport.UDP), [OUTBOUND_UDP, MAPPED]),
        (leaving(Transport.TCP, holder=3074), []),
        (leaving(Transport.UDP, address="11.22.33.45"), []),
        (EarlierFlows(Transport.UDP, 3074, Endpoint(ip_address(CONSOLE), 3074), 4074), [STUN]),
    ],
)
def test_which_flows_a_forward_means(flows: FlowsToEnd, meant: list[NetlinkMessage]) -> None:
    expected = flows_by_key([flows])
    assert [e.name for e in matching_entries(EVERY, expected)] == [
        e.name for m in meant if (e := parse_entry(m, expected))
    ]


def ended(flows: Sequence[FlowsToEnd]) -> int:
    """The number of flows that were ended, in the network namespace of this thread."""
    with NfnetlinkSocket() as netlink:
        return end_flows(netlink, flows)


class Offloading:
    """A kernel before 6.4 with two flows of a mapping: the first is another table's flowtable's."""

    def __init__(self) -> None:
        self.ended: list[bytes] = []

    def __enter__(self) -> "Offloading":
        return self

    def __exit__(self, *error: object) -> None: ...

    def dump(
        self, subsystem: int, kind: int, family: int, attributes: bytes, wanted: Callable[[bytes], bool]
    ) -> Iterator[NetlinkMessage]:
        yield from (TRANSLATED, HAIRPIN) if family == socket.AF_INET else ()

    def request(self, subsystem: int, kind: int, family: int, attributes: bytes) -> None:
        if kind == CT_STATS:
            return
        if attributes == parse(TRANSLATED):
            raise OSError(errno.EBUSY, "Device or resource busy")
        self.ended.append(attributes)


def parse(message: NetlinkMessage) -> bytes:
    found = parse_entry(message, flows_by_key([Flows.through(ANY)]))
    assert found is not None
    return found.name


def test_an_offloaded_flow_that_an_old_kernel_cannot_end_keeps_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = Offloading()
    monkeypatch.setattr(sys.modules[__name__], "NfnetlinkSocket", lambda: kernel)
    assert ended([Flows.through(ANY)]) == 1
    assert kernel.ended == [parse(HAIRPIN)]
    (record,) = caplog.records
    assert record.getMessage().startswith("1 flow(s) of ended mappings go on until they pause for 30 s")


class Flooded(Offloading):
    """A kernel that tracks many flows through a mapping."""

    FLOWS = 5000

    def dump(
        self, subsystem: int, kind: int, family: int, attributes: bytes, wanted: Callable[[bytes], bool]
    ) -> Iterator[NetlinkMessage]:
        for port in range(6000, 6000 + self.FLOWS) if family == socket.AF_INET else ():
            there, back = one_way(PEER, port, EXTERNAL, 4074), one_way(CONSOLE, 3074, PEER, port)
            yield entry(there, back, status=1 << 2)


@pytest.mark.parametrize(("ends", "bytes_a_flow"), [(True, 350), (False, 20)])
def test_many_flows_take_little_memory(monkeypatch: pytest.MonkeyPatch, ends: bool, bytes_a_flow: int) -> None:
    """Any host of the internet can make them, as many as it likes. Each took a kilobyte."""
    kernel = Flooded()
    monkeypatch.setattr(sys.modules[__name__], "NfnetlinkSocket", lambda: kernel)
    tracemalloc.start()
    try:
        if ends:
            assert ended([Flows.through(ANY)]) == Flooded.FLOWS
        else:
            with NfnetlinkSocket() as netlink:
                found = remote_hosts_of(netlink, [ANY])
            assert found == {ANY.id: {ip_address(PEER)}}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < Flooded.FLOWS * bytes_a_flow


def test_a_pinholes_flows_go_to_its_own_address() -> None:
    flows = Flows.through(forward(port=443, to="2001:db8::1"))
    assert (flows.family, flows.port, flows.address) == (socket.AF_INET6, 443, ip_address("2001:db8::1"))
    ways = one_way("2001:db8:1::1", 9, "2001:db8::1", 443), one_way("2001:db8::1", 443, "2001:db8:1::1", 9)
    found = [bool(list(matching_entries([entry(*ways, label)], flows_by_key([flows])))) for label in (LET_IN, None)]
    assert found == [True, False], "without our label somebody else let it in"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_nothing(data: bytes) -> None:
    parse_tuple(data)
    for message in parse_messages(data):
        parse_entry(message, flows_by_key([Flows.through(ANY)]))
    parse_entry(NetlinkMessage(0x100, 0, 0, 0, data), {})


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40)), unique_by=lambda pair: pair[0]))
def test_attributes_there_and_back(pairs: list[tuple[int, bytes]]) -> None:
    packed = b"".join(attribute(kind, value) for kind, value in pairs)
    assert list(parse_attributes(packed).items()) == pairs
    (message,) = parse_messages(build_message(10 << 8 | 13, 1, 99, nfgen_body(2, packed)))
    assert (message.kind, message.flags) == (0x0A0D, 1)
    assert attributes_of(message) == dict(pairs)


@pytest.fixture
def bare(namespaces: None) -> Iterator[Host]:
    host = Host("bare")
    host.ip("link set lo up")
    host.nft("table inet t {\nchain c {\ntype filter hook output priority 0; ct state new accept;\n}\n}")
    yield host
    host.close()


Dumps = list[tuple[bytes, int]]
"""Filter attributes of each dump, and how many entries the kernel sent."""


@pytest.fixture
def dumps(monkeypatch: pytest.MonkeyPatch) -> Dumps:
    """The dumps that are made from now on."""
    seen: Dumps = []

    class Counting(NfnetlinkSocket):
        def dump(
            self, subsystem: int, kind: int, family: int, attributes: bytes = b"", wanted: Any = None
        ) -> Iterator[NetlinkMessage]:
            found = list(super().dump(subsystem, kind, family, attributes))
            seen.append((attributes, len(found)))
            return iter(found)

    monkeypatch.setattr(sys.modules[__name__], "NfnetlinkSocket", Counting)
    return seen


def without_filters(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """Makes the kernel refuse each dump with a filter."""

    class Unable(NfnetlinkSocket):
        def dump(
            self, subsystem: int, kind: int, family: int, attributes: bytes = b"", wanted: Any = None
        ) -> Iterator[NetlinkMessage]:
            if attributes:
                raise OSError(error, "refused")
            return super().dump(subsystem, kind, family, attributes)

    monkeypatch.setattr(sys.modules[__name__], "NfnetlinkSocket", Unable)


@pytest.mark.lab
@pytest.mark.parametrize("kernel", ["few entries", "filters", "EINVAL", "EOPNOTSUPP"])
@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1"])
def test_the_kernels_own_entries_are_found_and_ended(
    bare: Host, kernel: str, loopback: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel != "few entries":
        monkeypatch.setattr(conntrack_dumps, "FEW_ENTRIES", 0)
    if kernel.startswith("E"):
        without_filters(monkeypatch, getattr(errno, kernel))
    v6 = ":" in loopback
    with bare.inside():
        sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
        with sock:
            for port in range(4000, 4050):
                sock.sendto(b"x", (loopback, port))

        def flows(port: int) -> Flows:
            address = ip_address(loopback)
            return Flows(Transport.UDP, port, address, ip_network(address), None)

        assert ended([flows(5000 + n) for n in range(9)]) == 0
        assert ended([flows(4000 + n) for n in range(9)]) == 9
        assert ended([flows(4000)]) == 0
        assert ended([flows(4009)]) == 1
        assert ended([flows(4000 + n) for n in range(50)]) == 40
        assert ended([]) == 0


def created(netlink: NfnetlinkSocket, message: NetlinkMessage) -> None:
    """Puts an entry of these tests into the kernel. It has no labels there."""
    attributes = attributes_of(message)
    status = int.from_bytes(attributes[3], "big") | 1 << 3
    original, reply = parse_tuple(attributes[1]), parse_tuple(attributes[2])
    assert original is not None
    assert reply is not None
    body = nest(1, attributes[1]) + nest(2, attributes[2]) + attribute(7, struct.pack("!I", 600))
    if original.destination.address != reply.source.address:
        body += nest(6, attribute(1, reply.source.address.packed), attribute(2, reply.source.address.packed))
    if original.transport is Transport.TCP:
        body += nest(4, nest(1, attribute(1, b"\3")))
    for _ in netlink.exchange(
        1 << 8, 0x1 | 0x4 | 0x400, nfgen_body(2, body + attribute(3, struct.pack("!I", status)))
    ):
        raise AssertionError("no reply but the end")


NEW_PORTS = [
    ([Flows.untranslated(ANY, ip_address(EXTERNAL))], [UNTRANSLATED], 1),
    ([leaving(Transport.TCP)], [OUTBOUND], 1),
    ([replace(leaving(Transport.TCP), port=port) for port in (4074, 4075)], [OUTBOUND], 3),
    ([leaving(Transport.UDP)], [OUTBOUND_UDP, MAPPED], 3),
    ([replace(leaving(Transport.UDP), port=port) for port in range(4070, 4080)], [OUTBOUND_UDP, MAPPED], 7),
    ([EarlierFlows(Transport.UDP, 3074, Endpoint(ip_address(CONSOLE), 3074), 4074)], [STUN], 5),
]
"""Flows, those of them that the kernel has, and how many entries it sends."""


@pytest.mark.lab
@pytest.mark.parametrize(("flows", "meant", "sent_by_kernel"), NEW_PORTS, ids=range(len(NEW_PORTS)))
def test_the_kernel_sends_few_entries_besides_the_flows_to_end(
    bare: Host,
    flows: list[FlowsToEnd],
    meant: list[NetlinkMessage],
    sent_by_kernel: int,
    dumps: Dumps,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conntrack_dumps, "FEW_ENTRIES", 0)
    tcp = [TRANSLATED, UNTRANSLATED, OUTBOUND, CONNECTED, SAME_PORT]
    every = [*tcp, OUTBOUND_UDP, GATEWAYS_OWN, STUN, GAME, MAPPED, LOCAL, NEIGHBOUR]
    with bare.inside(), NfnetlinkSocket() as netlink:
        for message in every:
            created(netlink, message)
        assert ended(flows) == len(meant)
        assert sum(sent for _, sent in dumps) == sent_by_kernel
        assert all(attributes for attributes, _ in dumps)
        assert ended(flows) == 0


def test_most_of_a_dump_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A datagram without a wanted port is skipped whole, and one that ends the dump never is."""
    netlink = NfnetlinkSocket()
    datagrams = [
        b"".join(build_message(0x100, 2, 1, message.body) for message in messages)
        for messages in ([TRANSLATED, OUTBOUND], [UDP], [OTHER_PORT])
    ]
    datagrams[2] += build_message(3, 2, 1, b"\0\0\0\0")
    replies = iter([(data, (0, 0)) for data in datagrams])
    with netlink:
        monkeypatch.setattr(netlink, "_socket", Replies(netlink, replies))
        read = list(netlink.dump(1, 1, 2, b"", lambda data: bytes(UDP.body) in data))
    assert [message.body for message in read] == [UDP.body, OTHER_PORT.body]


class Replies:
    """A socket whose kernel has these datagrams."""

    def __init__(self, netlink: NfnetlinkSocket, replies: Iterator[tuple[bytes, tuple[int, int]]]) -> None:
        self.close = netlink._socket.close
        self.recvfrom = lambda size: next(replies)
        self.sendto = lambda data, address: len(data)


ANSWERED = [
    (6, 1 << 1, False),  # a reset is a reply too
    (6, 1 << 1 | 1 << 2, True),
    (17, 0, False),
    (17, 1 << 1, True),
]


@pytest.mark.parametrize(("protocol", "status", "answered"), ANSWERED)
def test_a_probe_of_a_closed_port_is_no_conversation(protocol: int, status: int, answered: bool) -> None:
    there, back = one_way(PEER, 5000, EXTERNAL, 4074, protocol), one_way(CONSOLE, 3074, PEER, 5000, protocol)
    flow = entry(there, back, status=status)
    transport = Transport.TCP if protocol == 6 else Transport.UDP
    found = parse_entry(flow, {(transport, 4074, PortSide.TO): []})
    assert found is not None
    assert found.answered is answered
