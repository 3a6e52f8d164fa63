"""Each packet that the kernel counts is in one reading of the growth, whatever changes meanwhile."""

import asyncio
import socket
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from itertools import cycle
from random import Random
from typing import Any

import pytest

from tests.fixtures.firewall_driver import forward
from tests.fixtures.lab_firewall import Gateway
from upnp_gw.firewall.base import Close, Counters, Growth, Open, Refill
from upnp_gw.firewall.nftables import growth
from upnp_gw.firewall.nftables.counters import (
    EXPRESSION,
    EXPRESSION_DATA,
    EXPRESSION_NAME,
    EXPRESSIONS,
    KEY,
    LIST_ELEM,
    LIST_ELEMENTS,
    LIST_SET,
    LIST_TABLE,
    USERDATA,
    CounterReading,
)
from upnp_gw.firewall.nftables.growth import LARGE, GrowthReader, used_elements
from upnp_gw.firewall.nftables.ruleset import OPENING
from upnp_gw.firewall.nftables.totals import Pair, Totals
from upnp_gw.lab import Lab
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.model.mapping import Transport
from upnp_gw.system.netlink import NetlinkMessage, attribute

TCP, UDP = Transport.TCP, Transport.UDP


def nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind, b"".join(parts))


def element(
    comment: str, packets: int, volume: int, key: bytes = b"\6\0\0\0\x10\0\0\0", several: bool = False
) -> bytes:
    """An element as the kernel writes it. ``several``: in a list of expressions."""
    counter = (
        attribute(EXPRESSION_NAME, b"counter\0"),
        nested(EXPRESSION_DATA, attribute(1, volume.to_bytes(8, "big")), attribute(2, packets.to_bytes(8, "big"))),
    )
    text = comment.encode() + b"\0"
    return nested(
        LIST_ELEM,
        nested(KEY, attribute(1, key)),
        nested(EXPRESSIONS, nested(1, *counter)) if several else nested(EXPRESSION, *counter),
        attribute(4, (7200_000).to_bytes(8, "big")),
        attribute(5, (7100_000).to_bytes(8, "big")),
        attribute(USERDATA, bytes([0, len(text)]) + text),
    )


def message(*elements: bytes) -> NetlinkMessage:
    body = (
        attribute(LIST_TABLE, b"upnp_gw\0") + attribute(LIST_SET, b"live6_rh\0") + nested(LIST_ELEMENTS, *elements)
    )
    return NetlinkMessage(10 << 8 | 12, 2, 1, 7, bytes(4) + body)


@pytest.mark.parametrize("several", [False, True])
def test_only_elements_that_counted_something_are_returned(several: bool) -> None:
    dumped = message(
        element("m1", 0, 0, several=several),
        element("m2-15", 3, 400, several=several),
        element("m3", 0, 0, several=several),
        element("m65535", 2**40, 2**60, several=several),
    )
    assert list(used_elements(dumped)) == [("m2-15", (3, 400)), ("m65535", (2**40, 2**60))]


def test_a_key_that_looks_like_a_counter_counts_nothing() -> None:
    """The remote host is a value of the client: sixteen bytes of it."""
    key = b"\6\0\0\0" + bytes(16) + b"\x10\0\0\0" + b"\x0c\0\x01\0counter\0\x1c\0\x02\0"
    assert list(used_elements(message(element("m1", 1, 60, key), element("m2", 0, 0, key)))) == [("m1", (1, 60))]


class LargeMessages:
    """An ``ElementReader`` whose maps have one large message each."""

    def messages(self, name: str) -> list[NetlinkMessage]:
        return [message(*(element(f"m{n}", 1, 60) for n in range(LARGE // 40)))]

    def dump(self, name: str) -> list[CounterReading]:
        return []

    def close(self) -> None:
        pass


async def test_the_last_reading_makes_no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others let requests in; at the stop nobody waits."""
    pauses: list[float] = []
    monkeypatch.setattr(growth, "ElementReader", LargeMessages)
    monkeypatch.setattr(growth, "read_over_share", lambda elements: ())
    monkeypatch.setattr(time, "sleep", pauses.append)
    reader = GrowthReader(Totals())
    assert (await reader.read())[0]
    assert pauses == [growth.PAUSE_S] * (2 * len(OPENING))
    pauses.clear()
    await reader.read(at_stop=True)
    await reader.close()
    assert not pauses


class Kernel:
    """One element with a counter of packets, a reading thread and a thread of changes, step by step."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.sent = self.now = self.reported = 0
        self.seen: int | None = None
        """The count in a message that is not parsed yet."""
        self.lost: int | None = None
        """The count that a change read before its transaction."""
        self.committed = False

    def packet(self) -> None:
        if self.lost is None or self.committed:  # between the two no packet comes: nobody can count it
            self.sent += 1
            self.now += 1

    def begin_reading(self) -> None:
        self.seen = None
        self._report(self.totals.count_replaced(self.totals.volume, self.totals.begin_reading()))

    def dump(self) -> None:
        self.seen = self.now

    def parse(self) -> None:
        if self.seen is not None:
            used = [("m1", (self.seen, 0))] if self.seen else []
            self._report(self.totals.count(self.totals.volume, used))
            self.seen = None

    def begin_change(self) -> None:
        if self.lost is None:
            self.totals.begin(["m1"])
            self.lost, self.committed = self.now, False

    def commit(self) -> None:
        if self.lost is not None and not self.committed:
            self.now, self.committed = 0, True

    def end_change(self) -> None:
        if self.lost is None:
            return
        if self.committed:
            self.totals.end({}, {"m1": (self.lost, 0)}, [])
        else:
            self.totals.failed()
        self.lost = None

    def _report(self, increases: list[tuple[str, Pair]]) -> None:
        self.reported += sum(packets for _, (packets, _) in increases)


READER = (Kernel.begin_reading, Kernel.dump, Kernel.parse)
CHANGER = (Kernel.begin_change, Kernel.commit, Kernel.end_change)
PACKET = (Kernel.packet,)


def test_no_order_of_reading_and_refresh_loses_or_doubles_a_packet() -> None:
    """Each thread makes its next step when it has a turn."""
    random = Random(7)
    for _ in range(2_000):
        kernel = Kernel()
        actors = [cycle(steps) for steps in (READER, CHANGER, PACKET)]
        for _ in range(30):
            next(random.choice(actors))(kernel)
            assert kernel.reported <= kernel.sent
        kernel.end_change()
        for step in READER:
            step(kernel)
        assert kernel.reported == kernel.sent


def grown(gateway: Gateway, remotes: bool = False) -> Growth:
    return gateway.do(gateway.firewall.read_growth(remotes))


@pytest.mark.lab
def test_the_growth_of_a_mapping_is_read_once(gateway: Gateway, fresh_lab: Lab) -> None:
    lab, peer, console = fresh_lab, fresh_lab.hosts["peer1"], fresh_lab.hosts["console"]
    hole = forward("m2", 3074, str(console.address6))
    one = forward("m1", 3074, str(console.address))
    gateway.apply(Open(one), Open(hole), Open(forward("m3", 9, str(console.address))))
    assert not grown(gateway).counters
    with EchoServer(console, TCP, 3074):
        assert reach(peer, TCP, lab.external[0], 3074)
        assert reach(peer, TCP, console.address6, 3074)
        read = grown(gateway, remotes=True)
        assert {one: each.connections for one, each in read.counters.items()} == {"m1": 1, "m2": 1}
        assert all(each.packets > 2 and each.bytes > 100 for each in read.counters.values())
        assert read.remotes == {"m1": {peer.address}, "m2": {peer.address6}}
        assert connections(gateway) == 0
        assert reach(peer, TCP, lab.external[0], 3074)
        gateway.apply(Open(one))
        assert connections(gateway) == 1, "counted by an element that is replaced, and the new one is idle"
        assert reach(peer, TCP, lab.external[0], 3074)
        gateway.apply(Refill((one, hole)))
        assert connections(gateway) == 1
        gateway.apply(Close(one))
        gateway.apply(Open(one))
        assert reach(peer, TCP, lab.external[0], 3074)
        assert connections(gateway) == 1, "opened anew"


def connections(gateway: Gateway) -> int:
    """New connections since the last reading."""
    return sum(each.connections for each in grown(gateway).counters.values())


async def together(*waiting: Coroutine[Any, Any, Any]) -> list[Any]:
    return await asyncio.gather(*waiting)


@pytest.mark.lab
def test_packets_during_readings_and_refreshes_are_counted_once(router: Gateway, fresh_lab: Lab) -> None:
    lab, console, peer = fresh_lab, fresh_lab.hosts["console"], fresh_lab.hosts["peer1"]
    one = forward("m1", 3074, str(console.address), transport=UDP)
    router.apply(Open(one), *(Open(forward(f"m{n}", 9000 + n, str(console.address))) for n in range(2, 600)))
    stop = threading.Event()

    def send() -> None:
        with peer.inside():
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sender:
            sender.connect((str(lab.external[0]), 3074))
            while not stop.is_set():
                with suppress(ConnectionRefusedError):  # nobody listens there
                    sender.send(b"packet")
                time.sleep(0.0005)

    total = Counters()
    thread = threading.Thread(target=send)
    thread.start()
    try:
        for _ in range(40):
            firewall = router.firewall
            _, read = router.do(together(firewall.apply([Open(one)]), firewall.read_growth()))
            total = total.plus(read.counters.get("m1", Counters()))
    finally:
        stop.set()
        thread.join()
    total = total.plus(grown(router).counters.get("m1", Counters()))
    assert total.packets > 100
    assert total == router.read().counters["m1"]
