"""Events as messages for people."""

import pytest
from msgspec.structs import replace

from tests.notify.events import EVENTS, EVIL, INCIDENT_EVENT, OTHERS, QUESTION_EVENT
from upnp_gw import api
from upnp_gw.config.notify_tables import EVENTS as KINDS
from upnp_gw.notify.messages import left_out, message_of


def test_every_kind_of_the_configuration_has_a_message() -> None:
    made = [message_of(event) for event in EVENTS]
    assert [message.event for message in made if message is not None] == list(KINDS)
    for message in made:
        assert message is not None
        assert message.title
        assert len(message.text) <= 600
        assert message.title.isprintable(), "a title is a header in some formats"
        assert message.text.isprintable()
        assert message.id.startswith("r-")


@pytest.mark.parametrize("event", OTHERS, ids=lambda event: str(event.event))
def test_nobody_is_told_of_other_events(event: api.Event) -> None:
    assert message_of(event) is None


def test_the_sentences() -> None:
    texts = {event.event: message_of(event) for event in EVENTS}

    def of(kind: str) -> tuple[str, str, bool]:
        message = texts[kind]  # type: ignore[index]
        assert message is not None
        return message.title, message.text, message.urgent

    title, text, urgent = of("question")
    assert (title, urgent) == ("Question 3: ps5 (02:00:00:00:00:23) asks for a port", True)
    assert text.startswith("ps5 (02:00:00:00:00:23) asks for udp ")
    assert text.endswith("To answer: upnp-gw approve 3, or upnp-gw deny 3")
    assert of("incident")[1].endswith("To end that: upnp-gw release 02:00:00:00:00:66")
    assert of("first-mapping")[1].startswith(
        "nas (00:11:32:00:00:02) has its first mapping: tcp 51413 to 192.168.1.23, port 51413"
    )
    assert of("double-nat")[1].startswith("The external address 100.64.3.4 is shared by a carrier's NAT (RFC 6598)")
    assert of("policy-refused") == (
        "The policy files have a mistake",
        "The policy in force stays. policy.toml:3: grant: unknown; did you mean grants?",
        True,
    )


def test_what_a_device_chose_is_escaped_and_short() -> None:
    long = EVIL * 40
    question, incident = QUESTION_EVENT.question, INCIDENT_EVENT.incident
    assert question is not None
    assert incident is not None
    for event in (
        replace(QUESTION_EVENT, question=replace(question, device_name=long, description=long)),
        replace(INCIDENT_EVENT, incident=replace(incident, device_name=long)),
        replace(EVENTS[4], why=long),
        replace(EVENTS[5], why=long),
    ):
        message = message_of(event)
        assert message is not None
        assert (message.title + message.text).isprintable()
        assert len(message.title) < 150
        assert len(message.text) <= 600


def test_how_many_were_left_out() -> None:
    assert left_out(1, EVENTS[0].at).text.startswith("1 message was left out")
    assert left_out(7, EVENTS[0].at).text.startswith("7 messages were left out")
