"""The protocol of the gateway above that is used, and for how long that is remembered."""

import asyncio
from collections import Counter

import pytest

from upnp_gw.model.mapping import Via
from upnp_gw.upstream import answering
from upnp_gw.upstream.answering import NOT_SERVED_S, REMEMBER_S, AnsweringProtocols
from upnp_gw.upstream.outcome import NotServed

PCP, NATPMP, IGD = Via.PCP, Via.NATPMP, Via.IGD2
NONE: frozenset[Via] = frozenset()


class Asked:
    """Protocols that answer after a while, do not serve (``NotServed``), or are silent (None)."""

    def __init__(self, **answers: float | NotServed | None) -> None:
        self.now = 1000.0
        self.answers = {Via(name): answer for name, answer in answers.items()}
        self.asked: Counter[Via] = Counter()
        self.protocols = AnsweringProtocols({via: self._question(via) for via in self.answers}, lambda: self.now)

    def _question(self, via: Via):  # type: ignore[no-untyped-def]
        async def ask() -> NotServed | None:
            self.asked[via] += 1
            answer = self.answers[via]
            if isinstance(answer, NotServed):
                return answer
            await asyncio.sleep(3600 if answer is None else answer)
            return None

        return ask

    async def find(self, tried: frozenset[Via] = NONE) -> Via | None:
        return await self.protocols.find(tried)


NO = NotServed("no")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"pcp": 0, "natpmp": 0, "igd2": 0}, PCP),
        ({"pcp": 0.05, "natpmp": 0, "igd2": 0}, PCP),
        ({"pcp": NO, "natpmp": 0.05, "igd2": 0}, NATPMP),
        ({"pcp": None, "natpmp": 0, "igd2": 0}, NATPMP),
        ({"pcp": NO, "natpmp": NO, "igd2": 0.05}, IGD),
        ({"pcp": None, "natpmp": None, "igd2": 0}, IGD),
        ({"natpmp": 0, "pcp": 0}, NATPMP),
        ({"pcp": NO, "natpmp": NO, "igd2": NO}, None),
    ],
    ids=[
        "all",
        "a better one is slower",
        "no PCP",
        "silent PCP",
        "IGD alone",
        "silent port",
        "another order",
        "none",
    ],
)
async def test_the_first_of_the_order_that_answers(
    answers: dict[str, float | NotServed | None], expected: Via | None
) -> None:
    asked = Asked(**answers)
    async with asyncio.timeout(5):
        assert await asked.find() is expected
    asked.protocols.close()


async def test_what_is_known_is_not_asked_again_for_ten_minutes() -> None:
    asked = Asked(pcp=NO, natpmp=0)
    for _ in range(3):
        assert await asked.find() is NATPMP
        asked.now += REMEMBER_S / 2 - 1
        asked.protocols.served(NATPMP)
        asked.answers[PCP] = 0
    assert await asked.find() is PCP, "a better protocol is noticed, although the other one answered all the time"
    assert asked.asked == {PCP: 2, NATPMP: 2}


async def test_what_was_tried_is_not_asked_again() -> None:
    asked = Asked(pcp=0, natpmp=0, igd2=NO)
    assert await asked.find() is PCP
    asked.protocols.not_served(PCP, NO)
    assert await asked.find(frozenset({PCP})) is NATPMP
    assert await asked.find(frozenset({PCP, NATPMP})) is None
    assert asked.protocols.reason() == "no"


async def test_one_that_is_not_served_is_asked_again_when_nothing_else_is_left_or_later() -> None:
    asked = Asked(pcp=NO, natpmp=0)
    assert await asked.find() is NATPMP
    asked.protocols.not_served(NATPMP, NO)
    asked.answers[PCP] = 0
    assert await asked.find() is PCP, "nothing else is left"
    asked = Asked(pcp=NO, natpmp=None)
    asked.protocols.not_served(PCP, NO)
    asked.now += NOT_SERVED_S + 1
    asked.answers[PCP] = 0
    assert await asked.find() is PCP
    asked.protocols.close()


async def test_everything_is_asked_again_after_a_loss() -> None:
    asked = Asked(pcp=NO, natpmp=0)
    await asked.find()
    asked.answers[PCP] = 0
    asked.protocols.forget()
    assert await asked.find() is PCP


async def test_one_question_serves_all_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "QUESTION_S", 0.05)
    asked = Asked(pcp=None, igd2=None)
    async with asyncio.timeout(5):
        assert await asyncio.gather(*(asked.find() for _ in range(50))) == [None] * 50
    assert asked.asked == {PCP: 1, IGD: 1}


async def test_one_that_gives_up_does_not_end_the_question_of_others() -> None:
    asked = Asked(pcp=0.1)
    first = asyncio.ensure_future(asked.find())
    second = asyncio.ensure_future(asked.find())
    await asyncio.sleep(0)
    first.cancel()
    assert await second is PCP
    assert asked.asked == {PCP: 1}


async def test_a_protocol_that_answers_questions_and_no_request_comes_last_for_a_while() -> None:
    asked = Asked(pcp=0, natpmp=0)
    assert await asked.find() is PCP
    asked.protocols.silent(PCP, serves=True)
    assert await asked.find() is NATPMP
    asked.protocols.silent(NATPMP, serves=False)
    assert asked.protocols.known() == [], "the gateway above may be silent as a whole"
    assert await asked.find() is NATPMP
    asked.now += REMEMBER_S
    assert await asked.find() is PCP


async def test_the_protocol_that_granted_a_lease_renews_it() -> None:
    asked = Asked(pcp=0, natpmp=0)
    assert await asked.protocols.find(NONE, NATPMP) is NATPMP
    assert asked.asked == {}, "without a question"
    asked.protocols.not_served(NATPMP, NO)
    assert await asked.protocols.find(NONE, NATPMP) is PCP
