"""Datagrams of real clients to port 5351, answered as each needs it (section 4.2 of the checklist)."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.fixtures.gateway import CONSOLE_IP, gateway_fixture
from tests.fixtures.port5351 import Line
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp import codec

FILE = ROOT / "tests" / "captures" / "captures.jsonl"
LINES = [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]
CAPTURED = [(one["client"], bytes.fromhex(one["bytes"])) for one in LINES if one.get("kind") == "5351"]


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    async with gateway_fixture(tmp_path) as fixture:
        yield Line(fixture)


@pytest.mark.spec("PMP-001", "PMP-006", "PCP-001", "PCP-007")
@pytest.mark.parametrize(("client", "sent"), CAPTURED, ids=[f"{c} {a[:2].hex()}" for c, a in CAPTURED])
async def test_each_is_answered_in_full(line: Line, client: str, sent: bytes) -> None:
    """The captures were taken at 192.168.77.10, which is the console here."""
    answer = await line.answer(sent, CONSOLE_IP)
    assert answer[0] == sent[0]
    assert answer[1] == sent[1] | 0x80
    if sent[0]:
        response = codec.parse_response(answer)
        assert (response.result, len(answer)) == (0, len(sent))
        if response.map is not None:  # libplum and libtorrent look at these before the result
            assert response.map.nonce == sent[24:36]
            suggested = int.from_bytes(sent[42:44], "big")
            assert response.map.external_port == suggested or not suggested
            asked_s = int.from_bytes(sent[4:8], "big")  # libplum 0.5.3 sends its 7200 with the bytes turned round
            assert response.lifetime_s == min(asked_s, 86400)
    else:
        assert len(answer) == {0: 12, 1: 16, 2: 16}[sent[1]]  # go-nat-pmp and py-natpmp take no other size
        reply = natpmp.parse_response(answer)
        assert not isinstance(reply, natpmp.VersionResponse)
        assert reply.result is natpmp.NatPmpResult.SUCCESS


def test_there_are_captures() -> None:
    assert len({client for client, _ in CAPTURED}) >= 6
