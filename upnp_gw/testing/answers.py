"""Answers that a test asks for, in place of the gateway's own."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from types import TracebackType

from upnp_gw.protocols.igd.faults import NAMES
from upnp_gw.protocols.igd.services import ROWS
from upnp_gw.protocols.natpmp.codec import NatPmpResult
from upnp_gw.protocols.pcp.messages import ResultCode
from upnp_gw.testing.journal import Request
from upnp_gw.testing.wire_faults import WIRE_FAULTS, WireFault, silent

DELAY_MAX_S = 25
"""The gateway's own limit for an answer is 30 seconds."""

ERRORS = NAMES | {
    725: "OnlyPermanentLeasesSupported",
    726: "RemoteHostOnlySupportsWildcard",
    727: "ExternalPortOnlySupportsWildcard",
}
"""UPnP error code -> errorDescription: those of the gateway, and those of other gateways (WANIPConnection:1 section
2.4.16)."""
DATAGRAMS: dict[str, Iterable[NatPmpResult] | Iterable[ResultCode]] = {
    "natpmp.address": NatPmpResult,
    "natpmp.map": NatPmpResult,
    "pcp.map": ResultCode,
    "pcp.announce": ResultCode,
    "M-SEARCH": (),
}
"""Request over UDP -> its result codes."""
ACTIONS = frozenset(action for rows in ROWS.values() for action in rows.actions)

Reply = int | str | Mapping[str, str] | None
"""An error by its code or name; out-arguments of an action by their names; None: the gateway answers itself."""


@dataclass(eq=False, slots=True)
class AnswerRule:
    """Answers some requests. As a context manager it ends with the block."""

    action: str
    reply: Callable[[Request], Reply] | None
    """None: the gateway's own answer, in the way of ``wire`` and ``delay_s``."""
    left: int | None
    """The number of requests that it still answers; None: until ``remove``."""
    after: bool
    """True: the gateway makes the change before. False: it never sees the request."""
    wire: WireFault | None
    delay_s: float
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
    """The answer to one request."""

    error: int | None
    values: Mapping[str, str] | None
    """The out-arguments. If there is no error either, it is the gateway's own answer."""
    after: bool
    wire: WireFault | None
    delay_s: float
    """Seconds."""

    @property
    def own(self) -> bool:
        """True for the gateway's own answer."""
        return self.error is None and self.values is None

    @property
    def silent(self) -> bool:
        """True: nothing is sent."""
        return self.wire is silent


class Answers:
    """The rules in force. The newest that fits a request answers it."""

    def __init__(self) -> None:
        self._rules: list[AnswerRule] = []
        self._stopping = asyncio.Event()

    async def delay(self, seconds: float) -> None:
        """Returns after so many seconds, or when the gateway stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def release(self) -> None:
        """Ends every delay: the gateway stops. It may start again."""
        self._stopping.set()
        self._stopping = asyncio.Event()

    def add(
        self,
        action: str,
        reply: Callable[[Request], Reply] | Reply,
        *,
        times: int | None = None,
        after: bool = False,
        wire: str | None = None,
        delay_s: float = 0,
    ) -> AnswerRule:
        """Adds a rule, as ``Emulator.answer`` describes. Raises ValueError."""
        if action not in ACTIONS and action not in DATAGRAMS:
            known = get_close_matches(action, [*ACTIONS, *DATAGRAMS], 1)
            raise ValueError(f"there is no action {action!r}" + "".join(f"; did you mean {k!r}?" for k in known))
        if times is not None and times < 1:
            raise ValueError("times must be 1 or more")
        if not 0 <= delay_s <= DELAY_MAX_S:
            raise ValueError(f"delay_s must be 0 to {DELAY_MAX_S}")
        if wire is not None and wire not in WIRE_FAULTS:
            raise ValueError(f"there is no wire fault {wire!r}; accepted: {', '.join(WIRE_FAULTS)}")
        if action in DATAGRAMS and (delay_s or wire not in (None, "silent")):
            raise ValueError(f"the answer to {action} is a datagram; accepted: wire='silent'")
        if reply is not None and not callable(reply):
            _outcome(action, reply)  # a mistake is found now, not at the request
        function = reply if reply is None or callable(reply) else lambda request: reply
        fault = None if wire is None else WIRE_FAULTS[wire]
        rule = AnswerRule(action, function, times, after, fault, delay_s, self._rules)
        self._rules.append(rule)
        return rule

    def take(self, request: Request) -> AskedAnswer | None:
        """The answer for a request, which uses up its rule once; None: the gateway answers as usual."""
        for rule in self._fitting(request.action):
            error, values = None, None
            if rule.reply is not None:
                reply = rule.reply(request)
                if reply is None:
                    continue
                error, values = _outcome(request.action, reply)
            if rule.left is not None:
                rule.left -= 1
                if not rule.left:
                    rule.remove()
            return AskedAnswer(error, values, rule.after, rule.wire, rule.delay_s)
        return None

    def clear(self) -> None:
        """Takes all rules back."""
        self._rules.clear()

    def _fitting(self, action: str) -> Iterator[AnswerRule]:
        return (rule for rule in reversed(tuple(self._rules)) if rule.action == action)


def _outcome(action: str, reply: int | str | Mapping[str, str]) -> tuple[int | None, Mapping[str, str] | None]:
    """The error code or the out-arguments of a reply. Raises ValueError."""
    if isinstance(reply, int):
        return reply, None
    if isinstance(reply, str):
        return _code(action, reply), None
    if action in DATAGRAMS:
        raise ValueError(f"the answer to {action} has no out-arguments; accepted: error")
    return None, {name: str(value) for name, value in reply.items()}


def _code(action: str, name: str) -> int:
    """The code of an error's name. Raises ValueError."""
    if action in DATAGRAMS:
        codes = {result.name: result.value for result in DATAGRAMS[action]}
    else:
        codes = {known: code for code, known in ERRORS.items()}
    if name not in codes:
        raise ValueError(f"{action} has no error {name!r}; accepted: a code, or {', '.join(codes) or 'none'}")
    return codes[name]
