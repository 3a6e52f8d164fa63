"""The numbered events of the control socket: nobody misses one unnoticed, and nobody costs unbounded memory."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, GatewayFixture, gateway_fixture
from tests.fixtures.policies import policy_of
from tests.fixtures.waiting import EVENT_S
from upnp_gw import api
from upnp_gw.control.event_streams import KEPT, MISSED, MOST_WAITING, TOO_SLOW, EventStreams
from upnp_gw.control.serialize import Serializer
from upnp_gw.ledger.events import DoubleNatFound, Ipv6FirewallChanged, LanChanged, PolicyRefused

ASK = 'default = "ask"\n[limits]\nincident_after = 3\n[[forbid]]\nname = "admin"\nint_ports = ["20-30"]\n'


@asynccontextmanager
async def streams(directory: Path, policy: str = ASK) -> AsyncIterator[tuple[GatewayFixture, EventStreams]]:
    async with gateway_fixture(directory, policy_of(policy)) as home:
        yield home, EventStreams(home.published, Serializer(home.decider), "run")


async def first(stream: AsyncIterator[api.Event], count: int) -> list[api.Event]:
    async with asyncio.timeout(EVENT_S):
        return [await anext(stream) for _ in range(count)]


def numbers(ids: Iterator[str | None]) -> list[int]:
    return [int(each.removeprefix("run-")) for each in ids if each]


async def test_what_webhooks_tell_is_in_the_events(tmp_path: Path) -> None:
    async with streams(tmp_path) as (home, made), made.watch() as stream:
        await home.refused(8080)
        for port in (21, 22, 23):
            await home.refused(2000, internal=port)
        home.published.publish(DoubleNatFound(IPv4Address("100.64.3.4")))
        home.published.publish(PolicyRefused("policy.toml:3: grant: unknown"))
        found = {event.event: event for event in await first(stream, 10)}
    assert (found["new-device"].device, found["new-device"].address) == (CONSOLE, CONSOLE_IP)
    question = found["question"].question
    assert question is not None
    assert (question.device, question.internal_port) == (CONSOLE, 8080)
    incident = found["incident"].incident
    assert incident is not None
    assert (incident.device, incident.ports) == (CONSOLE, [21, 22, 23])
    assert found["double-nat"].why == (
        "the external address 100.64.3.4 is shared by a carrier's NAT (RFC 6598): the internet does not reach it"
    )
    assert found["policy-refused"].why == "policy.toml:3: grant: unknown"


async def test_ids_go_up_by_one_and_an_event_without_a_form_has_none(tmp_path: Path) -> None:
    async with streams(tmp_path, "[[grant]]\nname = 'all'\nwho = '*'\n") as (home, made), made.watch() as stream:
        home.published.publish(Ipv6FirewallChanged())
        await home.granted(8080)
        await home.granted(8081)
        found = await first(stream, 7)
    assert [event.event for event in found] == [
        *("hello", "added", "decided", "new-device", "first-mapping", "added", "decided")
    ]
    assert numbers(event.id for event in found) == [0, 1, 2, 3, 4, 5, 6]
    assert found[4].mapping is not None
    assert found[4].mapping.external_port == 8080


async def test_a_watcher_goes_on_after_the_last_event_that_it_knows(tmp_path: Path) -> None:
    async with streams(tmp_path, "[[grant]]\nname = 'all'\nwho = '*'\n") as (home, made):
        for port in (8080, 8081, 8082):
            await home.granted(port)
        async with made.watch("run-5") as stream:
            home.published.publish(LanChanged())
            found = await first(stream, 5)
            assert [(event.event, event.why) for event in found] == [
                *(("hello", None), ("decided", None), ("added", None), ("decided", None), ("lan", None))
            ]
            assert numbers(event.id for event in found) == [5, 6, 7, 8, 9]
        async with made.watch("run-9") as stream:
            assert [event.id for event in await first(stream, 1)] == ["run-9"]
        await home.unmap_range(8080, 8082)
        async with made.watch("run-10") as stream:  # in the middle of one change of three mappings
            assert numbers(event.id for event in await first(stream, 6)) == [10, 11, 12, 13, 14, 15]
        for _ in range(KEPT):
            home.published.publish(LanChanged())
        async with made.watch("run-15") as stream:
            assert numbers(event.id for event in await first(stream, 2)) == [15, 16]


@pytest.mark.parametrize("after", ["", "run", "run-", "run-x", "run--1", "run-10000", "old-3", "run-0", "run-²"])
async def test_a_watcher_whose_events_are_gone_is_told(tmp_path: Path, after: str) -> None:
    async with streams(tmp_path) as (home, made):
        for _ in range(KEPT + 1):
            home.published.publish(LanChanged())
        async with made.watch(after) as stream:
            home.published.publish(LanChanged())
            hello, event = await first(stream, 2)
            assert (hello.why, hello.id) == (MISSED, f"run-{KEPT + 1}")
            assert event.id == f"run-{KEPT + 2}"


async def test_a_slow_watcher_gets_what_waited_then_is_told_and_dropped(tmp_path: Path) -> None:
    async with streams(tmp_path) as (home, made), made.watch() as slow, made.watch() as quick:
        for _ in range(MOST_WAITING + 5):
            home.published.publish(LanChanged())
            await anext(quick)
        found = [await anext(slow)]
        home.published.publish(LanChanged())  # there is room again, but not for what comes after a gap
        await anext(quick)
        found += [event async for event in slow]
        assert len(found) == MOST_WAITING + 1
        assert (found[-1].event, found[-1].why, found[-1].id) == ("dropped", TOO_SLOW, None)
        assert numbers(event.id for event in found) == list(range(MOST_WAITING))
        assert (await anext(quick)).event == "lan", "the other one goes on"
        async with made.watch(found[-2].id) as again:
            assert (await first(again, 2))[1].id == f"run-{MOST_WAITING}", "and nothing is missed"


async def test_nothing_is_converted_while_nobody_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with streams(tmp_path) as (home, made):
        monkeypatch.setattr(Serializer, "events", None)
        await home.refused(8080)
        assert made._number == 3, "decided, new-device, question"
