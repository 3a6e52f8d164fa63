"""Knows if a page for people runs beside the daemon (``upnp-gw page``): the ``presentationURL`` leads there.

The page says so with the connection on which it follows the events: it is there as long as that connection is.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class StatusPage:
    def __init__(self) -> None:
        self._ports: list[int] = []

    @property
    def port(self) -> int:
        """The TCP port of the page on each LAN address; 0: no page runs, or it has none for the LAN."""
        return self._ports[-1] if self._ports else 0

    @contextmanager
    def runs(self, port: int) -> Iterator[None]:
        """The page is there within the block. The one that came last counts."""
        self._ports.append(port)
        try:
            yield
        finally:
            self._ports.remove(port)
