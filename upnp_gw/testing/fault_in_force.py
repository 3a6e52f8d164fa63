"""``FaultInForce``: what a test has of a fault that it asked for."""

from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any

from upnp_gw.testing.host import Done
from upnp_gw.testing.journal import Request, Requests
from upnp_gw.testing.rules import Rule


class FaultInForce:
    """A fault, or an answer in place of the gateway's. As a context manager it ends with the block.

    Where the emulator runs on the loop of the test, await it, or use ``async with``.
    """

    def __init__(
        self,
        rule: Rule,
        begun: Done,
        take_back: Callable[[], Done],
        struck: Callable[[], tuple[Request, ...]],
        in_force: Callable[[], bool],
    ) -> None:
        self._rule = rule
        self._begun = begun
        self._take_back = take_back
        self._struck = struck
        self._in_force = in_force

    @property
    def name(self) -> str:
        """In the catalogue; ``answer`` for an answer in place of the gateway's."""
        return self._rule.name

    @property
    def action(self) -> str | None:
        """The request that it strikes; None: all that it can strike."""
        return self._rule.action

    @property
    def left(self) -> int | None:
        """The number of requests that it still strikes; None: until it is taken back."""
        return self._rule.left

    @property
    def in_force(self) -> bool:
        """False as soon as it was taken back, or has struck as often as it should."""
        return self._in_force()

    @property
    def struck(self) -> Requests:
        """The requests that it has struck so far."""
        return Requests(self._struck(), f"request struck by {self}")

    def remove(self) -> Done:
        """Takes it back. A second call does nothing."""
        return self._take_back()

    def __await__(self) -> Generator[Any, None, "FaultInForce"]:
        yield from self._begun.__await__()
        return self

    def __str__(self) -> str:
        return " on ".join(filter(None, (self._rule.name or "an answer", self._rule.action)))

    def __enter__(self) -> "FaultInForce":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    async def __aenter__(self) -> "FaultInForce":
        return await self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.remove()
