"""The control socket: the operator's HTTP/JSON API on a unix socket in the runtime directory.

It parses, calls the ``Operator`` and writes the answer; it decides nothing. Who may open the socket file is the
operator: its mode and its directory are the only lock.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from upnp_gw import api
from upnp_gw.request import Refused


class Operator(Protocol):
    """What the control socket asks of the daemon. Called on the event loop; nothing here raises on purpose."""

    async def mappings(self) -> list[api.Mapping]:
        """Every mapping, parked and disabled ones too, oldest first."""
        ...

    async def mapping(self, mapping_id: str) -> api.Mapping | None: ...

    async def add(self, asked: api.AddMapping) -> api.Mapping | Refused:
        """Through the gate as the operator: the floor only."""
        ...

    async def delete(self, mapping_id: str) -> api.Mapping | Refused:
        """Closes it and ends its flows at once; the answer is the mapping as it was, or NO_SUCH."""
        ...

    async def status(self) -> api.Status: ...

    async def decisions(self, wanted: api.DecisionFilter) -> list[api.Decision]:
        """The newest first, at most ``wanted.limit``."""
        ...

    async def devices(self) -> list[api.Device]: ...

    async def doctor(self) -> list[api.Check]: ...

    def events(self) -> AbstractAsyncContextManager[AsyncIterator[api.Event]]:
        """What happens from the moment of entering on (an ``asynccontextmanager`` that subscribes, yields a
        bounded queue's items and unsubscribes). It ends when its reader falls behind, or the daemon stops."""
        ...
