"""A person at a terminal: a command in a host of the lab with a pty, read and answered."""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from upnp_gw.lab.machine import Machine

AGAIN_S = 3.0
"""Seconds between two Ctrl-C."""
WAIT_S = 60.0
"""Most seconds until the terminal shows an expected text, on a loaded machine."""


class Dialogue:
    """``with Dialogue(host, argv) as person: person.sees("WAN [eth0]: "); person.types("eth1")``"""

    def __init__(self, host: Machine, argv: Sequence[str], columns: int = 80) -> None:
        self._controller, child = os.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        env = {"COLUMNS": str(columns), "TERM": "dumb", "PYTHONUNBUFFERED": "1"}
        try:
            with os.fdopen(child, "r+b", buffering=0) as terminal:
                self._process = host.popen(
                    argv,
                    stdin=terminal.fileno(),
                    stdout=terminal.fileno(),
                    stderr=terminal.fileno(),
                    env=env,
                    own_session=True,
                )
        except BaseException:
            os.close(self._controller)
            raise
        self.text = ""
        """All that the terminal showed."""
        self._seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._controller)

    def sees(self, text: str) -> None:
        """Waits until the text is shown, after what was seen before. A line end counts as a space."""
        deadline = time.monotonic() + WAIT_S
        wanted = re.compile(r"\s+".join(map(re.escape, text.split())))
        while (found := wanted.search(self.text, self._seen)) is None:
            assert self._read(deadline), f"{text!r} was not shown, but:\n{self.text[self._seen :]}"
        self._seen = found.end()

    def types(self, line: str) -> None:
        os.write(self._controller, f"{line}\n".encode())

    def interrupts(self) -> None:
        """Ctrl-C, as often as a person would press it: one that comes just before Python waits for a line is
        noticed after that line."""
        for _ in range(int(WAIT_S / AGAIN_S)):
            self._process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(AGAIN_S)
                return

    def ends(self) -> int:
        """Waits for the end of the command. Returns its exit code."""
        deadline = time.monotonic() + WAIT_S
        while self._read(deadline):
            pass
        try:
            return self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the command did not end:\n{self.text[self._seen :]}") from None

    def _read(self, deadline: float) -> bool:
        """Reads what comes next. False: the other side is closed, or nothing came in time."""
        if not select.select([self._controller], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        try:
            came = os.read(self._controller, 65536)
        except OSError:  # Linux: nobody has the other side open any more
            return False
        self.text += came.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(came)
