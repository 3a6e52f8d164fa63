"""PCP clients told unasked that their mapping is another now, or gone (RFC 6887 section 14.2): three times each.

Where a client was last heard from is remembered for each mapping, in memory alone: after a restart the
announcements do the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from upnp_gw.protocols.retransmit import UPDATES, Series
from upnp_gw.servers.port5351.socket import SocketAddress, SocketKey

Build = Callable[[int], bytes | None]
"""The epoch's seconds -> the message; None: there is nothing to tell any more."""


@dataclass(frozen=True, slots=True)
class ClientContact:
    """Where the last answered request for a mapping came from."""

    key: SocketKey
    peer: SocketAddress
    insists: bool
    """It was made with PREFER_FAILURE and our external address: without that the client has no use for it."""


@dataclass(slots=True)
class _Update:
    contact: ClientContact
    build: Build
    series: Series = field(default_factory=lambda: Series(UPDATES))


class MappingUpdates:
    """Contacts and the updates under way, by mapping id."""

    def __init__(self) -> None:
        self._contacts: dict[str, ClientContact] = {}
        self._updates: dict[str, _Update] = {}

    def __len__(self) -> int:
        """How many updates are under way."""
        return len(self._updates)

    def answered(self, mapping: str, contact: ClientContact) -> None:
        """The client was given a success: it knows the mapping as it is."""
        self._contacts[mapping] = contact
        self._updates.pop(mapping, None)

    def forget(self, mapping: str) -> ClientContact | None:
        """The mapping is gone, or the client released it. An update that tells of the loss goes on."""
        return self._contacts.pop(mapping, None)

    def contacts(self) -> dict[str, ClientContact]:
        return dict(self._contacts)

    def tell(self, mapping: str, contact: ClientContact, build: Build, now: float) -> None:
        """Begins an update, in the place of one that is under way."""
        update = self._updates[mapping] = _Update(contact, build)
        update.series.begin(now)

    def due(self, now: float, epoch_s: int) -> list[tuple[ClientContact, bytes]]:
        """What to send now."""
        found: list[tuple[ClientContact, bytes]] = []
        for mapping, update in list(self._updates.items()):
            if update.series.take_due(now):
                message = update.build(epoch_s)
                if message is not None:
                    found.append((update.contact, message))
                else:
                    update.series.stop()
            if update.series.next_deadline() is None:
                del self._updates[mapping]
        return found

    def next_deadline(self) -> float | None:
        deadlines = [at for update in self._updates.values() if (at := update.series.next_deadline()) is not None]
        return min(deadlines, default=None)
