"""Findings, and the commands that mend what they find. Pure."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

from upnp_gw.api import Check

PLACEHOLDER = "HOST"
"""In a command: the administrator replaces it."""
CAUTIONS = {
    "StrictForwardPorts=": "StrictForwardPorts is switched off, which somebody switched on",
    "--change-interface": "the interface moves to another zone of firewalld, with the rules of that zone",
    "--remove-masquerade": "firewalld then masquerades only the prefixes that the commands name",
}
"""Part of a command -> the reason to look at it first."""


def ok(name: str, finding: str) -> Check:
    return Check(name=name, outcome="ok", finding=finding)


def _wrong(
    outcome: Literal["warn", "fail"],
    name: str,
    finding: str,
    remedy: str | None = None,
    commands: Sequence[str] = (),
    lasting: bool = False,
    guide: str | None = None,
    caution: str | None = None,
) -> Check:
    plain = _plain(commands)
    cautions = [text for part, text in CAUTIONS.items() if any(part in command for command in plain)]
    return Check(
        name=name,
        outcome=outcome,
        finding=finding,
        remedy=remedy,
        commands=plain,
        lasting=lasting,
        guide=guide,
        caution=caution or "; ".join(cautions) or None,
    )


warn = partial(_wrong, "warn")
fail = partial(_wrong, "fail")


def _plain(commands: Sequence[str]) -> list[str]:
    """The commands; none if one has a word that a person has to replace, or a foreign name that is not plain."""
    fit = all(PLACEHOLDER not in command and command.isascii() and command.isprintable() for command in commands)
    return list(commands) if fit else []
