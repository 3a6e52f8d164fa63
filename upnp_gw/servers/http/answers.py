"""An answer of the HTTP server, before it has a version and a date."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

IMF_FIXDATE = "%a, %d %b %Y %H:%M:%S GMT"
"""RFC 9110 section 5.6.7. Python does not set the locale of times, so the names are English. ``email.utils``, which
has it too, costs a megabyte."""


@dataclass(slots=True)
class Answer:
    status: int
    fields: dict[str, str] = field(default_factory=dict)
    """Header fields in their order, without Content-Length, Date and Connection."""
    body: bytes = b""
    close: bool = False
    """The connection ends after this answer."""
    written: Callable[[], None] | None = None
    """Called when the kernel has the last byte of the answer."""


class DateField:
    """The value of Date. It is made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._text = time.strftime(IMF_FIXDATE, time.gmtime(second))
        return self._text
