"""Captured requests with damage, over a real connection: an answer or an end, never a defect of ours."""

import asyncio
import random

import pytest

from tests.fixtures.http_client import serving
from tests.fuzz.test_targets import damaged
from tests.servers.http.test_captures import load
from upnp_gw.protocols.rate_limit import Rate
from upnp_gw.servers.http.limits import HttpLimits

DAMAGED = 250
TOLERANT = HttpLimits(head_s=0.1, body_s=0.1, wasted=Rate(1000, 1000))


@pytest.mark.spec("SR-14", "SR-23")
async def test_a_damaged_request_is_answered_or_cut_and_the_next_one_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    chance = random.Random(5)
    async with serving(TOLERANT) as fixture:
        seeds = [capture.to(fixture) for capture in load()]
        served = set()
        for start in range(0, DAMAGED, 4):
            batch = [damaged(chance.choice(seeds), chance) for _ in range(start, start + 4)]
            async with asyncio.timeout(20):
                answers = await asyncio.gather(*map(fixture.send, batch), return_exceptions=True)
            served |= {answer[:12] if isinstance(answer, bytes) else type(answer) for answer in answers}
        assert fixture.server.counts["defect"] == 0
        assert {b"HTTP/1.1 200", b"HTTP/1.1 400"} < served
        assert served <= {b"", ConnectionResetError, asyncio.IncompleteReadError} | {
            f"HTTP/{version} {status}".encode()
            for version in ("0.9", "1.0", "1.1")  # the version of the request, which may be damaged too
            for status in (200, 400, 403, 404, 405, 408, 411, 412, 413, 415, 417, 431, 500, 501, 503, 505)
        }
        assert (await fixture.send(fixture.post())).startswith(b"HTTP/1.1 200")
    assert not [record for record in caplog.records if record.exc_info]
