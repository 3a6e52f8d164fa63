"""The host that has an address, or none: against a link made of a set of hosts."""

import asyncio
import errno
import gc
import logging
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest

from tests.fixtures.fast_loop import without_waiting
from upnp_gw.control.serialize import MOST_CONTESTS, contest_sentences
from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.network import Link, Neighbour, Neighbours
from upnp_gw.system import address_contests as contests
from upnp_gw.system import address_holders as holders
from upnp_gw.system.address_holders import AddressHolders
from upnp_gw.system.neighbour_events import (
    AddressContested,
    AddressMoved,
    AddressSettled,
    NeighbourEvent,
    NeighbourGone,
    Place,
)
from upnp_gw.system.rtnetlink import NeighbourMessage, NeighbourState

HOST, LAN, INDEX = ip_address("192.168.1.9"), "lan0", 2
PLACE: Place = (HOST, LAN)
ONE, TWO = "02:00:00:00:00:01", "02:00:00:00:00:02"

pytestmark = pytest.mark.spec("SR-2", "SR-43")


class FakeQuery:
    by_kernel = False

    def __init__(self, scene: "Scene") -> None:
        self.answers: dict[str, None] = {}
        self.new_answer = asyncio.Event()
        self._scene = scene
        scene.open += 1

    def ask(self, *hosts: str) -> None:
        if self._scene.failure:
            raise OSError(self._scene.failure, "as the test says")
        self._scene.asked.append(hosts)
        for mac, after_s in self._scene.answering.items():
            asyncio.get_running_loop().call_later(after_s, self.answer, mac)

    def answer(self, mac: str) -> None:
        if mac not in self.answers:
            self.answers[mac] = None
            self.new_answer.set()

    def close(self) -> None:
        self._scene.open -= 1


@dataclass
class FakeKernel:
    entries: dict[IPAddress, NeighbourMessage] = field(default_factory=dict)
    probed: list[str | None] = field(default_factory=list)

    def neighbour(self, address: IPAddress, index: int) -> NeighbourMessage | None:
        return self.entries.get(address)

    def set_probe(self, address: IPAddress, index: int, mac: str | None = None) -> None:
        self.probed.append(mac)

    def resolve(self, address: IPAddress, index: int) -> None:
        raise AssertionError


class Scene:
    """``answering``: the hosts that answer, and after how many seconds."""

    def __init__(self, *answering: str, mappings_of: str | None = None) -> None:
        self.answering = dict.fromkeys(answering, 0.0)
        self.neighbours = Neighbours()
        self.kernel = FakeKernel()
        self.events: list[NeighbourEvent] = []
        self.something = asyncio.Event()
        self.asked: list[tuple[str, ...]] = []
        self.failure = 0
        self.open = 0
        """Questions that are open."""
        self.link: Link | None = Link(LAN, INDEX, True)
        self.holders = AddressHolders(
            self.neighbours, self.kernel, lambda place: FakeQuery(self), lambda name: self.link, self.record
        )
        self.holders.holder_of = lambda place: mappings_of

    def record(self, event: NeighbourEvent) -> None:
        self.events.append(event)
        self.something.set()

    def entry(self, mac: str, state: NeighbourState = NeighbourState.STALE) -> None:
        """A frame in this host's name has written the neighbour entry."""
        before = self.neighbours.mac_of(*PLACE)
        self.kernel.entries[HOST] = NeighbourMessage(False, INDEX, HOST, mac, state)
        self.neighbours.learn(Neighbour(HOST, mac, LAN))
        if not self.holders.on_claim(PLACE, mac, before) and before is None:
            self.holders.on_new_entry(PLACE, mac)

    def lose_entry(self) -> None:
        mac = self.neighbours.mac_of(*PLACE)
        assert mac is not None
        self.neighbours.forget(*PLACE)
        self.kernel.entries.clear()
        self.holders.on_entry_lost(PLACE, mac)

    async def wait_for(self, event: NeighbourEvent) -> None:
        async with asyncio.timeout(60):
            while event not in self.events:
                await self.something.wait()
                self.something.clear()

    async def quiet(self) -> None:
        """Until nobody is asked any more."""
        async with asyncio.timeout(60):
            while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(tasks)
        assert self.open == 0


def settled(mac: str) -> AddressSettled:
    return AddressSettled(Neighbour(HOST, mac, LAN))


# -- one host


@without_waiting
async def test_a_new_host_is_checked_before_its_first_request() -> None:
    scene = Scene(ONE)
    scene.entry(ONE)
    assert not scene.holders.settled(PLACE)
    await scene.wait_for(settled(ONE))
    assert scene.holders.settled(PLACE)
    await scene.quiet()
    queries_before = len(scene.asked)
    assert scene.holders.settled_lately(PLACE)
    assert await scene.holders.settle(PLACE)
    assert len(scene.asked) == queries_before, "a request waits for nothing"


@without_waiting
async def test_a_request_waits_until_other_hosts_could_answer() -> None:
    scene = Scene(ONE)
    scene.entry(ONE)
    begun = asyncio.get_running_loop().time()
    assert await scene.holders.settle(PLACE)
    assert asyncio.get_running_loop().time() - begun == pytest.approx(holders.UNCONTESTED_S)


@without_waiting
async def test_a_late_answer_of_the_host_itself_is_awaited() -> None:
    scene = Scene()
    scene.answering = {ONE: holders.UNCONTESTED_S * 2}
    scene.entry(ONE)
    assert await scene.holders.settle(PLACE)


@pytest.mark.parametrize("mappings_of", [None, ONE])
@without_waiting
async def test_a_silent_host_is_gone(mappings_of: str | None) -> None:
    scene = Scene(mappings_of=mappings_of)
    scene.entry(ONE)
    assert not await scene.holders.settle(PLACE)
    await scene.quiet()
    assert scene.kernel.probed[-1] is None, "its neighbour entry is to go, so that it is seen when it is back"
    scene.lose_entry()
    await scene.quiet()
    assert (NeighbourGone(HOST, ONE, LAN) in scene.events) is (mappings_of is not None)
    assert not scene.holders.settled(PLACE)


@without_waiting
async def test_a_link_that_was_down_proves_no_absence() -> None:
    scene = Scene(mappings_of=ONE)
    scene.entry(ONE)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert scene.link is not None
    scene.lose_entry()
    scene.link = replace(scene.link)
    await scene.quiet()
    assert not any(isinstance(event, NeighbourGone) for event in scene.events)


@pytest.mark.parametrize("failure", [errno.ENETDOWN, errno.ENOMEM, errno.EAGAIN, errno.EIO])
@without_waiting
async def test_an_error_of_a_query_settles_nothing(failure: int) -> None:
    scene = Scene(ONE)
    scene.failure = failure
    scene.entry(ONE)
    assert not await scene.holders.settle(PLACE)
    assert scene.events == []


@without_waiting
async def test_without_the_right_to_ask_the_neighbour_entry_counts() -> None:
    scene = Scene()
    scene.failure = errno.EPERM
    scene.entry(ONE)
    assert await scene.holders.settle(PLACE)


@without_waiting
async def test_an_unknown_address_belongs_to_no_host() -> None:
    scene = Scene(ONE)
    assert not await scene.holders.settle(PLACE)


@without_waiting
async def test_an_entry_that_is_made_again_is_checked_again() -> None:
    scene = Scene(ONE)
    scene.entry(ONE)
    await scene.quiet()
    scene.lose_entry()
    assert not scene.holders.settled(PLACE)
    scene.entry(ONE)
    assert not scene.holders.settled(PLACE)
    await scene.quiet()
    assert scene.holders.settled(PLACE)


@without_waiting
@pytest.mark.parametrize("mac", [ONE, TWO])
async def test_an_older_check_does_not_count_for_a_new_entry(mac: str) -> None:
    scene = Scene(ONE, mappings_of=ONE)
    assert await scene.holders.settle(PLACE), "it has mappings, and answers"
    await scene.quiet()
    scene.holders.holder_of = lambda place: None
    scene.answering = {mac: 0.0}
    queries_before = len(scene.asked)
    scene.entry(mac)
    assert not scene.holders.settled(PLACE)
    assert await scene.holders.settle(PLACE)
    assert len(scene.asked) > queries_before


@without_waiting
async def test_a_request_whose_host_is_replaced_at_once_gets_its_answer() -> None:
    scene = Scene(TWO)
    scene.neighbours.learn(Neighbour(HOST, ONE, LAN))
    request = asyncio.create_task(scene.holders.settle(PLACE))
    await asyncio.sleep(0)
    scene.lose_entry()
    scene.entry(TWO)
    async with asyncio.timeout(60):
        assert not await request
    await scene.quiet()
    assert scene.holders.settled(PLACE)


@without_waiting
async def test_a_request_whose_check_had_not_begun_ends_with_the_daemon() -> None:
    scene = Scene(ONE)
    scene.neighbours.learn(Neighbour(HOST, ONE, LAN))
    request = asyncio.create_task(scene.holders.settle(PLACE))
    await asyncio.sleep(0)
    await scene.holders.close()
    async with asyncio.timeout(60):
        assert not await request


@without_waiting
async def test_an_address_whose_entry_ends_during_the_check_is_not_remembered() -> None:
    """A host could make up addresses, one after the other."""
    scene = Scene(ONE)
    scene.entry(ONE)
    scene.lose_entry()
    await scene.quiet()
    assert scene.events[-1] == settled(ONE)
    assert scene.holders.remembered == 0


@without_waiting
async def test_addresses_whose_entries_and_mappings_have_ended_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(holders, "FEW_SETTLED", 8)
    scene = Scene(ONE)
    mapped: list[Place] = []
    scene.holders.holder_of = lambda place: ONE if place in mapped else None
    for number in range(100):
        mapped[:] = [PLACE, (HOST + number, LAN)]
        scene.holders.on_entry_lost(mapped[1], ONE)
        await scene.quiet()
    assert scene.holders.remembered <= 9
    scene.neighbours.learn(Neighbour(HOST, ONE, LAN))
    assert scene.holders.settled(PLACE), "mappings lead to it"


@without_waiting
async def test_an_ended_entry_of_a_mapped_address_causes_a_check_at_once() -> None:
    scene = Scene(ONE, TWO, mappings_of=ONE)
    scene.answering = {ONE: 0.0}
    scene.entry(ONE)
    await scene.quiet()
    scene.answering = {ONE: 0.0, TWO: 0.0}
    scene.lose_entry()
    await scene.wait_for(AddressContested(HOST, LAN))
    await scene.holders.close()


@without_waiting
async def test_a_permanent_entry_is_settled_without_a_query() -> None:
    scene = Scene()
    scene.kernel.entries[HOST] = NeighbourMessage(False, INDEX, HOST, ONE, NeighbourState.PERMANENT)
    scene.neighbours.learn(Neighbour(HOST, ONE, LAN))
    assert await scene.holders.settle(PLACE)
    assert scene.asked == []


@without_waiting
async def test_many_new_addresses_wait_and_a_requester_does_not() -> None:
    scene = Scene(ONE)
    for number in range(holders.MOST_WAITING + 50):
        scene.holders.on_new_entry((ip_address(f"10.0.{number // 250}.{number % 250}"), LAN), TWO)
    assert len(scene.holders._checks) == holders.MOST_WAITING
    scene.entry(ONE)
    assert await scene.holders.settle(PLACE)
    assert scene.open <= holders.UNMAPPED_AT_ONCE + 1
    await scene.holders.close()


# -- two hosts


@pytest.mark.parametrize("first", [ONE, TWO])
@without_waiting
async def test_a_host_that_forged_an_entry_does_not_get_the_address_while_the_owner_answers(first: str) -> None:
    scene = Scene(ONE, TWO)
    scene.answering = {first: 0.0, TWO if first == ONE else ONE: holders.UNCONTESTED_S / 2}
    scene.entry(ONE)
    assert not await scene.holders.settle(PLACE)
    assert scene.events == [AddressContested(HOST, LAN)]
    assert not await scene.holders.settle(PLACE), "at once, while it is contested"
    (contest,) = scene.holders.contests()
    assert contest.macs == (ONE, TWO)
    await scene.holders.close()


@without_waiting
async def test_a_host_that_forged_an_entry_and_does_not_answer_loses_the_address() -> None:
    scene = Scene(TWO)
    scene.entry(ONE)
    assert not await scene.holders.settle(PLACE)
    await scene.quiet()
    assert scene.events == [AddressContested(HOST, LAN), AddressMoved(HOST, ONE, TWO, LAN), settled(TWO)]
    assert scene.neighbours.mac_of(*PLACE) == TWO
    assert scene.kernel.probed[-1] == TWO, "and the kernel's entry is its"


@without_waiting
async def test_a_late_answer_after_a_mapping_was_opened_counts() -> None:
    scene = Scene(ONE)
    scene.entry(ONE)
    assert await scene.holders.settle(PLACE)
    scene.answering[TWO] = 0.0
    await scene.wait_for(AddressContested(HOST, LAN))
    assert not scene.holders.settled(PLACE)
    await scene.holders.close()


@without_waiting
async def test_an_address_settled_long_ago_is_checked_without_delaying_the_request() -> None:
    scene = Scene(ONE)
    scene.entry(ONE)
    await scene.quiet()
    scene.answering[TWO] = 0.0
    assert scene.holders.settled_lately(PLACE)
    await asyncio.sleep(holders.RECHECK_S * 1.1)
    assert not scene.holders.settled_lately(PLACE), "a check is due"
    assert await scene.holders.settle(PLACE), "at once"
    await scene.wait_for(AddressContested(HOST, LAN))
    assert not await scene.holders.settle(PLACE)
    await scene.holders.close()


async def claimed(scene: Scene) -> None:
    """ONE has the address; then a frame says that TWO has it."""
    scene.answering.setdefault(ONE, 0.0)
    before = dict(scene.answering)
    scene.answering = {ONE: 0.0}
    scene.entry(ONE)
    await scene.quiet()
    scene.answering = before
    scene.events.clear()
    scene.entry(TWO)


@without_waiting
async def test_moved_when_the_old_holder_is_silent() -> None:
    scene = Scene(TWO)
    await claimed(scene)
    del scene.answering[ONE]
    assert scene.events == [AddressContested(HOST, LAN)], "at once"
    assert scene.neighbours.mac_of(*PLACE) == TWO, "it must not pass for the old one"
    await scene.quiet()
    assert scene.events[1:] == [AddressMoved(HOST, ONE, TWO, LAN), settled(TWO)]
    assert set(scene.asked[-1]) == {ONE, TWO}, "both by their MAC address too"


@without_waiting
async def test_a_claim_of_a_silent_host_ends_soon() -> None:
    scene = Scene(ONE)
    await claimed(scene)
    await scene.quiet()
    assert scene.events == [AddressContested(HOST, LAN), settled(ONE)]
    assert scene.neighbours.mac_of(*PLACE) == ONE
    assert scene.kernel.probed[-1] == ONE, "the kernel's entry is its again"


@without_waiting
async def test_no_host_has_an_address_while_two_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Until one of them gives it up (RFC 5227), and it is said once."""
    scene = Scene(ONE, TWO)
    await claimed(scene)
    await asyncio.sleep((contests.PAUSE_S + contests.QUERY_S) * 3)
    assert scene.events == [AddressContested(HOST, LAN)]
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.startswith(f"{HOST} on {LAN} is claimed by {ONE} and by {TWO}: nothing is open")
    del scene.answering[TWO]
    await scene.quiet()
    assert scene.events[1:] == [settled(ONE)]
    assert "no other host answers" in caplog.records[-1].getMessage()


@without_waiting
async def test_a_host_that_claims_many_addresses_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A claim to a mapped address is still logged."""
    scene = Scene(ONE, TWO)
    many = [(ip_address(f"2001:db8::{number:x}"), LAN) for number in range(1, 41)]
    mapped = many[-1]
    scene.holders.holder_of = lambda place: ONE if place == mapped else None
    for place in many:
        assert scene.holders.on_claim(place, TWO, ONE)
    await asyncio.sleep((contests.PAUSE_S + contests.QUERY_S) * len(many))
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == contests.MOST_WARNED + 2
    assert [w for w in warnings if w.startswith(f"{mapped[0]} on ")]
    assert len([w for w in warnings if w.startswith("more addresses are claimed")]) == 1
    listed = scene.holders.contests()
    assert (len(listed), listed[0].address) == (len(many), mapped[0]), "the mapped one first"
    assert len(list(contest_sentences(listed))) == MOST_CONTESTS + 1
    scene.answering.clear()
    await scene.quiet()


@without_waiting
async def test_a_host_with_ever_new_mac_addresses_is_asked_at_few_of_them() -> None:
    """Claimants and queries of one address do not grow in number while the contest lasts."""
    scene = Scene(ONE)
    await claimed(scene)
    for number in range(20):
        scene.answering = {ONE: 0.0, f"02:00:00:00:01:{number:02x}": 0.0}
        await asyncio.sleep(contests.PAUSE_S + contests.QUERY_S)
    (contest,) = scene.holders.contests()
    assert len(contest.macs) == contests.MOST_CLAIMS
    assert max(map(len, scene.asked)) == contests.MOST_CLAIMS
    scene.answering = {ONE: 0.0}
    await scene.quiet()
    assert scene.events[-1] == settled(ONE)


@without_waiting
async def test_few_addresses_without_mappings_are_contested_at_a_time() -> None:
    """One host can claim thousands. An address beyond is nobody's until it is looked at again."""
    scene = Scene(ONE, TWO)
    many = [(ip_address(f"2001:db8::{number:x}"), LAN) for number in range(1, contests.MOST_RUNNING + 9)]
    mapped = (ip_address("2001:db8:1::1"), LAN)
    scene.holders.holder_of = lambda place: ONE if place == mapped else None
    for place in many:
        scene.neighbours.learn(Neighbour(place[0], TWO, place[1]))
        scene.holders.on_claim(place, TWO, ONE)
    assert len(scene.holders.contests()) == contests.MOST_RUNNING
    assert not await scene.holders.settle(many[-1]), "two hosts answer"
    assert not scene.holders.settled(many[-1])
    assert len(scene.holders.contests()) == contests.MOST_RUNNING
    assert scene.holders.on_claim(mapped, TWO, ONE)
    assert scene.holders.contested(mapped)
    await scene.holders.close()


@without_waiting
async def test_moved_when_the_old_holder_gives_it_up() -> None:
    scene = Scene(ONE, TWO)
    await claimed(scene)
    await asyncio.sleep(contests.QUERY_S * 2)
    del scene.answering[ONE]
    await scene.quiet()
    assert scene.events[1:] == [AddressMoved(HOST, ONE, TWO, LAN), settled(TWO)]


@without_waiting
async def test_an_address_where_no_host_answers_is_gone() -> None:
    scene = Scene(ONE)
    await claimed(scene)
    del scene.answering[ONE]
    await scene.quiet()
    assert scene.events[1:] == [NeighbourGone(HOST, ONE, LAN)]


@without_waiting
async def test_a_host_that_did_not_answer_in_a_contest_is_asked_once_more() -> None:
    scene = Scene(ONE, mappings_of=ONE)
    await claimed(scene)
    scene.answering = {ONE: contests.QUERY_S * 2}
    await scene.quiet()
    assert scene.events[1:] == [NeighbourGone(HOST, ONE, LAN), settled(ONE)]
    assert scene.holders.settled(PLACE), "what the neighbour entry said was forged"


@without_waiting
async def test_claims_that_follow_each_other_are_one_long_contest() -> None:
    """The first forged frame costs the owner a second, more of them do not open and shut its ports all the time."""
    scene = Scene(ONE)
    await claimed(scene)
    await scene.quiet()
    scene.events.clear()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while loop.time() - begun < contests.PAUSE_S * 2:
        scene.entry(TWO)
        scene.entry(ONE)
        await asyncio.sleep(contests.QUERY_S)
    last = loop.time()
    assert scene.events == [AddressContested(HOST, LAN)]
    await scene.quiet()
    assert scene.events[1:] == [settled(ONE)]
    assert loop.time() - last >= contests.PAUSE_S - contests.QUERY_S * 2


@without_waiting
async def test_another_host_at_an_address_that_mappings_lead_to_is_a_claim_though_its_entry_had_gone() -> None:
    scene = Scene(TWO, mappings_of=ONE)
    scene.entry(TWO)
    assert scene.events == [AddressContested(HOST, LAN)]
    await scene.quiet()
    assert scene.events[1:] == [AddressMoved(HOST, ONE, TWO, LAN), settled(TWO)]


@without_waiting
async def test_a_permanent_entry_ends_a_contest() -> None:
    scene = Scene(ONE, TWO)
    await claimed(scene)
    scene.kernel.entries[HOST] = NeighbourMessage(False, INDEX, HOST, ONE, NeighbourState.PERMANENT)
    scene.holders.on_permanent_entry(PLACE, ONE)
    assert scene.events[1:] == [settled(ONE)]
    assert scene.holders.settled(PLACE)
    assert scene.holders.contests() == []
    await scene.holders.close()


@without_waiting
async def test_an_address_stays_contested_while_no_query_is_possible() -> None:
    scene = Scene(ONE, TWO)
    await claimed(scene)
    scene.failure = errno.ENOMEM
    await asyncio.sleep(contests.QUERY_S * 2)
    assert scene.events == [AddressContested(HOST, LAN)]
    scene.failure = 0
    del scene.answering[TWO]
    await scene.quiet()
    assert scene.events[1:] == [settled(ONE)]


@without_waiting
async def test_without_the_right_to_ask_the_last_claim_counts() -> None:
    scene = Scene(ONE, TWO)
    await claimed(scene)
    scene.failure = errno.EPERM
    await scene.quiet()
    assert scene.events[1:] == [AddressMoved(HOST, ONE, TWO, LAN), settled(TWO)]


@without_waiting
async def test_close_ends_running_checks() -> None:
    scene = Scene(ONE, TWO)
    await claimed(scene)
    await scene.holders.close()
    assert scene.holders.contests() == []
    assert scene.open == 0


@pytest.mark.parametrize("contested", [False, True])
@without_waiting
async def test_what_was_cancelled_is_freed_without_the_collector(contested: bool) -> None:
    """The collector sets aside what is there after some hundred changes of mappings, and looks at it no more."""
    scene = Scene(ONE, *([TWO] if contested else []))
    gc.collect()
    gc.disable()
    try:
        scene.entry(ONE)
        await asyncio.sleep(0.1)
        if contested:
            scene.entry(TWO)
            await asyncio.sleep(0.1)
            scene.holders.on_permanent_entry(PLACE, ONE)
        else:
            scene.holders.on_new_entry(PLACE, ONE)
        await scene.quiet()
        kinds = holders._Check, contests.RunningContest
        assert [each for each in gc.get_objects() if isinstance(each, kinds)] == []
    finally:
        gc.enable()
