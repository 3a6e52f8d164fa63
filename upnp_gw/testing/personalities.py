"""Personalities: options and faults of one kind of router, named by what it does. Loaded when one is used."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, ClassVar

from upnp_gw.testing.options import EmulatorOptions
from upnp_gw.testing.registry import description_of, make_rule
from upnp_gw.testing.rules import Rule


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


class V1Only(Personality):
    """It has InternetGatewayDevice:1 only: no AddAnyPortMapping, no IPv6 pinholes.

    Source: UDA allows it, and most home routers before 2012 are like this; WANIPConnection:1 section 2.4.
    """

    options = {"versions": (1,)}


class V2Only(Personality):
    """It has InternetGatewayDevice:2 only: its description names version 2, also to a client that searched for
    version 1.

    Source: WANIPConnection:2 section 2.3.
    """

    options = {"versions": (2,)}


class OnlyPermanentLeases(Personality):
    """AddPortMapping with a lease is refused with 725. With lease 0 it works.

    Source: WANIPConnection:1 section 2.4.16.
    """

    faults = (fault("error", "AddPortMapping", code=725),)


class DoubleNat(Personality):
    """Its external address is a private one: another router stands before the internet.

    Source: RFC 6887 section 18.2.
    """

    faults = (fault("private-external-address"),)


PERSONALITIES: dict[str, type[Personality]] = {
    "v1-only": V1Only,
    "v2-only": V2Only,
    "only-permanent-leases": OnlyPermanentLeases,
    "double-nat": DoubleNat,
}
"""By the name that ``Emulator.personality`` takes."""


def personality_of(name: str) -> type[Personality]:
    """Raises ValueError for an unknown name; it says what is accepted."""
    if name not in PERSONALITIES:
        known = get_close_matches(name, PERSONALITIES, 1)
        meant = "".join(f"; did you mean {k!r}?" for k in known) or f"; accepted: {', '.join(PERSONALITIES)}"
        raise ValueError(f"there is no personality {name!r}{meant}")
    return PERSONALITIES[name]


def description_and_source(kind: type[Personality]) -> tuple[str, str]:
    """The two parts of the docstring, each in one line."""
    description, _, source = description_of(kind).rpartition(" Source: ")
    return description, source


def with_personality(options: EmulatorOptions, names: tuple[str, ...]) -> EmulatorOptions:
    """The options of a router that has these. Raises ValueError."""
    changed: dict[str, Any] = {}
    for name in names:
        changed |= personality_of(name).options
    return replace(options, **changed) if changed else options


def rules_of(names: tuple[str, ...]) -> list[Rule]:
    """Their faults, ready to be put in force. Raises ValueError."""
    return [
        make_rule(each.name, each.action, after=each.after, parameters=each.parameters)
        for name in names
        for each in personality_of(name).faults
    ]
