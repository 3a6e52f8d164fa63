"""Answers that a test asks for, in place of the gateway's own."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import TracebackType

from upnp_gw.protocols.igd.faults import NAMES
from upnp_gw.protocols.igd.services import ROWS
from upnp_gw.protocols.natpmp.codec import NatPmpResult
from upnp_gw.protocols.pcp.messages import ResultCode
from upnp_gw.testing.journal import Request

ERRORS = NAMES | {
    725: "OnlyPermanentLeasesSupported",
    726: "RemoteHostOnlySupportsWildcard",
    727: "ExternalPortOnlySupportsWildcard",
}
"""UPnP error code -> errorDescription: those of the gateway, and those of other gateways (WANIPConnection:1 section
2.4.16)."""
DATAGRAMS = {
    "natpmp.address": NatPmpResult,
    "natpmp.map": NatPmpResult,
    "pcp.map": ResultCode,
    "pcp.announce": ResultCode,
}
"""Request of port 5351 -> its result codes."""
ACTIONS = frozenset(action for rows in ROWS.values() for action in rows.actions)

Reply = int | str | Mapping[str, str] | None
"""An error by its code or name; out-arguments of an action by their names; None: the gateway answers itself."""


@dataclass(eq=False, slots=True)
class AnswerRule:
    """Answers some requests. As a context manager it ends with the block."""

    action: str
    reply: Callable[[Request], Reply]
    left: int | None
    """The number of requests that it still answers; None: until ``remove``."""
    after: bool
    """True: the gateway makes the change before. False: it never sees the request."""
    _rules: "list[AnswerRule]"

    def remove(self) -> None:
        """Takes it back. The gateway answers again."""
        if self in self._rules:
            self._rules.remove(self)

    def __enter__(self) -> "AnswerRule":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


@dataclass(frozen=True, slots=True)
class AskedAnswer:
    """What to answer one request with."""

    error: int | None
    values: Mapping[str, str]
    """The out-arguments, if there is no error."""
    after: bool


class Answers:
    """The rules in force. The newest that fits a request answers it."""

    def __init__(self) -> None:
        self._rules: list[AnswerRule] = []

    def add(
        self, action: str, reply: Callable[[Request], Reply] | Reply, times: int | None, after: bool
    ) -> AnswerRule:
        """Adds a rule. Raises ValueError for an unknown action or error, or ``times`` below 1."""
        if action not in ACTIONS and action not in DATAGRAMS:
            known = get_close_matches(action, [*ACTIONS, *DATAGRAMS], 1)
            raise ValueError(f"there is no action {action!r}" + "".join(f"; did you mean {k!r}?" for k in known))
        if times is not None and times < 1:
            raise ValueError("times must be 1 or more")
        if callable(reply):
            rule = AnswerRule(action, reply, times, after, self._rules)
        else:
            _asked(action, reply, after)  # a mistake is found now, not at the request
            rule = AnswerRule(action, lambda request: reply, times, after, self._rules)
        self._rules.append(rule)
        return rule

    def take(self, request: Request) -> AskedAnswer | None:
        """The answer for a request, which uses up its rule once; None: the gateway answers."""
        for rule in self._fitting(request.action):
            reply = rule.reply(request)
            if reply is None:
                continue
            asked = _asked(request.action, reply, rule.after)
            request.error = asked.error
            if rule.left is not None:
                rule.left -= 1
                if not rule.left:
                    rule.remove()
            return asked
        return None

    def clear(self) -> None:
        """Takes all rules back."""
        self._rules.clear()

    def _fitting(self, action: str) -> Iterator[AnswerRule]:
        return (rule for rule in reversed(tuple(self._rules)) if rule.action == action)


def _asked(action: str, reply: Reply, after: bool) -> AskedAnswer:
    if isinstance(reply, int):
        return AskedAnswer(reply, {}, after)
    if isinstance(reply, str):
        return AskedAnswer(_code(action, reply), {}, after)
    if not reply or action in DATAGRAMS:
        raise ValueError(f"{action} needs an error")
    return AskedAnswer(None, {name: str(value) for name, value in reply.items()}, after)


def _code(action: str, name: str) -> int:
    """The code of an error's name. Raises ValueError."""
    if action in DATAGRAMS:
        codes = {result.name: result.value for result in DATAGRAMS[action]}
    else:
        codes = {known: code for code, known in ERRORS.items()}
    if name not in codes:
        raise ValueError(f"{action} has no error {name!r}; accepted: a code, or {', '.join(codes)}")
    return codes[name]
