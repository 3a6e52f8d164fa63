"""The events of the gateway over a real control socket, and over its restarts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from msgspec.structs import replace

from tests.cli.test_devices import INCIDENT, QUESTION, Answering
from tests.fixtures.fake_operator import NOW, STATUS, FakeOperator, settle
from tests.fixtures.waiting import EVENT_S
from upnp_gw import api
from upnp_gw.control.server import ControlServer
from upnp_gw.control_client import ControlClient
from upnp_gw.notify.messages import Message
from upnp_gw.notify.sources import EventSource

PUBLIC = replace(STATUS, wan=replace(STATUS.wan, external_addresses=["11.22.33.44"], address_kind="public"))


class Gateway(Answering):
    """With the state that is read at a start."""

    def __init__(self) -> None:
        super().__init__()
        self.questions = []
        self.state = PUBLIC
        self.after: list[str | None] = []

    async def queue(self) -> list[api.Question]:
        return self.questions

    async def status(self) -> api.Status:
        return self.state

    @asynccontextmanager
    async def events(self, after: str | None = None) -> AsyncIterator[AsyncIterator[api.Event]]:
        self.after.append(after)
        async with super().events() as stream:

            async def from_hello() -> AsyncIterator[api.Event]:
                hello = await anext(stream)
                yield replace(hello, why=self.why)
                async for event in stream:
                    yield event

            yield from_hello()

    why: str | None = None


@dataclass
class Told:
    messages: list[Message] = field(default_factory=list)

    async def until(self, count: int) -> list[str]:
        async with asyncio.timeout(EVENT_S):
            while len(self.messages) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        return [message.title for message in self.messages]


@asynccontextmanager
async def following(directory: Path) -> AsyncIterator[Told]:
    client, told = ControlClient(directory), Told()
    task = asyncio.create_task(EventSource(client, told.messages.append, 0.1).run())
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()


async def watched(operator: FakeOperator) -> None:
    async with asyncio.timeout(EVENT_S):
        while not operator.watchers:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def asked(number: int) -> api.Event:
    return api.Event(event="question", at=NOW, id=f"r-{number}", question=replace(QUESTION, number=number))


async def test_the_state_at_the_start_then_each_event_once(tmp_path: Path) -> None:
    operator = Gateway()
    operator.questions = [replace(QUESTION, number=7)]
    operator.open_incidents = [INCIDENT]
    operator.state = STATUS
    server = ControlServer(operator, tmp_path)
    await server.start()
    async with following(tmp_path) as told:
        await told.until(3)
        operator.publish(asked(7))
        operator.publish(api.Event(event="incident", at=NOW, id="r-8", incident=INCIDENT))
        operator.publish(asked(9))
        titles = await told.until(4)
    assert [title.split(":")[0] for title in titles] == ["Question 7", "Incident", "Double NAT", "Question 9"]
    assert len({message.id for message in told.messages}) == 4
    await server.close()


async def test_it_goes_on_after_a_restart_of_the_gateway(tmp_path: Path) -> None:
    first = Gateway()
    async with following(tmp_path) as told:
        server = ControlServer(first, tmp_path)
        await server.start()
        await watched(first)
        first.publish(asked(1))
        await told.until(1)
        await settle()
        await server.close()
        second = Gateway()
        second.questions = [replace(QUESTION, number=1), replace(QUESTION, number=2)]
        second.why = "events were missed"
        server = ControlServer(second, tmp_path)
        await server.start()
        titles = await told.until(2)
        assert second.after == ["r-1"]
        assert [title.split(":")[0] for title in titles] == ["Question 1", "Question 2"], "each once"
        await server.close()


async def test_where_nothing_was_missed_the_state_is_not_told_again(tmp_path: Path) -> None:
    operator = Gateway()
    server = ControlServer(operator, tmp_path)
    await server.start()
    async with following(tmp_path) as told:
        await watched(operator)
        operator.publish(asked(1))
        await told.until(1)
        operator.questions = [replace(QUESTION, number=5)]
        operator.publish(None)  # the stream ends, and a new one begins
        async with asyncio.timeout(EVENT_S):
            while len(operator.after) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await watched(operator)
        operator.publish(asked(2))
        assert [title.split(":")[0] for title in await told.until(2)] == ["Question 1", "Question 2"]
    await server.close()


async def test_double_nat_is_told_again_at_another_address(tmp_path: Path) -> None:
    operator = Gateway()
    server = ControlServer(operator, tmp_path)
    await server.start()
    async with following(tmp_path) as told:
        await watched(operator)
        for number, address in enumerate(("100.64.0.1", "100.64.0.1", "192.168.0.9")):
            at = NOW + timedelta(seconds=number)
            operator.publish(api.Event(event="double-nat", at=at, id=f"r-{number}", address=address, why=address))
        operator.publish(asked(1))
        await told.until(3)
        assert [message.text.split(".")[0] for message in told.messages[:2]] == ["100", "192"]
    await server.close()
