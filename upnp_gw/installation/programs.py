"""Starts the programs that the operator said yes to: ``systemctl``, and the commands of the doctor. No shell.

Only ``upnp-gw setup`` and ``upnp-gw install`` load this module; the daemon starts no program (SR-12).
"""

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_S = 90.0
"""Seconds: the start of the service has 90."""
NOT_STARTED = 127
"""The exit code of a command that cannot be started, as in a shell."""


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a program. ``output``: stdout and stderr, foreign text."""

    code: int
    output: str


def words(command: str) -> list[str]:
    """The words of a command, as a shell would split them; nothing is expanded. Empty if it is no plain command."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def run(argv: Sequence[str], seconds: float = LONGEST_S) -> Result:
    """Runs a program to its end."""
    if not argv:
        return Result(NOT_STARTED, "no command")
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except OSError as error:
        return Result(NOT_STARTED, f"{error.strerror}")
    except subprocess.TimeoutExpired:
        return Result(NOT_STARTED, f"it did not end within {seconds:g} seconds, and was ended")
    return Result(done.returncode, done.stdout.strip())
