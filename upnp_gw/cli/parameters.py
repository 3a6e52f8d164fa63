"""Types and callbacks for arguments and options: numbers, durations, times and endpoints.

A value that is not accepted ends the command with exit code 2 and a message that names the accepted values.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from upnp_gw.cli import formats
from upnp_gw.text.escape import shown

UNBOUNDED = 10**9
"""As the upper end of a range: there is none."""
LONGEST_S = 366 * 86400
"""Seconds: the longest lease and the longest duration of a rule that the control API accepts."""


class Number(click.ParamType[int]):
    """A whole number from ``least`` to ``most``. The error message shows ``noun`` and ``example``."""

    name = "number"

    def __init__(self, noun: str, least: int, most: int, example: int) -> None:
        self.least, self.most = least, most
        reach = f" {least} to {most}" if most < UNBOUNDED else ""
        self.accepted = f"{noun}{reach}, such as {example}"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if text.isascii() and text.isdigit() and len(text) <= 12 and self.least <= int(text) <= self.most:
            return int(text)
        return self.fail(f'got "{shown(text, 60)}"; accepted: {self.accepted}', param, ctx)


class Seconds(click.ParamType[float]):
    """A time limit in seconds, a fraction allowed."""

    name = "seconds"

    def __init__(self, least: float, most: float) -> None:
        self.least, self.most = least, most

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(str(value))
        except ValueError:
            seconds = -1.0
        if self.least <= seconds <= self.most:
            return seconds
        accepted = f"seconds {self.least:g} to {self.most:g}, such as 4 or 0.5"
        return self.fail(f'got "{shown(str(value), 60)}"; accepted: {accepted}', param, ctx)


PORT = Number("a port", 1, 65535, 8080)
HTTP_PORT = Number("a TCP port", 0, 65535, 5000)
"""0: any free port."""


def duration_callback(
    least_s: int, most_s: int
) -> Callable[[click.Context, click.Parameter, str | None], int | None]:
    """A callback: ``90s``, ``4h``, ``7d`` -> seconds, from ``least_s`` to ``most_s``."""

    def callback(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
        try:
            seconds = None if value is None else formats.parse_duration(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        if seconds is not None and not least_s <= seconds <= most_s:
            accepted = f"{formats.duration(least_s)} to {formats.duration(most_s)}, such as 4h"
            raise click.BadParameter(f'got "{shown(str(value), 60)}"; accepted: {accepted}')
        return seconds

    return callback


lease_option = duration_callback(1, LONGEST_S)
lease_or_longest_option = duration_callback(0, LONGEST_S)
"""0: as long as possible, as over IGD."""
rule_time_option = duration_callback(60, LONGEST_S)


def ports_argument(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Callback: checks that each value is a port 1 to 65535 or a range ``FIRST-LAST``."""
    for value in values:
        match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", value, re.A)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= 65535:
            accepted = "a port 1 to 65535 or a range, such as 3074 or 3478-3480"
            transport = re.match(r"tcp|udp", value, re.I)
            hint = f". For one transport add --proto {transport[0].lower()}" if transport else ""
            raise click.BadParameter(f'got "{shown(value, 60)}"; accepted: {accepted}{hint}')
    return values


def time_option(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Callback: ``2h`` (ago) or an RFC 3339 time -> an RFC 3339 time in UTC."""
    try:
        return None if value is None else formats.parse_time(value, datetime.now(UTC)).isoformat()
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def endpoint_argument(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, int | None]:
    """Callback: ``192.168.1.23:80`` -> address and port."""
    try:
        return formats.parse_endpoint(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def runtime_dir_option(text: str = "Directory of the control socket.") -> Callable[[Any], Any]:
    """``--runtime-dir`` without a default: the configuration may name it. ``text``: its help."""
    return click.option(
        "--runtime-dir", type=click.Path(path_type=Path), envvar="UPNP_GW_RUNTIME_DIR", metavar="DIR", help=text
    )
