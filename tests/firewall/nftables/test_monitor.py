"""Changes of our table by others: reported once a burst, our own changes never."""

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from tests.fixtures.firewall_driver import WAIT_S, Driver, driving, forward, settings
from tests.fixtures.waiting import until
from upnp_gw.firewall.base import Open, Refill
from upnp_gw.firewall.nftables import NftablesFirewall
from upnp_gw.firewall.nftables.monitor import changes_other_table, foreign_change, own_changes_filter
from upnp_gw.lab import Host
from upnp_gw.system.netlink import NetlinkMessage, attribute

TABLE = attribute(1, b"upnp_gw\0")


def event(kind: int, table: bytes = TABLE, family: int = 1, port: int = 77, subsystem: int = 10) -> NetlinkMessage:
    return NetlinkMessage(subsystem << 8 | kind, 0, 0, port, struct.pack("!BBH", family, 0, 0) + table)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (event(2), 2),
        (event(14), 14),
        (event(14, port=5), None),  # our own
        (event(15), None),  # a new generation: says nothing
        (event(2, attribute(1, b"filter\0")), None),
        (event(2, attribute(1, b"upnp_gw2\0")), None),
        (event(2, family=2), None),  # table ip upnp_gw is not ours
        (event(2, subsystem=1), None),
        (NetlinkMessage(10 << 8 | 2, 0, 0, 77, b""), None),
        (NetlinkMessage(10 << 8 | 2, 0, 0, 77, b"\x01"), None),
    ],
)
def test_changes_that_count_as_foreign(message: NetlinkMessage, kind: int | None) -> None:
    assert foreign_change(message, {5}) == kind


@pytest.mark.parametrize(
    ("message", "is_elsewhere"),
    [
        (event(6), False),
        (event(2, family=2), True),
        (event(6, attribute(1, b"filter\0"), family=2), True),
        (event(12, attribute(1, b"filter\0"), family=10), True),
        (event(6, attribute(1, b"firewalld\0")), True),
        (event(6, attribute(1, b"filter\0"), family=7), False),  # bridge
        (event(15, attribute(1, b"filter\0")), False),
        (event(6, attribute(1, b"filter\0"), subsystem=1), False),
    ],
)
def test_changes_of_another_table(message: NetlinkMessage, is_elsewhere: bool) -> None:
    assert changes_other_table(message) is is_elsewhere


def test_the_filter_program_drops_exactly_the_given_ports() -> None:
    def passes(program: bytes, port: int) -> bool:
        rows = list(struct.iter_unpack("=HBBI", program))
        header = struct.pack("=IHHII", 16, 0, 0, 0, port)
        at = loaded = 0
        while True:
            code, jt, jf, k = rows[at]
            if code == 0x06:
                return bool(k)
            if code == 0x20:
                loaded = struct.unpack_from("!I", header, k)[0]
                at += 1
            else:
                at += 1 + (jt if loaded == k else jf)

    for own in ([], [1], [7, 0xFFFFF001, 300]):
        program = own_changes_filter(own)
        assert [passes(program, port) for port in (0, 1, 7, 300, 0xFFFFF001)] == [
            port not in own for port in (0, 1, 7, 300, 0xFFFFF001)
        ]


@pytest.fixture
def bare(namespaces: None) -> Iterator[Host]:
    host = Host("bare")
    yield host
    host.close()


@pytest.fixture
def other_tables() -> list[None]:
    """One entry for each event of another table."""
    return []


@pytest.fixture
def opened(bare: Host, other_tables: list[None]) -> Iterator[Driver[NftablesFirewall]]:
    with driving(NftablesFirewall(on_other_tables=lambda: other_tables.append(None)), bare) as driver:
        driver.open(settings(size=20_000))
        yield driver


@pytest.mark.lab
@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("flush ruleset", "table removed"),
        ("delete table inet upnp_gw", "table removed"),
        ("flush chain inet upnp_gw forward", "rule removed"),
        ("delete element inet upnp_gw pm { tcp . 3074 }", "element removed"),
        ("flush map inet upnp_gw pm", "element removed"),
        ("add element inet upnp_gw pm { tcp . 22 timeout 1h : 192.168.77.10 . 22 }", "element added"),
        ("insert rule inet upnp_gw forward accept", "rule added"),
    ],
)
def test_a_foreign_change_is_reported_once(
    opened: Driver[NftablesFirewall], bare: Host, script: str, what: str
) -> None:
    opened.apply(Open(forward()))
    bare.nft(script)
    assert until(lambda: bool(opened.foreign_changes))
    bare.nft("add table inet other")
    assert opened.foreign_changes == [what]


@pytest.mark.lab
def test_changes_of_other_tables_and_large_own_ones_are_not_reported(
    opened: Driver[NftablesFirewall], bare: Host, other_tables: list[None]
) -> None:
    other_tables.clear()
    many = tuple(forward(f"m{n}", 1 + n) for n in range(5000))
    for _ in range(3):
        opened.apply(Refill(many))
    assert not other_tables
    bare.nft("add table inet other\ndelete table inet other")
    assert until(lambda: bool(other_tables))
    opened.open(settings(size=20_000))
    bare.nft("delete element inet upnp_gw pm { tcp . 77 }")
    assert until(lambda: bool(opened.foreign_changes))
    assert opened.foreign_changes == ["element removed"], "the last one alone"


@pytest.mark.lab
def test_a_lost_event_is_reported(opened: Driver[NftablesFirewall], bare: Host, other_tables: list[None]) -> None:
    """A foreign change too large for the socket (another firewall loads its sets) must not go unnoticed."""
    watch = opened.firewall._monitor
    assert watch is not None
    watch._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    other_tables.clear()
    elements = ", ".join(str(n) for n in range(3000))
    bare.nft("add table inet other\nadd set inet other s { type inet_service; }")
    busy, done = threading.Event(), threading.Event()

    def work() -> None:
        busy.set()
        done.wait(WAIT_S)

    opened.loop.call_soon_threadsafe(work)
    assert busy.wait(WAIT_S), "a loop that is not busy yet would read every event as it comes"
    bare.nft(f"add element inet other s {{ {elements} }}")
    done.set()
    assert until(lambda: bool(opened.foreign_changes))
    assert opened.foreign_changes[0] == "events lost"
    assert other_tables, "what was lost may be of any table"
