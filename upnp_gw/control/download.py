"""A file as an answer of the control server."""

from collections.abc import AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Download:
    """``portions`` gives the bytes of the file."""

    media: str
    size: int
    portions: AsyncIterator[bytes]
