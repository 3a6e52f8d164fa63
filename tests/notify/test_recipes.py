"""The recipes of docs/notify.md, against real receivers on the loopback."""

import asyncio
import hashlib
import hmac
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from tests import ROOT
from tests.fixtures.fake_operator import FakeOperator
from tests.fixtures.waiting import EVENT_S
from tests.notify.events import QUESTION_EVENT
from tests.notify.receiver import receiver
from upnp_gw import notify
from upnp_gw.config.notify_tables import NotifyTarget
from upnp_gw.config.page_settings import PageSettings, load_page
from upnp_gw.control.server import ControlServer
from upnp_gw.control_client import ControlClient
from upnp_gw.notify.delivery import Answer
from upnp_gw.notify.trying import try_targets

DOC = (ROOT / "docs" / "notify.md").read_text("utf-8")
RECIPES = re.findall(r"```toml\n(.*?)```", DOC, re.DOTALL)
MAIL = ROOT / "examples" / "notify" / "mail.py"


def recipe(word: str, directory: Path, url: str) -> NotifyTarget:
    """The recipe with this word, with another URL and its files in a directory."""
    (text,) = [each for each in RECIPES if word in each]
    text = re.sub(r'url = ".*"', f'url = "{url}"', text).replace("/etc/upnp-gw", str(directory))
    file = directory / "gw.toml"
    file.write_text(text, "utf-8")
    (target,) = load_page(file, {}).notify
    return target


async def told(directory: Path, target: NotifyTarget, came: asyncio.Event) -> None:
    """A question at a gateway, and the page beside it, until the message came."""
    operator = FakeOperator()
    server, client = ControlServer(operator, directory), ControlClient(directory)
    await server.start()
    running = asyncio.create_task(notify.run(client, PageSettings(notify=(target,))))
    try:
        async with asyncio.timeout(EVENT_S):
            while not operator.watchers:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            operator.publish(QUESTION_EVENT)
            await came.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.close()
        await server.close()


@pytest.mark.parametrize("word", ["ntfy.sh", "webhook", "chat.lan"])
async def test_a_question_arrives(tmp_path: Path, word: str) -> None:
    (tmp_path / "ntfy.token").write_text("tk_1\n")
    async with receiver() as here:
        target = recipe(word, tmp_path, here.url("/a-topic"))
        arrived = asyncio.Event()

        async def watch() -> None:
            while not any(b"Question 3" in one.body for one in here.came):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            arrived.set()

        watching = asyncio.create_task(watch())
        await told(tmp_path, target, arrived)
        await watching
        (came,) = [one for one in here.came if b"Question 3" in one.body]
    body = json.loads(came.body)
    if word == "ntfy.sh":
        assert (came.path, body["topic"], came.headers["authorization"]) == ("/", "a-topic", "Bearer tk_1")
        assert {"topic", "title", "message", "priority", "tags"} == set(body)
    elif word == "webhook":
        assert (came.path, body["event"], body["priority"]) == ("/a-topic", "question", "high")
    else:
        assert body["text"].startswith("*Question 3: ps5")
        assert set(body) == {"text"}


def _start_mail(directory: Path) -> tuple[subprocess.Popen[str], str]:
    sendmail = directory / "sendmail"
    sendmail.write_text(
        f'#!/bin/sh\n[ ! -e {directory}/full ] || exit 75\necho "$@" > {directory}/args\ncat > {directory}/mail\n'
    )
    sendmail.chmod(0o755)
    (directory / "notify.secret").write_text("a secret\n")
    argv = [sys.executable, str(MAIL), "--to", "you@example.org", "--port", "0", "--sendmail", str(sendmail)]
    argv += ["--secret-file", str(directory / "notify.secret")]
    program = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert program.stdout is not None
    url = program.stdout.readline().split()[-1]
    return program, url


def test_a_signed_message_becomes_mail_and_no_other(tmp_path: Path) -> None:
    program, url = _start_mail(tmp_path)
    with program:
        try:
            target = recipe("9925", tmp_path, url)
            assert try_targets([target]) == [Answer(True, False, "204 No Content")]
            mail = message_from_bytes((tmp_path / "mail").read_bytes(), policy=policy.default)
            assert (mail["To"], mail["Subject"]) == ("you@example.org", "[upnp-gw] A test of upnp-gw")
            assert "Nothing has happened" in mail.get_content()
            assert (tmp_path / "args").read_text() == "-oi -t\n"
            (tmp_path / "mail").unlink()
            body, now = b'{"title": "x", "text": "y", "at": "2027-01-15T08:00:00Z"}', int(time.time())
            for secret, at in ((b"another", now), (b"a secret", now - 301), (b"a secret", now + 301)):
                digest = hmac.new(secret, b"%d." % at + body, hashlib.sha256).hexdigest()
                headers = {"X-Upnp-Gw-Signature": f"t={at},v1={digest}"}
                with pytest.raises(urllib.error.HTTPError, match="403"):
                    urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10)
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(url, body, timeout=10)
            assert not (tmp_path / "mail").exists()
            (tmp_path / "full").touch()
            (answer,) = try_targets([target])
            assert (answer.sent, answer.again) == (False, True), "the queue of sendmail may have room later"
        finally:
            program.terminate()


def test_the_events_of_the_page_are_those_of_the_program() -> None:
    from upnp_gw.config.notify_tables import EVENTS

    table = re.findall(r"^\| `([a-z-]+)` \| [a-z]", DOC, re.MULTILINE)
    assert tuple(table) == EVENTS
