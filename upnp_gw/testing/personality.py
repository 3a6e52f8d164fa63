"""``Personality``: options and faults of one kind of router. ``personalities`` has all of them by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FaultChoice:
    """A fault of the catalogue with its parameters."""

    name: str
    action: str | None
    after: bool | None
    parameters: Mapping[str, Any]

    def __str__(self) -> str:
        given = [f"{name}={value}" for name, value in self.parameters.items()]
        chosen = [] if self.after is None else ["after" if self.after else "before"]
        return ",".join([f"{self.action}={self.name}" if self.action else self.name, *given, *chosen])


def fault(name: str, action: str | None = None, *, after: bool | None = None, **parameters: Any) -> FaultChoice:
    """A fault of a personality."""
    return FaultChoice(name, action, after, parameters)


class Personality:
    """The first paragraph of a docstring says what a client sees, the last one where the quirk is from."""

    options: ClassVar[Mapping[str, Any]] = {}
    """Of ``Emulator``, in place of the given ones."""
    faults: ClassVar[tuple[FaultChoice, ...]] = ()
