"""Attempts against a real receiver on the loopback."""

import asyncio
import json
import ssl
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest

from tests.fixtures.waiting import EVENT_S
from tests.notify.events import QUESTION_EVENT
from tests.notify.receiver import receiver
from tests.notify.test_requests import message
from upnp_gw.config.notify_tables import NotifyTarget
from upnp_gw.notify import delivery as module
from upnp_gw.notify.delivery import Answer, Delivery, wait_s
from upnp_gw.page.certificate import own_pair


async def attempt(target: NotifyTarget) -> Answer:
    delivery = Delivery(target, lambda: 1_800_000_000.9)
    try:
        return await delivery.send(message(QUESTION_EVENT))
    finally:
        await delivery.close()


async def test_a_message_arrives() -> None:
    async with receiver() as here:
        assert await attempt(NotifyTarget(url=here.url(), headers={"X-Room": "hall"})) == Answer(
            True, False, "200 OK"
        )
        (came,) = here.came
    assert (came.method, came.path, came.headers["x-room"]) == ("POST", "/hook", "hall")
    assert json.loads(came.body)["event"] == "question"
    assert came.headers["user-agent"].startswith("upnp-gw/")


@pytest.mark.parametrize(
    ("status", "again"),
    [(204, None), (400, False), (401, False), (404, False), (408, True), (429, True), (503, True)],
)
async def test_a_status_says_if_another_attempt_can_succeed(status: int, again: bool | None) -> None:
    async with receiver() as here:
        here.answers = [
            (status, {"Retry-After": "30"} if status == 429 else {}, "" if status == 204 else "a\x1breason")
        ]
        answer = await attempt(NotifyTarget(url=here.url()))
    assert answer.sent == (again is None)
    assert answer.again == bool(again)
    assert answer.sentence.startswith(str(status))
    assert answer.sentence.isprintable()
    assert answer.wait_s == (30.0 if status == 429 else None)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async with receiver() as elsewhere, receiver() as here:
        here.answers = [(status, {"Location": elsewhere.url("/steal")}, "")]
        answer = await attempt(NotifyTarget(url=here.url(), secret="s"))
        assert (answer.sent, answer.again, elsewhere.came) == (False, False, [])
    assert "write the final URL" in answer.sentence


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 36\r\n\r\nCannot POST /hooks/s3cret-id?k=s3cret-k",
        b"evil\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX /hooks/s3cret-id\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 210\r\n\r\n" + b"x " * 96 + b"/hooks/s3cret-id  ",
    ],
    ids=["repeated", "no HTTP", "a broken header", "at the cut"],
)
@pytest.mark.parametrize("form", ["json", "ntfy"])
async def test_no_sentence_has_the_path_of_the_url(answer: bytes, form: str) -> None:
    """The topic of ntfy and the id of a webhook are secrets, and the sentence is in the log."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        said = await attempt(NotifyTarget(url=f"http://127.0.0.1:{port}/hooks/s3cret-id?k=s3cret-k", format=form))
    assert not said.sent
    assert "s3cret" not in said.sentence
    assert said.sentence


async def test_nobody_listens_and_a_receiver_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver() as here:
        url = here.url()
    answer = await attempt(NotifyTarget(url=url))
    assert (answer.sent, answer.again) == (False, True)
    assert answer.sentence.startswith("no connection: ")
    monkeypatch.setattr(module, "ATTEMPT_S", 0.2)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    gone = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        answer = await attempt(NotifyTarget(url=f"http://127.0.0.1:{port}/"))
        assert (answer.sent, answer.again) == (False, True)
        assert "no answer within" in answer.sentence
        async with asyncio.timeout(EVENT_S):
            await gone.wait()
    finally:
        server.close()


async def test_a_certificate_is_verified_by_the_system_or_by_the_file_that_is_named(tmp_path: Path) -> None:
    certificate, key = own_pair(tmp_path, ip_address("127.0.0.1"), ())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    async with receiver(tls) as here:
        answer = await attempt(NotifyTarget(url=here.url()))
        assert answer.sentence.startswith("its certificate is not trusted")
        assert here.came == []
        assert (await attempt(NotifyTarget(url=here.url(), ca_file=certificate))).sent
        assert not (await attempt(NotifyTarget(url=here.url(), ca_file=tmp_path / "none"))).sent
        (tmp_path / "bad").write_text("no certificate")
        answer = await attempt(NotifyTarget(url=here.url(), ca_file=tmp_path / "bad"))
        assert answer.sentence.endswith("accepted: a PEM file")


async def test_a_missing_secret_sends_nothing(tmp_path: Path) -> None:
    async with receiver() as here:
        answer = await attempt(NotifyTarget(url=here.url(), secret_file=tmp_path / "none"))
        assert (answer.sent, here.came) == (False, [])
        assert str(tmp_path / "none") in answer.sentence


def test_waits_grow_and_differ_and_a_receiver_may_ask_for_longer() -> None:
    answer = Answer(False, True, "")
    random = Random(1)
    for attempt_number, planned in ((1, 2), (2, 8), (3, 32), (5, 512), (6, 600), (40, 600)):
        waits = {wait_s(attempt_number, answer, random) for _ in range(50)}
        assert all(planned * 0.5 <= wait <= planned * 1.5 for wait in waits)
        assert len(waits) == 50
    assert wait_s(1, Answer(False, True, "", 60.0), random) == 60.0
    assert wait_s(1, Answer(False, True, "", 1e9), random) == 600.0
