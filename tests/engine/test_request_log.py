"""The debug lines of a request: in the order of its way, without secrets, escaped; nothing at other log levels."""

import logging
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, asks, gateway_fixture, source_of
from upnp_gw.engine import request_log
from upnp_gw.model.mapping import Transport, Via
from upnp_gw.model.request import PortChoice, ReleaseRequest, UnmapPortRequest, UnmapRangeRequest, UnmapRequest

NAME = request_log.__name__
NONCE = b"\xde\xad\xbe\xef" * 3


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    messages = [record.getMessage() for record in caplog.records if record.name == NAME]
    caplog.clear()
    return messages


async def test_the_lines_follow_the_way_of_a_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, NAME)
    async with gateway_fixture(tmp_path) as home:
        caplog.clear()
        reply = await home.granted(8080, internal=8000, description="web\x1b[31m\n", lifetime=1800)
        mapping = reply.mapping
        request, facts, verdict, kernel, answer = lines(caplog)
        words = f"igd1 map tcp 8080 (exact) -> {CONSOLE_IP}:8000 for 1800 s"
        assert request == rf"request from {CONSOLE_IP} on lan0: {words}, description 'web\x1b[31m\x0a'"
        assert f"device {CONSOLE}" in facts
        counts = "mappings of the device: 0 of 0, requests in the last minute: 1, different ports today: 0"
        assert facts.endswith(counts)
        assert words in facts
        assert verdict.startswith("verdict allow by ")
        assert kernel.startswith(f"kernel: open {mapping.id} tcp 8080 -> {CONSOLE_IP}:8000 for ")
        assert answer.startswith(f"reply to {CONSOLE_IP}: granted {mapping.id}: tcp 11.22.33.44 port 8080 -> ")
        assert mapping.decision in answer
        await home.unmap(8080)
        assert [line.split(":")[0] for line in lines(caplog)] == [
            f"request from {CONSOLE_IP} on lan0",
            "kernel",
            f"reply to {CONSOLE_IP}",
        ]
        await home.refused(22)
        *_, verdict, answer = lines(caplog)
        assert verdict.startswith("verdict deny by ")
        assert answer.startswith(f"reply to {CONSOLE_IP}: refused, not-authorized: ")


async def test_no_line_has_the_nonce_of_a_client(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever knows it can renew and delete the mapping."""
    caplog.set_level(logging.DEBUG)
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080, via=Via.PCP, choice=PortChoice.SUGGESTED, nonce=NONCE)
        release = ReleaseRequest(
            Via.PCP, source_of(CONSOLE_IP), Transport.TCP, ip_address(CONSOLE_IP), 8080, bytes(12)
        )
        await home.gateway.handle(release)
    assert caplog.records
    for form in (NONCE.hex(), repr(NONCE), str(NONCE), "deadbeef"):
        assert form not in caplog.text


async def test_other_levels_have_no_line_and_format_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise AssertionError("formatted for a line that is not logged")

    for name in ("request_line", "facts_line", "change_line", "reply_line"):
        monkeypatch.setattr(request_log, name, fail)
    caplog.set_level(logging.INFO)
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080)
        await home.unmap(8080)
    assert not lines(caplog)


def test_every_kind_of_delete_has_words() -> None:
    source, tcp = source_of(CONSOLE_IP), Transport.TCP
    assert request_log.request_line(UnmapRequest(Via.OPERATOR, source, mapping_id="m3")) == "operator delete m3"
    by_port = UnmapPortRequest(Via.IGD2, source, 8080)
    assert request_log.request_line(by_port) == "igd2 delete port 8080 over TCP and UDP"
    by_range = UnmapRangeRequest(Via.IGD2, source, tcp, 1, 9)
    assert request_log.request_line(by_range) == "igd2 delete tcp 1-9"
    release = ReleaseRequest(Via.NATPMP, source, tcp, ip_address(CONSOLE_IP), 0)
    assert request_log.request_line(release) == f"natpmp delete tcp of {CONSOLE_IP} port any"
    assert request_log.request_line(asks(8080, remote="203.0.113.0/24")).endswith("remote hosts 203.0.113.0/24")
