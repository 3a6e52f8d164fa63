"""Recorded exchanges: requests, and what the server answered to each of them while aiohttp read and wrote them.

``answers.jsonl`` beside this file has a row for each: every captured request of a client, the requests of
``test_raw``, and requests with damage. The answers are those of commit fcc4173, the last one whose server used
aiohttp. A row is only added or changed by hand, where an answer changes on purpose.
"""

import asyncio
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from tests.fixtures.http_client import answer, serving
from tests.servers.http.test_captures import load, prepare
from upnp_gw.protocols.rate_limit import Rate
from upnp_gw.servers.http.limits import HttpLimits

ROWS = Path(__file__).parent / "answers.jsonl"
LIMITS = HttpLimits(head_s=10, body_s=0.3, wasted=Rate(10_000, 10_000))
LONG = 600


@dataclass(frozen=True)
class Recorded:
    name: str
    request: bytes
    """With ``{port}`` for the port of the server."""
    answer: str
    """The date is ``{date}``, the port ``{port}``; of a long body only the hash is there."""
    changes: int
    """Requests that reached the gateway."""
    capture: int | None
    """The number of the captured request: its mappings are put in the table before."""


def recorded() -> list[Recorded]:
    rows = [json.loads(line) for line in ROWS.read_text("utf-8").splitlines()]
    return [
        Recorded(row["name"], row["request"].encode("latin-1"), row["answer"], row["changes"], row.get("capture"))
        for row in rows
    ]


def shown(data: bytes, port: int) -> str:
    text = (
        re.sub(rb"(?m)^Date: .*\r$", b"Date: {date}\r", data).replace(b":%d" % port, b":{port}").decode("latin-1")
    )
    head, separator, body = text.partition("\r\n\r\n")
    if len(body) > LONG:
        body = f"sha256 {hashlib.sha256(body.encode('latin-1')).hexdigest()}"
    return head + separator + body


async def exchange(row: Recorded, portions: int = 1) -> tuple[str, int]:
    """The answer of the server as it is now, and the changes that it asked the gateway for. ``portions``: writes in
    which the request is sent."""
    async with serving(LIMITS) as fixture:
        request = row.request.replace(b"{port}", str(fixture.port).encode())
        if row.capture is not None:
            prepare(fixture.gateway, load()[row.capture])
        reader, writer = await fixture.connect()
        size = -(-len(request) // portions)
        try:
            for start in range(0, len(request), size):
                writer.write(request[start : start + size])
                await asyncio.sleep(0)
            async with asyncio.timeout(20):
                data = await answer(reader, head_only=request.startswith(b"HEAD"))
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        return shown(data, fixture.port), len(fixture.gateway.requests)
