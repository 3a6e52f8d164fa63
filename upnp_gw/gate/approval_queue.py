"""Questions that wait for the operator: one for each subject, with the terms of an approval.

The number of a question stands for the terms that it showed. If a device asks for more, its question gets a new
number, and the old number can no longer be answered.

The queue is bounded (SR-28): ``MOST`` questions, ``MOST_OF_DEVICE`` of one device, each kept for ``KEEP_S`` after
its latest request. A full queue drops the oldest question of the device that has the most. If a device has no room
left, a question over TCP, which proves the sender, replaces one that came by datagram (SR-26).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from upnp_gw.gate.question import Question, question_body, question_of
from upnp_gw.gate.terms import ApprovalTerms, QuestionSubject
from upnp_gw.model.mapping import DAY_S, DecisionId
from upnp_gw.model.request import MapRequest

MOST = 256
MOST_OF_DEVICE = 16
KEEP_S = 30 * DAY_S

OnUndo = list[Callable[[], None]]
"""Functions that undo an operation which the kernel or the disk refused."""


class ApprovalQueue:
    """Questions by device and subject. ``take_changes`` gives what the store must write."""

    def __init__(self) -> None:
        self._of: dict[str, dict[QuestionSubject, Question]] = {}
        """Device -> subject -> question. Devices without questions are not in it."""
        self._changed: set[int] = set()
        self.last_number = 0
        """The highest number so far. It survives a restart: no number is used twice."""

    def ask(
        self,
        subject: QuestionSubject,
        terms: ApprovalTerms,
        request: MapRequest,
        basis: str,
        decision: DecisionId,
        wall: float,
        on_undo: OnUndo | None = None,
    ) -> Question | None:
        """Adds a question, or updates the waiting one of its subject. None: its device has no room left."""
        self._forget_old(wall)
        question = Question(self.last_number + 1, subject, terms, request, basis, decision, wall, wall, 1)
        known = self._of.get(subject.device, {}).get(subject)
        if known is not None:
            question = known.updated(question, question.number)
        elif not self._make_room(question, on_undo):
            return None
        self.last_number = max(self.last_number, question.number)
        self._replace(subject, question, on_undo)
        return question

    def settle(self, granted: QuestionSubject, on_undo: OnUndo | None = None) -> None:
        """Drops the questions that a granted request with this subject answers."""
        for subject in [subject for subject in self._of.get(granted.device, ()) if subject.answered_by(granted)]:
            self._replace(subject, None, on_undo)

    def has_of_device(self, device: str) -> bool:
        """True if a question of this device may be waiting."""
        return device in self._of

    def all(self, wall: float) -> tuple[Question, ...]:
        """The waiting questions, by number."""
        self._forget_old(wall)
        return tuple(sorted(self._each(), key=lambda question: question.number))

    def get(self, number: int) -> Question | None:
        """The question with this number; None: there is none."""
        return next((question for question in self._each() if question.number == number), None)

    def successor(self, number: int) -> Question | None:
        """The question that had this number before its device asked for something else; None: there is none."""
        return next((question for question in self._each() if number in question.earlier), None)

    def drop(self, question: Question) -> None:
        """Drops a question, unless its terms have changed since."""
        if (current := self.get(question.number)) is not None:
            self._replace(current.subject, None, None)

    def drop_device(self, device: str) -> int:
        """Drops all questions of a device. The answer is how many there were."""
        subjects = list(self._of.get(device, ()))
        for subject in subjects:
            self._replace(subject, None, None)
        return len(subjects)

    def drop_all(self) -> int:
        """Drops every question. The answer is how many there were."""
        return sum(self.drop_device(device) for device in list(self._of))

    # -- over a restart

    def take_changes(self) -> dict[str, dict[str, Any] | None]:
        """The changes since the last call: number -> the question's plain values; None: it was dropped."""
        by_number = {question.number: question for question in self._each()}
        bodies = {str(n): question_body(by_number[n]) if n in by_number else None for n in sorted(self._changed)}
        self._changed.clear()
        return bodies

    def requeue(self, numbers: Iterable[str]) -> None:
        """The store could not write these: the next ``take_changes`` gives them again."""
        self._changed.update(map(int, numbers))

    def restore(self, bodies: Iterable[Mapping[str, Any]], last_number: int) -> None:
        """Loads stored questions. Drops those of an older version, which had no terms: their devices ask again."""
        for body in bodies:
            number = body.get("number")
            try:
                question = question_of(body)
            except (KeyError, TypeError, ValueError):
                if isinstance(number, int):
                    self._changed.add(number)
                    self.last_number = max(self.last_number, number)
                continue
            self._replace(question.subject, question, None, stored=True)
            self.last_number = max(self.last_number, question.number)
        self.last_number = max(self.last_number, last_number)

    # -- how

    def _each(self) -> Iterator[Question]:
        return (question for questions in self._of.values() for question in questions.values())

    def _replace(
        self, subject: QuestionSubject, after: Question | None, on_undo: OnUndo | None, stored: bool = False
    ) -> None:
        """Replaces the question of this subject; None: removes it."""
        questions = self._of.setdefault(subject.device, {})
        before = questions.pop(subject, None)
        if after is not None:
            questions[subject] = after
        if not questions:
            del self._of[subject.device]
        self._changed.update(q.number for q in (before, None if stored else after) if q is not None)
        if on_undo is not None:
            on_undo.append(partial(self._undo, subject, before, after))

    def _undo(self, subject: QuestionSubject, before: Question | None, after: Question | None) -> None:
        """Undoes one change, unless the question has changed again meanwhile."""
        if self._of.get(subject.device, {}).get(subject) is after:
            self._replace(subject, before, None)

    def _make_room(self, question: Question, on_undo: OnUndo | None) -> bool:
        questions = self._of.get(question.subject.device, {})
        if len(questions) >= MOST_OF_DEVICE:
            unproved = [question for question in questions.values() if not question.proved]
            if not question.proved or not unproved:
                return False
            self._replace(_oldest(unproved).subject, None, on_undo)
        elif sum(map(len, self._of.values())) >= MOST:
            most = max(self._of.values(), key=len)
            self._replace(_oldest(most.values()).subject, None, on_undo)
        return True

    def _forget_old(self, wall: float) -> None:
        for question in [q for q in self._each() if q.last_asked <= wall - KEEP_S]:
            self._replace(question.subject, None, None)


def _oldest(questions: Iterable[Question]) -> Question:
    return min(questions, key=lambda question: (question.last_asked, question.number))
