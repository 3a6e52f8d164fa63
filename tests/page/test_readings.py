"""An answer of the daemon is read once for many pages, and again when it is old or was changed."""

import asyncio

from upnp_gw.page.readings import Reading


async def test_ten_readers_ask_once_and_a_later_one_asks_again() -> None:
    asked: list[int] = []
    now = [0.0]
    free = asyncio.Event()

    async def read() -> int:
        asked.append(len(asked))
        await free.wait()
        return asked[-1]

    reading = Reading[int](read, 1.0, lambda: now[0])
    readers = [asyncio.create_task(reading()) for _ in range(10)]
    await asyncio.sleep(0)
    free.set()
    assert await asyncio.gather(*readers) == [0] * 10
    now[0] = 0.9
    assert await reading() == 0
    now[0] = 1.0
    assert reading.due
    assert await reading() == 1
    reading.forget()
    assert (await reading(), reading.last) == (2, 2)


async def test_an_answer_from_before_a_change_is_not_shown_after_it() -> None:
    state, answers = ["old"], [asyncio.Event(), asyncio.Event()]
    free = iter(answers)

    async def read() -> str:
        seen = state[0]
        await next(free).wait()
        return seen

    reading = Reading[str](read, 1.0, lambda: 0.0)
    early = asyncio.create_task(reading())
    await asyncio.sleep(0)
    state[0] = "new"
    reading.forget()
    late = asyncio.create_task(reading())
    for each in answers:
        each.set()
    assert [await early, await late] == ["old", "new"]
