"""A loss of the gateway above's state: how it is noticed, and how often it is believed. Its standing."""

import asyncio
from ipaddress import IPv4Address

import pytest

from tests.fixtures.fast_loop import without_waiting
from upnp_gw.model.above import AboveState
from upnp_gw.model.mapping import IPAddress, Via
from upnp_gw.protocols.ssdp.foreign import ROOT, ForeignMessage, ForeignNts
from upnp_gw.upstream import watch as module
from upnp_gw.upstream.standing import Standing
from upnp_gw.upstream.watch import LossWatch
from upnp_gw.upstream.way import NoWay, Way

ALIVE, BYEBYE, UPDATE, ANSWER = ForeignNts.ALIVE, ForeignNts.BYEBYE, ForeignNts.UPDATE, ForeignNts.ANSWER
WAY = Way("wan0", 3, IPv4Address("192.168.1.1"), IPv4Address("192.168.1.7"))


class Watched:
    """A watch and what it reported."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.losses = 0
        self.externals: list[IPAddress] = []
        self.watch = LossWatch(self._lost, self.externals.append, lambda: self.now)

    def _lost(self) -> None:
        self.losses += 1

    def epoch(self, epoch_s: int, via: Via = Via.PCP, after: float = 1.0) -> int:
        self.now += after
        self.watch.epoch(via, 4, epoch_s)
        return self.losses

    def device(self, nts: ForeignNts, boot_id: int | None, target: str = f"{ROOT}2", udn: str = "uuid:1") -> int:
        following = boot_id if nts is UPDATE else None
        self.watch.device(ForeignMessage(nts, target, udn, "", boot_id, following))
        return self.losses


def test_an_epoch_that_begins_again_is_a_loss() -> None:
    watched = Watched()
    assert watched.epoch(500) == 0, "the first one is believed"
    assert watched.epoch(510, after=10) == 0
    assert watched.epoch(3, after=10) == 1
    assert watched.epoch(13, after=10) == 1
    assert watched.epoch(10, after=10) == 2


def test_an_epoch_that_runs_ahead_is_a_loss_with_pcp_alone() -> None:
    for via, losses in ((Via.PCP, 1), (Via.NATPMP, 0)):
        watched = Watched()
        watched.epoch(500, via)
        assert watched.epoch(900, via, 10) == losses


def test_each_protocol_has_an_epoch_of_its_own_and_one_loss_is_reported_once() -> None:
    watched = Watched()
    watched.epoch(500)
    watched.epoch(90, Via.NATPMP)
    assert watched.epoch(2) == 1
    assert watched.epoch(1, Via.NATPMP) == 1, "it shows the same loss"
    watched.watch.forget()
    assert watched.epoch(0) == 1, "another gateway has another epoch"


@pytest.mark.parametrize(
    ("messages", "losses"),
    [
        ([(ALIVE, 7), (ALIVE, 7), (ANSWER, 7)], 0),
        ([(ALIVE, 7), (ALIVE, 8)], 1),
        ([(ANSWER, 7), (BYEBYE, 7), (ALIVE, 8)], 1),
        ([(ALIVE, None), (BYEBYE, None), (ALIVE, None)], 1),
        ([(BYEBYE, 7), (ALIVE, 7)], 0),
        ([(ALIVE, 7), (UPDATE, 8), (ALIVE, 8)], 0),
        ([(ALIVE, 7), (UPDATE, 8), (ALIVE, 9)], 1),
    ],
    ids=["the same", "another", "byebye", "without a boot id", "unknown", "update", "update and another"],
)
def test_a_boot_id(messages: list[tuple[ForeignNts, int | None]], losses: int) -> None:
    watched = Watched()
    for nts, boot_id in messages:
        watched.device(nts, boot_id)
    assert watched.losses == losses


def test_other_devices_of_the_same_host_say_nothing_and_fill_nothing() -> None:
    watched = Watched()
    watched.device(ALIVE, 1, "upnp:rootdevice")
    watched.device(ALIVE, 2, "upnp:rootdevice")
    for number in range(100):
        watched.device(ALIVE, number, udn=f"uuid:{number}")
    assert watched.losses == 0
    watched.device(ALIVE, 1001, udn="uuid:3")
    assert watched.losses == 1
    watched.now += 10
    watched.device(ALIVE, 1, udn="uuid:99")
    watched.device(ALIVE, 2, udn="uuid:99")
    assert watched.losses == 2, "after a loss the table begins anew"


@without_waiting
async def test_losses_in_a_row_are_reported_less_and_less_often() -> None:
    """A gateway above that announces a restart with every datagram does not keep this one busy."""
    clock = asyncio.get_running_loop().time
    begin, reported = clock(), list[int]()
    watch = LossWatch(lambda: reported.append(round(clock() - begin)), list[IPAddress]().append, clock)
    while clock() < begin + 100:
        watch.state_lost("a test")
        await asyncio.sleep(0.1)
    assert reported == [0, 2, 6, 14, 30, 60, 90], "the gap doubles from 2 seconds up to 30"
    watch.close()
    await asyncio.sleep(100)
    assert len(reported) == 7, "nothing comes after the close"


def test_a_loss_after_a_calm_time_is_reported_at_once() -> None:
    watched = Watched()
    watched.watch.state_lost("a test")
    for number in range(5):
        watched.now += module.CALM_S + 1
        watched.watch.state_lost("a test")
        assert watched.losses == number + 2


def test_another_external_address_is_reported_and_the_first_one_is_not() -> None:
    watched = Watched()
    for address in ("11.22.33.44", "11.22.33.44", "11.22.33.45"):
        watched.watch.external_told(IPv4Address(address))
    assert watched.externals == [IPv4Address("11.22.33.45")]
    assert watched.watch.external == IPv4Address("11.22.33.45")


def test_no_external_address_holds_until_one_is_told() -> None:
    watched = Watched()
    watched.watch.external_told(IPv4Address("11.22.33.44"))
    watched.watch.no_external(WAY.gateway)
    assert watched.watch.without_address
    watched.watch.external_told(IPv4Address("11.22.33.44"))
    assert not watched.watch.without_address
    assert not watched.externals, "it is the same one"


def test_how_it_stands() -> None:
    standing = Standing()
    assert standing.state(None).problem
    standing.begin_anew(NoWay("wan0 has no IPv4 default route to a gateway"))
    assert standing.state(None) == AboveState(None, problem="wan0 has no IPv4 default route to a gateway")
    standing.begin_anew(WAY)
    assert standing.state(None) == AboveState(WAY.gateway)
    assert not standing.answered(Via.PCP, 5.0)
    assert not standing.answered(Via.PCP, 6.0)
    external = IPv4Address("11.22.33.44")
    assert standing.state(external) == AboveState(WAY.gateway, Via.PCP, 5.0, None, external)
    assert standing.was_silent(7.0, "no answer")
    assert not standing.was_silent(8.0, "no answer")
    state = standing.state(external)
    assert (state.answers_since, state.silent_since, state.problem) == (None, 7.0, "no answer")
    assert standing.answered(Via.IGD1, 9.0)
    assert standing.state(external) == AboveState(WAY.gateway, Via.IGD1, 9.0, None, external)
    assert [standing.is_news(now) for now in (9.0, 60.0, 69.0, 70.0)] == [True, False, True, False]
    assert "has no external address" in standing.state(external, without_address=True).problem
    standing.loop = True
    assert "leads back" in standing.state(external).problem
