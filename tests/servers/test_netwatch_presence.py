"""Whether a host is there, and who has an address when two claim it: against a kernel made of a dict."""

import asyncio
import errno
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from upnp_gw.model import IPAddress
from upnp_gw.network import Neighbour, Neighbours
from upnp_gw.servers import presence
from upnp_gw.servers.presence import Gone, Moved, NeighbourEvent, Presence, Seen
from upnp_gw.servers.rtnetlink import NeighbourMessage, Nud

HOST, LAN, INDEX = ip_address("192.168.1.9"), "lan0", 2
OLD, NEW = "02:00:00:00:00:01", "02:00:00:00:00:02"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "PROBE_S", 0.05)
    monkeypatch.setattr(presence, "OLD_HOLDER_S", 0.02)
    monkeypatch.setattr(presence, "TRUCE_S", 0.01)


@dataclass
class FakeKernel:
    """Entries, and the hosts that answer (by MAC). Every change is told to the presence, as by an event."""

    answering: set[str] = field(default_factory=set)
    entries: dict[IPAddress, NeighbourMessage] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)
    failure: int = 0
    presence: Presence | None = None

    def put(self, mac: str | None, state: Nud, gone: bool = False) -> None:
        message = NeighbourMessage(gone, INDEX, HOST, mac, state)
        if gone:
            self.entries.pop(HOST, None)
        else:
            self.entries[HOST] = message
        if self.presence is not None:
            self.presence.take(LAN, message)

    def neighbour(self, address: IPAddress, index: int) -> NeighbourMessage | None:
        return self.entries.get(address)

    def set_probe(self, address: IPAddress, index: int, mac: str | None = None) -> None:
        self._fail()
        self.asked.append(mac)
        mac = mac or self.entries[address].mac
        self.put(mac, Nud.PROBE)
        asyncio.get_running_loop().call_soon(self._outcome, mac)

    def resolve(self, address: IPAddress, index: int) -> None:
        self._fail()
        self.asked.append("anybody")
        self.entries[address] = NeighbourMessage(False, INDEX, address, None, Nud.INCOMPLETE)
        asyncio.get_running_loop().call_soon(self._outcome, min(self.answering, default=None))

    def _outcome(self, mac: str | None) -> None:
        if mac in self.answering:
            self.put(mac, Nud.REACHABLE)
        else:
            self.put(None, Nud.FAILED)

    def _fail(self) -> None:
        if self.failure:
            raise OSError(self.failure, "as the test says")


class Scene:
    def __init__(self, *answering: str) -> None:
        self.kernel = FakeKernel(set(answering))
        self.neighbours = Neighbours()
        self.told: list[NeighbourEvent] = []
        self.presence = self.kernel.presence = Presence(self.neighbours, self.kernel, self.told.append)

    async def settled(self) -> None:
        """Until no address is contested."""
        async with asyncio.timeout(2):
            while contests := [c.task for c in self.presence._contests.values() if c.task]:
                await asyncio.wait(contests)


async def test_seen_once_and_again_after_it_was_gone() -> None:
    scene = Scene()
    for state in (Nud.STALE, Nud.DELAY, Nud.PROBE, Nud.REACHABLE, Nud.STALE):
        scene.kernel.put(OLD, state)
    assert scene.told == [Seen(Neighbour(HOST, OLD, LAN))]
    scene.kernel.put(None, Nud.FAILED)
    scene.kernel.put(None, Nud.FAILED)
    assert scene.told[1:] == [Gone(HOST, OLD, LAN)]
    scene.kernel.put(OLD, Nud.REACHABLE)
    assert scene.told[2:] == [Seen(Neighbour(HOST, OLD, LAN))]


@pytest.mark.parametrize("state", [Nud.INCOMPLETE, Nud.FAILED, Nud.NOARP])
async def test_an_entry_that_means_nothing_is_not_learned(state: Nud) -> None:
    scene = Scene()
    scene.kernel.put(OLD if state is Nud.NOARP else None, state)
    assert (scene.told, scene.neighbours.mac_of(HOST)) == ([], None)


@pytest.mark.parametrize(
    ("mac", "state", "gone"), [(OLD, Nud.STALE, True), (None, Nud.FAILED, True), (None, Nud.INCOMPLETE, False)]
)
async def test_an_entry_that_the_kernel_drops_is_forgotten_in_silence(
    mac: str | None, state: Nud, gone: bool
) -> None:
    scene = Scene()
    scene.kernel.put(OLD, Nud.STALE)
    scene.kernel.put(mac, state, gone)
    assert scene.neighbours.mac_of(HOST) is None
    assert len(scene.told) == 1


async def test_a_full_reading_learns_and_forgets() -> None:
    scene = Scene()
    scene.kernel.put(OLD, Nud.STALE)
    other = NeighbourMessage(False, INDEX, ip_address("192.168.1.10"), NEW, Nud.STALE)
    scene.presence.reconcile([(LAN, other)])
    assert scene.neighbours.mac_of(HOST) is None
    assert scene.neighbours.mac_of(other.address) == NEW
    scene.presence.reconcile([(LAN, NeighbourMessage(False, INDEX, other.address, None, Nud.FAILED))])
    assert scene.told[1:] == [Seen(Neighbour(other.address, NEW, LAN)), Gone(other.address, NEW, LAN)]


@pytest.mark.parametrize("known", [Nud.STALE, Nud.REACHABLE, Nud.DELAY, None, Nud.FAILED])
@pytest.mark.parametrize("there", [True, False])
async def test_a_probe_tells_who_is_there(known: Nud | None, there: bool) -> None:
    scene = Scene(*([OLD] if there else []))
    if known is not None:
        scene.kernel.put(None if known is Nud.FAILED else OLD, known)
    assert await scene.presence.probe(HOST, LAN, INDEX) is there
    assert scene.kernel.asked == [None if known in (Nud.STALE, Nud.REACHABLE, Nud.DELAY) else "anybody"]


async def test_probes_of_one_address_are_one_probe() -> None:
    scene = Scene(OLD)
    scene.kernel.put(OLD, Nud.STALE)
    assert await asyncio.gather(*(scene.presence.probe(HOST, LAN, INDEX) for _ in range(5))) == [True] * 5
    assert scene.kernel.asked == [None]


async def test_a_probe_that_the_kernel_never_ends_is_an_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.kernel.put(OLD, Nud.STALE)
    monkeypatch.setattr(scene.kernel, "_outcome", lambda mac: None)
    assert await scene.presence.probe(HOST, LAN, INDEX) is False
    assert scene.neighbours.mac_of(HOST) == OLD  # nobody said that it has gone


async def test_an_answer_whose_event_was_lost_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.kernel.put(OLD, Nud.STALE)

    def silently(mac: str) -> None:
        scene.kernel.entries[HOST] = NeighbourMessage(False, INDEX, HOST, mac, Nud.REACHABLE)

    monkeypatch.setattr(scene.kernel, "_outcome", silently)
    assert await scene.presence.probe(HOST, LAN, INDEX) is True


async def test_an_old_event_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event from before the probe, still in the queue, says REACHABLE: the entry itself does not."""
    scene = Scene()
    scene.kernel.put(OLD, Nud.STALE)
    late = NeighbourMessage(False, INDEX, HOST, OLD, Nud.REACHABLE)
    monkeypatch.setattr(scene.kernel, "_outcome", lambda mac: scene.presence.take(LAN, late))
    assert await scene.presence.probe(HOST, LAN, INDEX) is False


async def test_what_the_operator_set_is_left_alone_and_there() -> None:
    scene = Scene()
    scene.kernel.put(OLD, Nud.PERMANENT)
    assert await scene.presence.probe(HOST, LAN, INDEX) is True
    assert scene.kernel.asked == []


@pytest.mark.parametrize("failure", [errno.ENODEV, errno.ENETDOWN])
async def test_a_link_that_has_gone_has_nobody(failure: int) -> None:
    scene = Scene(OLD)
    scene.kernel.failure = failure
    assert await scene.presence.probe(HOST, LAN, INDEX) is False


async def test_where_we_may_not_ask_that_is_said() -> None:
    scene = Scene(OLD)
    scene.kernel.failure = errno.EPERM
    with pytest.raises(PermissionError):
        await scene.presence.probe(HOST, LAN, INDEX)
    scene.kernel.failure = 0
    assert await scene.presence.probe(HOST, LAN, INDEX) is True  # nothing stayed behind


# -- two claim an address


async def test_moved_when_the_old_holder_is_silent() -> None:
    scene = Scene(NEW)
    scene.kernel.put(OLD, Nud.STALE)
    scene.kernel.put(NEW, Nud.STALE)
    assert scene.neighbours.mac_of(HOST) == NEW  # at once: it must not pass for the old one
    assert len(scene.told) == 1  # but nothing has moved yet
    await scene.settled()
    assert scene.told[1:] == [Moved(HOST, OLD, NEW, LAN)]
    assert scene.kernel.asked == [OLD, NEW]
    assert scene.neighbours.mac_of(HOST) == NEW


@pytest.mark.parametrize("answering", [(NEW,), (OLD, NEW), (OLD,)])
async def test_an_address_is_contested_while_its_claimant_has_it_and_nothing_is_settled(
    answering: tuple[str, ...],
) -> None:
    scene = Scene(*answering)
    scene.kernel.put(OLD, Nud.STALE)
    assert not scene.presence.contested(HOST)
    scene.kernel.put(NEW, Nud.STALE)
    assert scene.presence.contested(HOST)
    while scene.neighbours.mac_of(HOST) == NEW and scene.presence._contests:
        assert scene.presence.contested(HOST)
        await asyncio.sleep(0)
    assert not scene.presence.contested(HOST), "it has moved, or is the old holder's again"
    await scene.settled()


async def test_not_moved_while_the_old_holder_answers() -> None:
    scene = Scene(OLD, NEW)
    scene.kernel.put(OLD, Nud.STALE)
    scene.kernel.put(NEW, Nud.STALE)
    await scene.settled()
    assert len(scene.told) == 1
    assert scene.kernel.asked == [OLD]
    assert scene.neighbours.mac_of(HOST) == OLD


async def test_a_claim_kept_up_is_looked_at_again_until_the_old_holder_leaves() -> None:
    scene = Scene(OLD, NEW)
    scene.kernel.put(OLD, Nud.STALE)
    scene.kernel.put(NEW, Nud.STALE)
    for _ in range(10):  # turns of the loop
        await asyncio.sleep(0)
    assert scene.neighbours.mac_of(HOST) == OLD
    scene.kernel.put(NEW, Nud.STALE)
    scene.kernel.answering = {NEW}
    await scene.settled()
    assert scene.told[1:] == [Moved(HOST, OLD, NEW, LAN)]


async def test_a_claim_by_nobody_and_nobody_there_is_an_absence() -> None:
    scene = Scene()
    scene.kernel.put(OLD, Nud.STALE)
    scene.kernel.put(NEW, Nud.STALE)
    await scene.settled()
    assert scene.told[1:] == [Gone(HOST, OLD, LAN)]


async def test_a_claimant_that_keeps_taking_the_entry_back_does_not_stop_the_old_holders_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(OLD, NEW)
    scene.kernel.put(OLD, Nud.STALE)
    flips = iter(range(3))

    def outcome(mac: str | None) -> None:
        spoiled = next(flips, None) is not None
        scene.kernel.put(NEW if spoiled else mac, Nud.STALE if spoiled else Nud.REACHABLE)

    monkeypatch.setattr(scene.kernel, "_outcome", outcome)
    scene.kernel.put(NEW, Nud.STALE)
    await scene.settled()
    assert scene.kernel.asked == [OLD] * 4
    assert len(scene.told) == 1


async def test_where_nobody_can_be_asked_the_claim_counts() -> None:
    scene = Scene(OLD, NEW)
    scene.kernel.failure = errno.EPERM
    scene.kernel.put(OLD, Nud.STALE)
    scene.kernel.put(NEW, Nud.STALE)
    await scene.settled()
    assert scene.told[1:] == [Moved(HOST, OLD, NEW, LAN)]


async def test_an_entry_that_the_operator_sets_has_moved_at_once() -> None:
    scene = Scene(OLD)
    scene.kernel.put(OLD, Nud.STALE)
    scene.kernel.put(NEW, Nud.PERMANENT)
    assert scene.told[1:] == [Moved(HOST, OLD, NEW, LAN)]
    assert scene.kernel.asked == []


async def test_close_ends_what_is_being_judged() -> None:
    scene = Scene(OLD, NEW)
    scene.kernel.put(OLD, Nud.STALE)
    scene.kernel.put(NEW, Nud.STALE)
    await scene.presence.close()
    assert scene.presence._contests == {}
