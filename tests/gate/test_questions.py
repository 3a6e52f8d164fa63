"""The queue: one entry for each device, protocol and internal port; bounded; the newest facts; over a restart."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gate.world import PC, PC6, map_request
from upnp_gw.gate.questions import KEEP_S, MOST, MOST_OF_DEVICE, Questions, Topic
from upnp_gw.model import DecisionId, RemotePeers, Transport, Via

WALL = 1_800_000_000.0


def ask(queue: Questions, device: str = "pc", port: int = 5000, wall: float = WALL, **more: Any) -> Any:
    request = map_request(port=port, **more)
    topic = Topic(device, request.transport, port, None)
    return queue.ask(topic, request, None, DecisionId(f"d{port}"), wall)


@pytest.mark.spec("SR-28")
def test_one_entry_and_the_newest_facts() -> None:
    queue = Questions()
    ask(queue, lifetime_s=60)
    ask(queue, wall=WALL + 5, lifetime_s=120, external=6000)
    (question,) = queue.all(WALL + 5)
    assert (question.number, question.times, question.first_asked, question.last_asked) == (1, 2, WALL, WALL + 5)
    assert (question.request.lifetime_s, question.request.external_port) == (120, 6000)
    ask(queue, transport=Transport.UDP)
    ask(queue, port=5001)
    ask(queue, device="tv")
    assert len(queue.all(WALL)) == 4


def test_a_datagram_does_not_change_what_tcp_proved() -> None:
    queue = Questions()
    ask(queue, description="proved")
    ask(queue, via=Via.NATPMP, description="claimed")
    assert queue.all(WALL)[0].request.description == "proved"
    ask(queue, description="newer")
    assert queue.all(WALL)[0].request.description == "newer"


@pytest.mark.spec("SR-28")
def test_bounds_of_one_device_and_of_all() -> None:
    queue = Questions()
    for port in range(5000, 5100):
        ask(queue, port=port)
    assert [question.request.internal.port for question in queue.all(WALL)] == [*range(5000, 5000 + MOST_OF_DEVICE)]
    for number in range(2 * MOST):
        assert ask(queue, device=f"other-{number}") is not None
        assert len(queue.all(WALL)) <= MOST
    assert not any(question.topic.device == "pc" for question in queue.all(WALL)[MOST_OF_DEVICE:])


@pytest.mark.spec("SR-26", "SR-28")
def test_who_is_proved_takes_the_place_of_what_was_claimed() -> None:
    queue = Questions()
    for port in range(MOST_OF_DEVICE):
        ask(queue, port=port + 5000, wall=WALL + port, via=Via.PCP)
    assert ask(queue, port=6000, via=Via.PCP) is None
    assert ask(queue, port=6001) is not None
    ports = [question.request.internal.port for question in queue.all(WALL)]
    assert len(ports) == MOST_OF_DEVICE
    assert 5000 not in ports, "the one asked longest ago went"


@pytest.mark.spec("SR-28")
def test_what_nobody_asks_any_more_is_forgotten() -> None:
    queue = Questions()
    ask(queue)
    assert len(queue.all(WALL + KEEP_S - 1)) == 1
    assert queue.all(WALL + KEEP_S) == ()


def test_changes_are_told_once_and_again_where_they_were_not_taken() -> None:
    queue = Questions()
    ask(queue)
    assert list(queue.changes()) == ["1"]
    assert queue.changes() == {}
    queue.changed_again(["1"])
    assert list(queue.changes()) == ["1"]
    queue.drop(queue.all(WALL)[0])
    assert queue.changes() == {"1": None}


@settings(deadline=None)
@given(
    via=st.sampled_from([Via.IGD1, Via.PCP, Via.NATPMP]),
    address=st.sampled_from([PC, PC6]),
    nonce=st.none() | st.binary(min_size=12, max_size=12),
    description=st.text(),
    lifetime=st.none() | st.integers(1, 10**9),
    remote=st.none() | st.just(ip_network("203.0.113.0/24")),
    filters=st.lists(st.tuples(st.just(ip_network("198.51.100.0/24")), st.integers(0, 65535)), max_size=3),
    target=st.none() | st.just(ip_address("192.168.1.99")),
)
def test_a_question_comes_back_from_the_store_as_it_was(
    via: Via, address: Any, nonce: Any, description: str, lifetime: Any, remote: Any, filters: Any, target: Any
) -> None:
    queue = Questions()
    request = map_request(
        address,
        via=via,
        nonce=nonce,
        description=description,
        lifetime_s=lifetime,
        remote=remote,
        filters=tuple(RemotePeers(*pair) for pair in filters),
    )
    queue.ask(Topic("pc", request.transport, 40000, target), request, "rule", DecisionId("d1"), WALL)
    again = Questions()
    again.recall(body for body in queue.changes().values() if body is not None)
    assert again.all(WALL) == queue.all(WALL)
