"""Findings, and the commands that mend what they find. Pure."""

from collections.abc import Sequence

from upnp_gw.api import Check

PLACEHOLDER = "HOST"
"""In a command: the administrator replaces it."""


def ok(name: str, finding: str) -> Check:
    return Check(name=name, outcome="ok", finding=finding)


def warn(
    name: str, finding: str, remedy: str | None = None, commands: Sequence[str] = (), lasting: bool = False
) -> Check:
    return Check(
        name=name, outcome="warn", finding=finding, remedy=remedy, commands=_plain(commands), lasting=lasting
    )


def fail(
    name: str, finding: str, remedy: str | None = None, commands: Sequence[str] = (), lasting: bool = False
) -> Check:
    return Check(
        name=name, outcome="fail", finding=finding, remedy=remedy, commands=_plain(commands), lasting=lasting
    )


def _plain(commands: Sequence[str]) -> list[str]:
    """The commands; none if one has a word that a person has to replace, or a foreign name that is not plain."""
    fit = all(PLACEHOLDER not in command and command.isascii() and command.isprintable() for command in commands)
    return list(commands) if fit else []
