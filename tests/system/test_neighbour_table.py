"""The presence of a host, by the kernel's neighbour entries: against a kernel made of a dict."""

import asyncio
import errno
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from tests.fixtures.waiting import EVENT_S
from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.network import Neighbour, Neighbours
from upnp_gw.system import neighbour_table
from upnp_gw.system.neighbour_events import AddressMoved, NeighbourEvent, NeighbourGone, NeighbourSeen, Place
from upnp_gw.system.neighbour_table import KernelQuery, NeighbourTable
from upnp_gw.system.rtnetlink import NeighbourMessage, NeighbourState

HOST, LAN, INDEX = ip_address("192.168.1.9"), "lan0", 2
OLD, NEW = "02:00:00:00:00:01", "02:00:00:00:00:02"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour_table, "PROBE_S", 0.05)


@dataclass
class FakeKernel:
    """Entries, and the hosts that answer (by MAC). Every change is passed to the table, as by an event."""

    answering: set[str] = field(default_factory=set)
    entries: dict[IPAddress, NeighbourMessage] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)
    failure: int = 0
    table: NeighbourTable | None = None

    def put(self, mac: str | None, state: NeighbourState, deleted: bool = False) -> None:
        message = NeighbourMessage(deleted, INDEX, HOST, mac, state)
        if deleted:
            self.entries.pop(HOST, None)
        else:
            self.entries[HOST] = message
        if self.table is not None:
            self.table.update(LAN, message)

    def neighbour(self, address: IPAddress, index: int) -> NeighbourMessage | None:
        return self.entries.get(address)

    def set_probe(self, address: IPAddress, index: int, mac: str | None = None) -> None:
        self._fail()
        self.asked.append(mac)
        mac = mac or self.entries[address].mac
        self.put(mac, NeighbourState.PROBE)
        asyncio.get_running_loop().call_soon(self._outcome, mac)

    def resolve(self, address: IPAddress, index: int) -> None:
        self._fail()
        self.asked.append("anybody")
        self.entries[address] = NeighbourMessage(False, INDEX, address, None, NeighbourState.INCOMPLETE)
        asyncio.get_running_loop().call_soon(self._outcome, min(self.answering, default=None))

    def _outcome(self, mac: str | None) -> None:
        if mac in self.answering:
            self.put(mac, NeighbourState.REACHABLE)
        else:
            self.put(None, NeighbourState.FAILED)

    def _fail(self) -> None:
        if self.failure:
            raise OSError(self.failure, "as the test says")


class Claims:
    """Hears what happens to an entry; nothing is contested."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def on_new_entry(self, place: Place, mac: str) -> None:
        self.calls.append(("appeared", mac))

    def on_claim(self, place: Place, mac: str, before: str | None) -> bool:
        if before not in (None, mac):
            self.calls.append(("claimed", mac))
        return False

    def on_permanent_entry(self, place: Place, mac: str) -> None:
        self.calls.append(("pinned", mac))

    def on_entry_lost(self, place: Place, mac: str) -> None:
        self.calls.append(("lost", mac))

    def contested(self, place: Place) -> bool:
        return False


class Scene:
    def __init__(self, *answering: str) -> None:
        self.kernel = FakeKernel(set(answering))
        self.neighbours = Neighbours()
        self.events: list[NeighbourEvent] = []
        self.claims = Claims()
        self.table = self.kernel.table = NeighbourTable(
            self.neighbours, self.kernel, self.events.append, self.claims
        )


async def test_a_neighbour_is_seen_once_and_again_after_it_was_gone() -> None:
    scene = Scene()
    for state in (
        NeighbourState.STALE,
        NeighbourState.DELAY,
        NeighbourState.PROBE,
        NeighbourState.REACHABLE,
        NeighbourState.STALE,
    ):
        scene.kernel.put(OLD, state)
    assert scene.events == [NeighbourSeen(Neighbour(HOST, OLD, LAN))]
    scene.kernel.put(None, NeighbourState.FAILED)
    scene.kernel.put(None, NeighbourState.FAILED)
    assert scene.events[1:] == [NeighbourGone(HOST, OLD, LAN)]
    scene.kernel.put(OLD, NeighbourState.REACHABLE)
    assert scene.events[2:] == [NeighbourSeen(Neighbour(HOST, OLD, LAN))]


@pytest.mark.parametrize("state", [NeighbourState.INCOMPLETE, NeighbourState.FAILED, NeighbourState.NOARP])
async def test_an_entry_without_a_valid_mac_address_is_not_learned(state: NeighbourState) -> None:
    scene = Scene()
    scene.kernel.put(OLD if state is NeighbourState.NOARP else None, state)
    assert (scene.events, scene.neighbours.mac_of(HOST)) == ([], None)


@pytest.mark.parametrize(
    ("mac", "state", "deleted"),
    [
        (OLD, NeighbourState.STALE, True),
        (None, NeighbourState.FAILED, True),
        (None, NeighbourState.INCOMPLETE, False),
    ],
)
async def test_an_entry_that_the_kernel_drops_is_forgotten_without_an_event(
    mac: str | None, state: NeighbourState, deleted: bool
) -> None:
    scene = Scene()
    scene.kernel.put(OLD, NeighbourState.STALE)
    scene.kernel.put(mac, state, deleted)
    assert scene.neighbours.mac_of(HOST) is None
    assert len(scene.events) == 1


async def test_a_full_dump_adds_and_removes_neighbours() -> None:
    scene = Scene()
    scene.kernel.put(OLD, NeighbourState.STALE)
    other = NeighbourMessage(False, INDEX, ip_address("192.168.1.10"), NEW, NeighbourState.STALE)
    scene.table.reconcile([(LAN, other)])
    assert scene.neighbours.mac_of(HOST) is None
    assert scene.neighbours.mac_of(other.address) == NEW
    scene.table.reconcile([(LAN, NeighbourMessage(False, INDEX, other.address, None, NeighbourState.FAILED))])
    assert scene.events[1:] == [
        NeighbourSeen(Neighbour(other.address, NEW, LAN)),
        NeighbourGone(other.address, NEW, LAN),
    ]


@pytest.mark.parametrize(
    "known", [NeighbourState.STALE, NeighbourState.REACHABLE, NeighbourState.DELAY, None, NeighbourState.FAILED]
)
@pytest.mark.parametrize("there", [True, False])
async def test_a_probe_finds_a_present_host(known: NeighbourState | None, there: bool) -> None:
    scene = Scene(*([OLD] if there else []))
    if known is not None:
        scene.kernel.put(None if known is NeighbourState.FAILED else OLD, known)
    assert await scene.table.probe(HOST, LAN, INDEX) is there
    assert scene.kernel.asked == [
        None if known in (NeighbourState.STALE, NeighbourState.REACHABLE, NeighbourState.DELAY) else "anybody"
    ]


async def test_probes_of_one_address_are_one_probe() -> None:
    scene = Scene(OLD)
    scene.kernel.put(OLD, NeighbourState.STALE)
    assert await asyncio.gather(*(scene.table.probe(HOST, LAN, INDEX) for _ in range(5))) == [True] * 5
    assert scene.kernel.asked == [None]


async def test_a_probe_without_an_outcome_means_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.kernel.put(OLD, NeighbourState.STALE)
    monkeypatch.setattr(scene.kernel, "_outcome", lambda mac: None)
    assert await scene.table.probe(HOST, LAN, INDEX) is False
    assert scene.neighbours.mac_of(HOST) == OLD  # nobody said that it has gone


async def test_an_answer_whose_event_was_lost_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.kernel.put(OLD, NeighbourState.STALE)

    def silently(mac: str) -> None:
        scene.kernel.entries[HOST] = NeighbourMessage(False, INDEX, HOST, mac, NeighbourState.REACHABLE)

    monkeypatch.setattr(scene.kernel, "_outcome", silently)
    assert await scene.table.probe(HOST, LAN, INDEX) is True


async def test_an_old_event_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event from before the probe, still in the queue, says REACHABLE: the entry itself does not."""
    scene = Scene()
    scene.kernel.put(OLD, NeighbourState.STALE)
    late = NeighbourMessage(False, INDEX, HOST, OLD, NeighbourState.REACHABLE)
    monkeypatch.setattr(scene.kernel, "_outcome", lambda mac: scene.table.update(LAN, late))
    assert await scene.table.probe(HOST, LAN, INDEX) is False


async def test_a_permanent_entry_is_present_and_not_probed() -> None:
    scene = Scene()
    scene.kernel.put(OLD, NeighbourState.PERMANENT)
    assert await scene.table.probe(HOST, LAN, INDEX) is True
    assert scene.kernel.asked == []


@pytest.mark.parametrize("failure", [errno.ENODEV, errno.ENETDOWN])
async def test_a_probe_on_a_removed_link_finds_no_host(failure: int) -> None:
    scene = Scene(OLD)
    scene.kernel.failure = failure
    assert await scene.table.probe(HOST, LAN, INDEX) is False


async def test_a_missing_right_to_probe_is_an_error() -> None:
    scene = Scene(OLD)
    scene.kernel.failure = errno.EPERM
    with pytest.raises(PermissionError):
        await scene.table.probe(HOST, LAN, INDEX)
    scene.kernel.failure = 0
    assert await scene.table.probe(HOST, LAN, INDEX) is True  # nothing stayed behind


async def test_another_mac_address_counts_at_once_and_is_a_claim() -> None:
    scene = Scene()
    scene.kernel.put(OLD, NeighbourState.STALE)
    scene.kernel.put(NEW, NeighbourState.STALE)
    assert scene.neighbours.mac_of(HOST) == NEW  # it must not pass for the old one
    assert scene.events == [NeighbourSeen(Neighbour(HOST, OLD, LAN))]
    assert scene.claims.calls == [("appeared", OLD), ("claimed", NEW)]


async def test_a_permanent_entry_moves_the_address_at_once() -> None:
    scene = Scene(OLD)
    scene.kernel.put(OLD, NeighbourState.STALE)
    scene.kernel.put(NEW, NeighbourState.PERMANENT)
    assert scene.events[1:] == [AddressMoved(HOST, OLD, NEW, LAN)]
    assert scene.claims.calls[1:] == [("pinned", NEW)]
    assert scene.kernel.asked == []


async def test_a_probe_is_repeated_if_another_host_overwrites_the_entry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(OLD, NEW)
    scene.kernel.put(OLD, NeighbourState.STALE)
    flips = iter(range(3))

    def outcome(mac: str | None) -> None:
        spoiled = next(flips, None) is not None
        scene.kernel.put(NEW if spoiled else mac, NeighbourState.STALE if spoiled else NeighbourState.REACHABLE)

    monkeypatch.setattr(scene.kernel, "_outcome", outcome)
    assert await scene.table.probe_mac((HOST, LAN), INDEX, OLD, 1.0) is True
    assert scene.kernel.asked == [OLD] * 4


async def test_a_kernel_query_asks_the_named_hosts() -> None:
    scene = Scene(NEW)
    query = KernelQuery(scene.table, (HOST, LAN), INDEX, 0.05)
    query.ask(OLD, NEW)
    async with asyncio.timeout(EVENT_S):
        await query.new_answer.wait()
    assert list(query.answers) == [NEW]
    assert scene.kernel.asked == [OLD, NEW]
    query.close()
