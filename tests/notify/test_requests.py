"""A message as the request of each kind of receiver."""

import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.notify.events import EVENTS, QUESTION_EVENT
from upnp_gw import api
from upnp_gw.config.notify_tables import NotifyTarget
from upnp_gw.notify.messages import Message, message_of
from upnp_gw.notify.requests import Post, Secrets, post_of, read_secrets
from upnp_gw.system.files import FileProblem


def message(event: api.Event = QUESTION_EVENT) -> Message:
    made = message_of(event)
    assert made is not None
    return made


def post(target: NotifyTarget, secrets: Secrets | None = None, event: api.Event = QUESTION_EVENT) -> Post:
    return post_of(message(event), target, secrets or Secrets(), 1_800_000_000)


def test_our_own_object_has_the_event() -> None:
    made = post(NotifyTarget(url="https://x.test/a?b=c"))
    body = json.loads(made.body)
    assert made.url == "https://x.test/a?b=c"
    assert (body["event"], body["id"], body["priority"]) == ("question", "r-1", "high")
    assert body["data"]["question"]["number"] == 3
    assert made.headers["Content-Type"] == "application/json"
    assert (made.headers["X-Upnp-Gw-Event"], made.headers["X-Upnp-Gw-Delivery"]) == ("question", "r-1")
    assert "X-Upnp-Gw-Signature" not in made.headers


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event.event))
def test_no_header_has_text_that_a_device_chose(event: api.Event) -> None:
    for target in (
        NotifyTarget(url="https://x.test/"),
        NotifyTarget(url="https://x.test/t", format="ntfy"),
        NotifyTarget(url="https://x.test/", format="text"),
    ):
        for text in post(target, event=event).headers.values():
            assert "Evil" not in text
            assert text.isprintable()


def test_ntfy_takes_json_at_the_root_of_its_server() -> None:
    made = post(NotifyTarget(url="https://ntfy.test/below/my-topic", format="ntfy"))
    assert made.url == "https://ntfy.test/below/"
    body = json.loads(made.body)
    assert (body["topic"], body["priority"], body["tags"]) == ("my-topic", 4, ["question"])
    assert body["title"] == message().title
    assert body["message"] == message().text


def test_a_body_of_ones_own_is_escaped_for_json_alone() -> None:
    body = '{"content": "$title: $text", "cost": "$$5", "p": "$priority $device $event $at"}'
    made = json.loads(post(NotifyTarget(url="https://x.test/", body=body)).body)
    assert made["content"] == f"{message().title}: {message().text}"
    assert made["cost"] == "$5"
    assert made["p"].startswith("high 02:00:00:00:00:23 question 20")
    plain = post(NotifyTarget(url="https://x.test/", body="$text", content_type="text/plain"))
    assert plain.body.decode() == message().text
    assert plain.headers["Content-Type"] == "text/plain"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("Application/JSON; charset=utf-8", r"\"<b>&admin=1"),
        ("application/vnd.chat+json", r"\"<b>&admin=1"),
        ("application/x-www-form-urlencoded", "%22%3Cb%3E%26admin%3D1"),
        ("text/html", "&quot;&lt;b&gt;&amp;admin=1"),
        ("application/atom+xml", "&quot;&lt;b&gt;&amp;admin=1"),
        ("text/plain", '"<b>&admin=1'),
    ],
)
def test_text_of_a_device_stays_in_its_place_of_a_body_of_ones_own(kind: str, body: str) -> None:
    evil = replace(message(), text='"<b>&admin=1')
    target = NotifyTarget(url="https://x.test/", body="$text", content_type=kind)
    assert post_of(evil, target, Secrets(), 0).body.decode() == body


def test_the_signature_is_of_the_time_and_the_body(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"key \xff\n")
    (tmp_path / "t").write_text("tk_1\n")
    target = NotifyTarget(url="https://x.test/", secret_file=tmp_path / "s", token_file=tmp_path / "t")
    made = post(target, read_secrets(target))
    digest = hmac.new(b"key \xff", b"1800000000." + made.body, hashlib.sha256).hexdigest()
    assert made.headers["X-Upnp-Gw-Signature"] == f"t=1800000000,v1={digest}"
    assert made.headers["Authorization"] == "Bearer tk_1"
    assert read_secrets(NotifyTarget(url="https://x.test/", secret="s")).signing == b"s"
    with pytest.raises(FileProblem):
        read_secrets(NotifyTarget(url="https://x.test/", secret_file=tmp_path / "none"))
