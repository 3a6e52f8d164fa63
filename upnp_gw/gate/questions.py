"""What waits for the operator: one question for each device, protocol and internal port. Silence means no.

Bounded whatever the LAN sends (SR-28): ``MOST`` questions, ``MOST_OF_DEVICE`` of one device, none for longer than
``KEEP_S`` after it was last asked. Where all is full, the device with the most of them loses its oldest; a question
over TCP, whose sender is proved, takes the place of one that a datagram asked in the device's name (SR-26).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from upnp_gw.gate.schema import DAY_S
from upnp_gw.model import DecisionId, Endpoint, IPAddress, RemotePeers, Transport, Via
from upnp_gw.request import MapRequest, PortChoice, Source

MOST = 256
MOST_OF_DEVICE = 16
KEEP_S = 30 * DAY_S


class Topic(NamedTuple):
    """What makes two requests the same question."""

    device: str
    transport: Transport
    port: int
    """The internal one."""
    target: IPAddress | None
    """Another host, where a device asks for it; None: the device itself."""


@dataclass(frozen=True, slots=True)
class Question:
    """One entry of the queue, with the newest facts."""

    number: int
    topic: Topic
    request: MapRequest
    """The latest; one over TCP is not replaced by a datagram's."""
    rule: str | None
    """The grant that waits for an approval; None: no grant covers it and the default is ask."""
    decision: DecisionId
    """The latest refusal."""
    first_asked: float
    """Wall-clock seconds."""
    last_asked: float
    times: int


class Questions:
    """The queue. ``changes`` says what is to be stored."""

    def __init__(self) -> None:
        self._by_topic: dict[Topic, Question] = {}
        self._changed: set[int] = set()
        self._number = 0

    def ask(
        self, topic: Topic, request: MapRequest, rule: str | None, decision: DecisionId, wall: float
    ) -> Question | None:
        """Adds a question or the newest facts to one that waits; None where its device has no room left."""
        self._forget_old(wall)
        known = self._by_topic.get(topic)
        if known is not None:
            proved = known.request if request.via.datagram and not known.request.via.datagram else request
            asked = replace(
                known, request=proved, rule=rule, decision=decision, last_asked=wall, times=known.times + 1
            )
        elif self._make_room(topic.device, request.via):
            self._number += 1
            asked = Question(self._number, topic, request, rule, decision, wall, wall, 1)
        else:
            return None
        self._put(asked)
        return asked

    def settle(self, topic: Topic) -> None:
        """It was granted: nobody has to be asked any more."""
        if (known := self._by_topic.get(topic)) is not None:
            self.drop(known)

    def all(self, wall: float) -> tuple[Question, ...]:
        """Those that wait, by number."""
        self._forget_old(wall)
        return tuple(sorted(self._by_topic.values(), key=lambda question: question.number))

    def get(self, number: int) -> Question | None:
        return next((question for question in self._by_topic.values() if question.number == number), None)

    def drop(self, question: Question) -> None:
        """It is answered, or nobody wants to know any more."""
        if self._by_topic.pop(question.topic, None) is not None:
            self._changed.add(question.number)

    def drop_device(self, device: str) -> int:
        """Drops all questions of a device; how many there were."""
        mine = [question for question in self._by_topic.values() if question.topic.device == device]
        for question in mine:
            self.drop(question)
        return len(mine)

    # -- where the operation is undone

    def mark(self) -> Mapping[Topic, Question]:
        """What waits now, for ``undoing``."""
        return dict(self._by_topic)

    def undoing(self, mark: Mapping[Topic, Question]) -> Callable[[], None]:
        """What takes back what became of the queue since the mark; what was answered meanwhile stays answered."""
        now = self._by_topic
        topics = {*mark, *now}
        return partial(self._undo, [(t, mark.get(t), now.get(t)) for t in topics if mark.get(t) is not now.get(t)])

    def _undo(self, changed: Iterable[tuple[Topic, Question | None, Question | None]]) -> None:
        for topic, before, after in changed:
            if self._by_topic.get(topic) is not after:
                continue
            if after is not None:
                self.drop(after)
            if before is not None:
                self._put(before)

    # -- over a restart

    def changes(self) -> dict[str, dict[str, Any] | None]:
        """What is new since the last call: number -> its plain values; None: it is gone."""
        by_number = {question.number: question for question in self._by_topic.values()}
        found = {str(n): _body(by_number[n]) if n in by_number else None for n in sorted(self._changed)}
        self._changed.clear()
        return found

    def changed_again(self, numbers: Iterable[str]) -> None:
        """The store did not take these: ``changes`` tells them once more."""
        self._changed.update(map(int, numbers))

    def recall(self, bodies: Iterable[Mapping[str, Any]]) -> None:
        """Takes back what was stored."""
        for body in bodies:
            question = _question(body)
            self._by_topic[question.topic] = question
            self._number = max(self._number, question.number)

    # -- how

    def _put(self, question: Question) -> None:
        self._by_topic[question.topic] = question
        self._changed.add(question.number)

    def _make_room(self, device: str, via: Via) -> bool:
        mine = [question for question in self._by_topic.values() if question.topic.device == device]
        if len(mine) >= MOST_OF_DEVICE:
            claimed = [question for question in mine if question.request.via.datagram]
            if via.datagram or not claimed:
                return False
            self.drop(_oldest(claimed))
        elif len(self._by_topic) >= MOST:
            ((most, _),) = Counter(topic.device for topic in self._by_topic).most_common(1)
            self.drop(_oldest(q for q in self._by_topic.values() if q.topic.device == most))
        return True

    def _forget_old(self, wall: float) -> None:
        for question in [q for q in self._by_topic.values() if q.last_asked <= wall - KEEP_S]:
            self.drop(question)


def _oldest(questions: Iterable[Question]) -> Question:
    return min(questions, key=lambda question: (question.last_asked, question.number))


def _body(question: Question) -> dict[str, Any]:
    asked = question.request
    return {
        "number": question.number,
        "device": question.topic.device,
        "target": _text(question.topic.target),
        "rule": question.rule,
        "decision": question.decision,
        "first_asked": question.first_asked,
        "last_asked": question.last_asked,
        "times": question.times,
        "via": asked.via.value,
        "source": str(asked.source.address),
        "interface": asked.source.interface,
        "transport": asked.transport.value,
        "address": str(asked.internal.address),
        "port": asked.internal.port,
        "external_port": asked.external_port,
        "choice": asked.choice.value,
        "lifetime_s": asked.lifetime_s,
        "remote": _text(asked.remote),
        "external_address": _text(asked.external_address),
        "enabled": asked.enabled,
        "description": asked.description,
        "nonce": asked.nonce.hex() if asked.nonce is not None else None,
        "keep_description": asked.keep_description,
        "clear_filters": asked.clear_filters,
        "filters": [[str(peers.network), peers.port] for peers in asked.filters],
    }


def _question(body: Mapping[str, Any]) -> Question:
    internal = Endpoint(ip_address(body["address"]), body["port"])
    remote, external, nonce, target = (body[key] for key in ("remote", "external_address", "nonce", "target"))
    request = MapRequest(
        via=Via(body["via"]),
        source=Source(ip_address(body["source"]), body["interface"]),
        transport=Transport(body["transport"]),
        internal=internal,
        external_port=body["external_port"],
        choice=PortChoice(body["choice"]),
        lifetime_s=body["lifetime_s"],
        remote=ip_network(remote) if remote is not None else None,
        external_address=ip_address(external) if external is not None else None,
        enabled=body["enabled"],
        description=body["description"],
        nonce=bytes.fromhex(nonce) if nonce is not None else None,
        keep_description=body["keep_description"],
        clear_filters=body["clear_filters"],
        filters=tuple(RemotePeers(ip_network(net), port) for net, port in body["filters"]),
    )
    topic = Topic(
        body["device"],
        request.transport,
        internal.port,
        ip_address(target) if target is not None else None,
    )
    return Question(
        body["number"],
        topic,
        request,
        body["rule"],
        DecisionId(body["decision"]),
        body["first_asked"],
        body["last_asked"],
        body["times"],
    )


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)
