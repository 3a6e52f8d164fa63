"""Numbers on the command line, and what is said of a text that is none or is out of range."""

import click

from upnp_gw.text.escape import shown

ENDLESS = 10**9
"""Stands for no upper end."""


class Number(click.ParamType[int]):
    """A whole number from ``least`` to ``most``. ``what`` and ``example`` are for the message about another one."""

    name = "number"

    def __init__(self, what: str, least: int, most: int, example: int) -> None:
        self.least, self.most = least, most
        reach = f" {least} to {most}" if most < ENDLESS else ""
        self.accepted = f"{what}{reach}, such as {example}"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if text.isascii() and text.isdigit() and len(text) <= 12 and self.least <= int(text) <= self.most:
            return int(text)
        return self.fail(f'got "{shown(text, 60)}"; accepted: {self.accepted}', param, ctx)


class Seconds(click.ParamType[float]):
    """Seconds of a time limit, with a fraction or without."""

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
"""0: any free one."""
