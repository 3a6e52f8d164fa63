"""The messages that wait for one target."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from tests.fixtures.waiting import EVENT_S
from tests.notify.events import EVENTS
from tests.notify.test_requests import message
from upnp_gw.config.notify_tables import NotifyTarget
from upnp_gw.notify import outbox as module
from upnp_gw.notify.counts import NotifyCounts
from upnp_gw.notify.delivery import ATTEMPTS, Answer
from upnp_gw.notify.messages import Message
from upnp_gw.notify.outbox import BURST, MOST_WAITING, WINDOW_S, Outbox

SENT = Answer(True, False, "200 OK")
AGAIN = Answer(False, True, "503")
NEVER = Answer(False, False, "404")


@dataclass
class Scene:
    """An outbox with a clock of its own, whose receiver answers from a list."""

    answers: list[Answer] = field(default_factory=list)
    came: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    now: float = 0.0
    open: asyncio.Event = field(default_factory=asyncio.Event)
    counts: NotifyCounts = field(default_factory=NotifyCounts)

    async def send(self, sent: Message) -> Answer:
        await self.open.wait()
        self.came.append(sent.id if sent.event != "left-out" else sent.text.split(" ")[0])
        return self.answers.pop(0) if self.answers else SENT

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(EVENT_S):
            while len(self.came) < count:  # noqa: ASYNC110 - the receiver is a list
                await asyncio.sleep(0.001)
        for _ in range(5):
            await asyncio.sleep(0)

    def outcomes(self) -> dict[str, int]:
        return {outcome: count for (_, outcome), count in self.counts.messages.items()}


@asynccontextmanager
async def running(
    target: NotifyTarget | None = None, *, is_open: bool = True
) -> AsyncIterator[tuple[Scene, Outbox]]:
    scene = Scene()
    if is_open:
        scene.open.set()
    target = target or NotifyTarget(url="http://x.test/")
    outbox = Outbox(0, target, scene.send, scene.counts, lambda: scene.now, Random(1), scene.sleep)
    task = asyncio.create_task(outbox.run())
    try:
        yield scene, outbox
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def numbered(number: int) -> Message:
    return replace(message(), id=str(number))


async def test_messages_come_in_order_and_only_those_that_the_target_wants() -> None:
    async with running(NotifyTarget(url="http://x.test/", events=("incident", "double-nat"))) as (scene, outbox):
        for event in EVENTS:
            outbox.put(message(event))
        await scene.until(2)
        assert scene.came == ["r-2", "r-6"]
        assert scene.outcomes() == {"sent": 2}


async def test_an_attempt_that_failed_is_made_again_with_longer_waits_and_the_others_wait() -> None:
    async with running() as (scene, outbox):
        scene.answers = [AGAIN, AGAIN, SENT]
        outbox.put(numbered(1))
        outbox.put(numbered(2))
        await scene.until(4)
        assert scene.came == ["1", "1", "1", "2"]
        first, second = scene.slept
        assert 1 <= first <= 3
        assert 4 <= second <= 12
        assert scene.outcomes() == {"sent": 2}


async def test_it_gives_up_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as (scene, outbox):
        scene.answers = [NEVER, *[AGAIN] * ATTEMPTS, SENT]
        for number in (1, 2, 3):
            outbox.put(numbered(number))
        await scene.until(ATTEMPTS + 2)
        assert scene.came == ["1", *["2"] * ATTEMPTS, "3"]
        assert scene.outcomes() == {"failed": 2, "sent": 1}
        assert len(scene.slept) == ATTEMPTS - 1
    assert "notify http://x.test: question is not delivered: 404" in caplog.text


async def test_a_flood_is_cut_and_told_as_one_message() -> None:
    async with running() as (scene, outbox):
        for number in range(BURST + 7):
            outbox.put(numbered(number))
        await scene.until(BURST)
        assert scene.came == [str(number) for number in range(BURST)]
        scene.now = WINDOW_S
        outbox.put(numbered(99))
        await scene.until(BURST + 2)
        assert scene.came[BURST:] == ["7", "99"], "as soon as the time is over"
        assert scene.outcomes() == {"sent": BURST + 2, "left-out": 7}


async def test_the_number_of_those_left_out_is_told_even_if_nothing_else_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WINDOW_S", 0.05)
    async with running() as (scene, outbox):
        for number in range(BURST + 1):
            outbox.put(numbered(number))
        await scene.until(BURST + 1)
        assert scene.came[-1] == "1"


async def test_memory_is_bounded_while_a_target_does_not_answer() -> None:
    async with running(is_open=False) as (scene, outbox):
        outbox.put(numbered(0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for number in range(1, MOST_WAITING + 21):
            scene.now += WINDOW_S
            outbox.put(numbered(number))
        assert scene.counts.waiting[0] == MOST_WAITING
        assert scene.outcomes() == {"left-out": 20}
        scene.open.set()
        await scene.until(MOST_WAITING + 2)
        assert scene.came[0] == "0"
        assert scene.came[1] == "21", "the oldest ones were left out"
        assert scene.came[-1] == "20", "and their number is told"
