"""Conversations in files: ``tests/transcripts/http/*.txt``, bytes in -> bytes out, one server each.

A line ``>>>`` starts a request, ``<<<`` its whole answer. Line ends are CRLF on the wire. In a request
``{body}`` is the length of what follows the empty line; in both ``{port}`` is the server's port. The answer's Date
is put as ``{date}``.
"""

import re
from pathlib import Path

import pytest

from tests import ROOT
from tests.fixtures.http_client import serving

FILES = sorted((ROOT / "tests" / "transcripts" / "http").glob("*.txt"))
EXCHANGE = re.compile(r"^>>>\n(.*?)^<<<\n(.*?)(?=^>>>|\Z)", re.MULTILINE | re.DOTALL)


def wire(text: str, port: int) -> bytes:
    head, _, body = text.removesuffix("\n").replace("{port}", str(port)).partition("\n\n")
    body_bytes = body.replace("\n", "\r\n").encode()
    return f"{head}\n\n".replace("{body}", str(len(body_bytes))).replace("\n", "\r\n").encode() + body_bytes


def shown(data: bytes, port: int) -> str:
    text = re.sub(r"(?m)^Date: .*\r$", "Date: {date}\r", data.decode())
    return text.replace(f":{port}", ":{port}").replace("\r\n", "\n").rstrip("\n")


def exchanges_of(file: Path) -> list[tuple[str, str]]:
    found = EXCHANGE.findall(re.sub(r"(?m)^#.*\n", "", file.read_text("utf-8")))
    assert found
    return found


@pytest.mark.parametrize("exchanges", [pytest.param(exchanges_of(file), id=file.stem) for file in FILES])
async def test_conversation(exchanges: list[tuple[str, str]]) -> None:
    async with serving() as fixture:
        for request, expected in exchanges:
            answered = await fixture.send(wire(request, fixture.port))
            assert shown(answered, fixture.port) == expected.rstrip("\n")


def test_the_transcripts_are_found() -> None:
    assert len(FILES) >= 3
