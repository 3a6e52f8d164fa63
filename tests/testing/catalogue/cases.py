"""The cases by name: what shows that a client sees a fault or a personality."""

from collections.abc import Awaitable, Callable

Case = Callable[[], Awaitable[None]]
FAULT_CASES: dict[str, Case] = {}
PERSONALITY_CASES: dict[str, Case] = {}


def shows(name: str) -> Callable[[Case], Case]:
    """The decorated function shows this fault."""
    return _registered(FAULT_CASES, name)


def shows_personality(name: str) -> Callable[[Case], Case]:
    """The decorated function shows this personality."""
    return _registered(PERSONALITY_CASES, name)


def _registered(cases: dict[str, Case], name: str) -> Callable[[Case], Case]:
    def register(case: Case) -> Case:
        assert name not in cases, f"{name} has two cases"
        cases[name] = case
        return case

    return register
