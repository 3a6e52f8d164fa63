"""The answers are those of the server as it was with aiohttp, byte for byte: status, fields and their order, body.

The request is sent in one write and in several ones. Where the answer differs on purpose is listed here.
"""

import asyncio

import pytest
import uvloop

from tests.servers.http.recorded import Recorded, exchange, recorded

DIFFERENT = {
    "refused: a trailer that is a Host": "HTTP/1.0 400 Bad Request",
    "refused: no length": "HTTP/1.1 411 Length Required",
    "refused: the preface of HTTP/2": "HTTP/1.0 501 Not Implemented",
    "malformed: PRI": "HTTP/1.0 501 Not Implemented",
}
"""Row -> the status line now. aiohttp answered the first one although it was malformed. It took what is behind the
second one for a request, and answered that instead. It knew the method of the other two."""
AT_ONCE = 8


async def compared(rows: list[Recorded], portions: int) -> list[str]:
    """The rows whose exchange is another one now."""
    found = []
    for start in range(0, len(rows), AT_ONCE):
        batch = rows[start : start + AT_ONCE]
        for row, now in zip(batch, await asyncio.gather(*(exchange(row, portions) for row in batch)), strict=True):
            if row.name in DIFFERENT:
                assert now[0].startswith(f"{DIFFERENT[row.name]}\r\n")
            elif now != (row.answer, row.changes):
                found.append(f"{row.name}: {row.request!r}\n  recorded {row.answer!r}\n  now      {now[0]!r}")
    return found


@pytest.mark.spec("IGD-070", "IGD-080", "SR-9", "SR-13", "SR-23")
async def test_answers_are_the_recorded_ones() -> None:
    found = await compared(recorded(), portions=1)
    assert not found, "\n".join(found)


def test_answers_on_the_loop_of_the_daemon_to_requests_in_several_writes() -> None:
    found = uvloop.run(compared(recorded(), portions=3))
    assert not found, "\n".join(found)


def test_the_record_has_every_kind_of_answer() -> None:
    rows = recorded()
    assert len(rows) > 400
    statuses = {int(row.answer[9:12]) for row in rows}
    assert statuses >= {100, 200, 400, 403, 404, 405, 408, 411, 413, 415, 417, 431, 500, 501, 505}
    assert sum(row.changes for row in rows) > 50
    assert {row.name for row in rows} >= DIFFERENT.keys()
