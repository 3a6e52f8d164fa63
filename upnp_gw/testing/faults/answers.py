"""Answers in place of the gateway's own, and late ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from upnp_gw.protocols.pcp.messages import ResultCode
from upnp_gw.testing.fault import Fault, Strikes
from upnp_gw.testing.journal import Request
from upnp_gw.testing.outcomes import HTTP, NATPMP, NOTIFY, PCP, REQUESTS, SOAP, Reply, outcome_of

DELAY_MAX_S = 25.0
"""The gateway's own limit for an answer is 30 seconds."""


@dataclass(eq=False)
class ErrorAnswer(Fault):
    """The answer is this error: a UPnP error of an action, a result of NAT-PMP or PCP, an HTTP status of a document
    or a subscription."""

    strikes = Strikes.EITHER
    actions = HTTP | NATPMP | PCP

    code: Annotated[int | str, "its number, or its name in the standard"]

    def check(self, action: str) -> None:
        outcome_of(action, self.code)

    def fits(self, action: str) -> bool:
        """Without an action a name strikes the requests that have this error, a number up to 13 those over UDP,
        another number the actions of IGD."""
        try:
            code, _ = outcome_of(action, self.code)
        except ValueError:
            return False
        return action in (NATPMP | PCP if code is not None and code <= max(ResultCode) else SOAP)

    def reply(self, request: Request) -> Reply:
        return self.code


@dataclass(eq=False)
class GivenAnswer(Fault):
    """The answer is what a function of the test says."""

    strikes = Strikes.EITHER
    actions = REQUESTS

    function: Callable[[Request], Reply]

    def reply(self, request: Request) -> Reply:
        return self.function(request)


@dataclass(eq=False)
class Slow(Fault):
    """The answer, or the event, comes late. `advance` ends the wait."""

    actions = REQUESTS | NOTIFY

    seconds: Annotated[float, "0 to 25"] = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.seconds <= DELAY_MAX_S:
            raise ValueError(f"seconds must be 0 to {DELAY_MAX_S:g}")

    def delay_s(self) -> float:
        return self.seconds
