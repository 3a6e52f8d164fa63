"""The standing of the gateway above: the protocol that answers and since when, or since when it is silent. Pure."""

from upnp_gw.model.above import AboveState
from upnp_gw.model.mapping import IPAddress, Via
from upnp_gw.upstream.way import NoWay, Way

QUIET_S = 60.0
"""Seconds after a report of its silence in which another one is none: some answer questions and no requests."""


class Standing:
    """Times are BOOTTIME seconds."""

    def __init__(self) -> None:
        self.way: Way | NoWay = NoWay("the gateway above was not looked for yet")
        """For IPv4."""
        self.via: Via | None = None
        self.loop = False
        self.silent_since: float | None = None
        self._answers_since: float | None = None
        self._words = ""
        self._reported_at: float | None = None

    def begin_anew(self, way: Way | NoWay) -> None:
        """Another gateway is above, or none."""
        self.way, self.via, self.loop, self._words = way, None, False, ""
        self.silent_since = self._answers_since = None

    def answered(self, via: Via, now: float) -> bool:
        """True where it was silent before."""
        was_silent = self.silent_since is not None
        self.via, self.silent_since, self._words = via, None, ""
        if self._answers_since is None:
            self._answers_since = now
        return was_silent

    def was_silent(self, since: float, words: str) -> bool:
        """True where it answered before. ``words``: why, in ours."""
        first = self.silent_since is None
        if first:
            self.silent_since = since
        self._answers_since, self._words = None, words
        return first

    def is_news(self, now: float) -> bool:
        """True if its silence was not reported lately. It is then."""
        if self._reported_at is not None and now < self._reported_at + QUIET_S:
            return False
        self._reported_at = now
        return True

    def state(self, external: IPAddress | None, without_address: bool = False) -> AboveState:
        """``external``: the address that it told last. ``without_address``: it says that it has none now."""
        if isinstance(self.way, NoWay):
            return AboveState(self.way.gateway, loop=self.way.loop, problem=self.way.problem)
        problem = self._words
        if without_address and not problem:
            problem = f"the gateway above at {self.way.gateway} has no external address: its own WAN is down, or it"
            problem += " leads back to this gateway"
        if self.loop:
            problem = f"the gateway above at {self.way.gateway} leads back to this gateway"
        return AboveState(
            self.way.gateway, self.via, self._answers_since, self.silent_since, external, self.loop, problem
        )
