"""The queue: one entry for each device, protocol and internal port; bounded; the newest facts; over a restart."""

import json
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.policies import PC, PC6, facts_of, map_request
from upnp_gw.gate.approval_queue import KEEP_S, MOST, MOST_OF_DEVICE, ApprovalQueue
from upnp_gw.gate.question import EARLIER
from upnp_gw.gate.terms import MOST_EXTERNAL, ApprovalTerms, subject_of
from upnp_gw.model.mapping import DecisionId, RemotePeers, Transport, Via

WALL = 1_800_000_000.0


def ask(
    queue: ApprovalQueue,
    device: str = "pc",
    port: int = 5000,
    wall: float = WALL,
    basis: str = "",
    on_undo: Any = None,
    **more: Any,
) -> Any:
    request = map_request(port=port, **more)
    subject = subject_of(facts_of(mac=None, device=device, target_device=device), request, None)
    terms = ApprovalTerms(((request.external_port, request.external_port),), request.lifetime_s or 0)
    return queue.ask(subject, terms, request, basis, DecisionId(f"d{port}"), wall, on_undo)


def numbers(queue: ApprovalQueue) -> list[int]:
    return [question.number for question in queue.all(WALL)]


@pytest.mark.spec("SR-28")
def test_repeated_requests_share_one_question() -> None:
    queue = ApprovalQueue()
    ask(queue)
    ask(queue, wall=WALL + 5, lifetime_s=60, description="newer")
    (question,) = queue.all(WALL + 5)
    assert (question.number, question.times, question.first_asked, question.last_asked) == (1, 2, WALL, WALL + 5)
    assert question.request.description == "newer"
    ask(queue, transport=Transport.UDP)
    ask(queue, port=5001)
    ask(queue, device="tv")
    ask(queue, address=PC6)
    ask(queue, remote=ip_network("203.0.113.7"))
    assert len(queue.all(WALL)) == 6


@pytest.mark.spec("SR-28")
def test_more_external_ports_or_a_longer_lease_is_another_number() -> None:
    """``approve 1`` must not mean what was asked after question 1 was shown."""
    queue = ApprovalQueue()
    ask(queue, lifetime_s=600)
    ask(queue, external=6000, lifetime_s=600)
    (question,) = queue.all(WALL)
    assert (question.number, question.earlier) == (2, (1,))
    assert question.terms == ApprovalTerms(((5000, 5000), (6000, 6000)), 600)
    ask(queue, lifetime_s=601)
    (question,) = queue.all(WALL)
    assert (question.number, question.earlier, question.times) == (3, (2, 1), 3)
    assert question.terms.lease_s == 601
    assert queue.get(1) is None
    assert queue.successor(1) is question
    for external in (5000, 6000):
        ask(queue, external=external, lifetime_s=60)
    assert numbers(queue) == [3], "nothing more was asked for"


def test_the_external_ports_of_one_question_are_bounded() -> None:
    queue = ApprovalQueue()
    for external in range(2000, 2000 + 4 * MOST_EXTERNAL, 2):
        ask(queue, external=external)
    (question,) = queue.all(WALL)
    assert len(question.terms.external_ports) == MOST_EXTERNAL
    assert question.times == 2 * MOST_EXTERNAL
    assert question.request.external_port == 2000 + 2 * (MOST_EXTERNAL - 1), "opened is what is in the question"
    assert len(question.earlier) <= EARLIER


def test_another_waiting_grant_makes_another_question_of_it() -> None:
    queue = ApprovalQueue()
    ask(queue, basis="a", external=6000)
    ask(queue, basis="b")
    (question,) = queue.all(WALL)
    assert (question.number, question.earlier, question.basis) == (2, (1,), "b")
    assert question.terms.external_ports == ((5000, 5000),)


def test_a_granted_request_answers_the_questions_that_it_covers() -> None:
    queue = ApprovalQueue()
    host: dict[str, Any] = {"remote": ip_network("203.0.113.7")}
    subjects = [
        ask(queue).subject,
        ask(queue, **host).subject,
        ask(queue, address=PC6).subject,
        ask(queue, port=1).subject,
    ]
    queue.settle(subjects[1])
    assert numbers(queue) == [1, 3, 4], "one remote host is not everybody"
    ask(queue, **host)
    queue.settle(subjects[0])
    assert numbers(queue) == [3, 4]


def test_an_answer_that_comes_late_drops_no_other_question() -> None:
    queue = ApprovalQueue()
    shown = ask(queue)
    changed = ask(queue, external=6000)
    queue.drop(shown)
    assert queue.all(WALL) == (changed,)
    queue.drop(changed)
    assert queue.all(WALL) == ()


def test_undo_restores_the_questions() -> None:
    queue = ApprovalQueue()
    before = ask(queue)
    for change in (
        lambda undo: ask(queue, external=6000, on_undo=undo),
        lambda undo: ask(queue, port=7000, on_undo=undo),
        lambda undo: queue.settle(before.subject, undo),
    ):
        undo: list[Any] = []
        change(undo)
        assert queue.all(WALL) != (before,)
        for step in reversed(undo):
            step()
        assert queue.all(WALL) == (before,)
    assert ask(queue, port=7000).number > 3, "no number is given twice"


def test_a_datagram_does_not_change_a_question_of_tcp() -> None:
    queue = ApprovalQueue()
    ask(queue, description="proved")
    ask(queue, via=Via.NATPMP, description="claimed")
    assert queue.all(WALL)[0].request.description == "proved"
    ask(queue, via=Via.NATPMP, external=6000, lifetime_s=10**6)
    assert numbers(queue) == [1]
    ask(queue, description="newer")
    assert queue.all(WALL)[0].request.description == "newer"


def test_a_request_over_tcp_replaces_the_question_of_a_datagram() -> None:
    queue = ApprovalQueue()
    ask(queue, via=Via.NATPMP, external=6000, lifetime_s=10**6)
    ask(queue, lifetime_s=60)
    (question,) = queue.all(WALL)
    assert (question.number, question.terms) == (2, ApprovalTerms(((5000, 5000),), 60))


@pytest.mark.spec("SR-28")
def test_bounds_of_one_device_and_of_all() -> None:
    queue = ApprovalQueue()
    for port in range(5000, 5100):
        ask(queue, port=port)
    assert [question.request.internal.port for question in queue.all(WALL)] == [*range(5000, 5000 + MOST_OF_DEVICE)]
    for number in range(2 * MOST):
        assert ask(queue, device=f"other-{number}") is not None
        assert len(queue.all(WALL)) <= MOST
    assert not any(question.subject.device == "pc" for question in queue.all(WALL)[MOST_OF_DEVICE:])


@pytest.mark.spec("SR-26", "SR-28")
def test_a_full_device_drops_a_question_of_a_datagram_for_one_over_tcp() -> None:
    queue = ApprovalQueue()
    for port in range(MOST_OF_DEVICE):
        ask(queue, port=port + 5000, wall=WALL + port, via=Via.PCP)
    assert ask(queue, port=6000, via=Via.PCP) is None
    assert ask(queue, port=6001) is not None
    ports = [question.request.internal.port for question in queue.all(WALL)]
    assert len(ports) == MOST_OF_DEVICE
    assert 5000 not in ports, "the one asked longest ago went"


@pytest.mark.spec("SR-28")
def test_a_question_expires_after_its_last_request() -> None:
    queue = ApprovalQueue()
    ask(queue)
    assert len(queue.all(WALL + KEEP_S - 1)) == 1
    assert queue.all(WALL + KEEP_S) == ()


def test_changes_are_given_once_and_again_after_a_failed_write() -> None:
    queue = ApprovalQueue()
    ask(queue)
    assert list(queue.take_changes()) == ["1"]
    assert queue.take_changes() == {}
    queue.requeue(["1"])
    assert list(queue.take_changes()) == ["1"]
    queue.drop(queue.all(WALL)[0])
    assert queue.take_changes() == {"1": None}


@given(
    via=st.sampled_from([Via.IGD1, Via.PCP, Via.NATPMP]),
    address=st.sampled_from([PC, PC6]),
    nonce=st.none() | st.binary(min_size=12, max_size=12),
    description=st.text(),
    lifetime=st.none() | st.integers(1, 10**9),
    remote=st.none() | st.just(ip_network("203.0.113.0/24")),
    remote_port=st.integers(0, 65535),
    filters=st.lists(st.tuples(st.just(ip_network("198.51.100.0/24")), st.integers(0, 65535)), max_size=3),
    rule=st.none() | st.just("rule"),
    target=st.booleans(),
    standing_only=st.booleans(),
)
def test_a_question_comes_back_from_the_store_as_it_was(rule: Any, target: bool, **given: Any) -> None:
    queue = ApprovalQueue()
    address, lifetime = given.pop("address"), given.pop("lifetime")
    filters = tuple(RemotePeers(*pair) for pair in given.pop("filters"))
    request = map_request(address, lifetime_s=lifetime, filters=filters, **given)
    facts = facts_of(target_device="tv") if target else facts_of()
    subject = subject_of(facts, request, rule)
    queue.ask(subject, ApprovalTerms(((1, 5), (7, 7)), 60), request, "f", DecisionId("d1"), WALL)
    queue.ask(subject, ApprovalTerms(((9, 9),), 60), request, "f", DecisionId("d2"), WALL)
    again = ApprovalQueue()
    stored = [body for body in queue.take_changes().values() if body is not None]
    again.restore(json.loads(json.dumps(stored)), 7)
    assert again.all(WALL) == queue.all(WALL)
    assert again.take_changes() == {}
    assert ask(again, port=1).number == 8, "no number is given twice, over a restart"


@pytest.mark.parametrize("damage", [{"external_ports": None}, {"via": "smtp"}, {"remotes": [["x", 1]]}, None])
def test_a_stored_question_that_makes_no_sense_is_dropped(damage: dict[str, Any] | None) -> None:
    """One of an older version is, too: it did not say what a yes gives. Its device asks again."""
    queue = ApprovalQueue()
    ask(queue)
    ask(queue, port=6000)
    bodies = queue.take_changes()
    if damage is None:
        del bodies["1"]["basis"]  # type: ignore[union-attr]
    else:
        bodies["1"] |= damage  # type: ignore[operator]
    again = ApprovalQueue()
    again.restore([body for body in bodies.values() if body is not None], 0)
    assert numbers(again) == [2]
    assert again.take_changes() == {"1": None}, "it leaves the store"
