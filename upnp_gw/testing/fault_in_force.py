"""``FaultInForce``: what a test has of a fault that it asked for."""

from collections.abc import Callable
from types import TracebackType

from upnp_gw.testing.journal import Request, Requests
from upnp_gw.testing.rules import Rule


class FaultInForce:
    """A fault, or an answer in place of the gateway's. As a context manager it ends with the block."""

    def __init__(
        self, rule: Rule, take_back: Callable[[], None], struck: Callable[[], tuple[Request, ...]]
    ) -> None:
        self._rule = rule
        self._take_back = take_back
        self._struck = struck

    @property
    def struck(self) -> Requests:
        """The requests that it has struck so far."""
        return Requests(self._struck(), f"request struck by {self}")

    def remove(self) -> None:
        """Takes it back. A second call does nothing."""
        self._take_back()

    def __str__(self) -> str:
        return " on ".join(filter(None, (self._rule.name or "an answer", self._rule.action)))

    def __enter__(self) -> "FaultInForce":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
