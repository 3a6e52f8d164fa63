"""PCP Mapping Updates (RFC 6887 section 14.2): clients are notified that their mapping has changed or ended,
three times each.

The address of each mapping's client is kept in memory only. After a restart the announcements make clients renew.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from upnp_gw.protocols.peer import Peer
from upnp_gw.protocols.retransmit import UPDATES, Series
from upnp_gw.servers.udp.socket import SocketKey

Build = Callable[[int], bytes | None]
"""Epoch seconds -> the message; None: the mapping has ended meanwhile, so there is no message."""


@dataclass(frozen=True, slots=True)
class ClientContact:
    """The socket and the sender of the last answered request for a mapping."""

    key: SocketKey
    peer: Peer
    insists: bool
    """The request had PREFER_FAILURE and our external address: another address is of no use to the client."""


@dataclass(slots=True)
class _Update:
    contact: ClientContact
    build: Build
    series: Series = field(default_factory=lambda: Series(UPDATES))


class MappingUpdates:
    """Contacts and running updates, by mapping id."""

    def __init__(self) -> None:
        self._contacts: dict[str, ClientContact] = {}
        self._updates: dict[str, _Update] = {}

    def __len__(self) -> int:
        """The number of running updates."""
        return len(self._updates)

    def answered(self, mapping_id: str, contact: ClientContact) -> None:
        """Notes a success sent to the client, which ends a running update: the client knows the mapping now."""
        self._contacts[mapping_id] = contact
        self._updates.pop(mapping_id, None)

    def forget(self, mapping_id: str) -> ClientContact | None:
        """Removes the contact of an ended mapping and returns it. A running update of it continues."""
        return self._contacts.pop(mapping_id, None)

    def contact(self, mapping_id: str) -> ClientContact | None:
        """The address and port of this mapping's client in its last request; None: not over PCP."""
        return self._contacts.get(mapping_id)

    def contacts(self) -> dict[str, ClientContact]:
        """A copy."""
        return dict(self._contacts)

    def begin(self, mapping_id: str, contact: ClientContact, build: Build, now: float) -> None:
        """Begins an update, and replaces a running one of the same mapping."""
        update = self._updates[mapping_id] = _Update(contact, build)
        update.series.begin(now)

    def due(self, now: float, epoch_s: int) -> list[tuple[ClientContact, bytes]]:
        """The messages to send now."""
        messages: list[tuple[ClientContact, bytes]] = []
        for mapping_id, update in list(self._updates.items()):
            if update.series.take_due(now):
                message = update.build(epoch_s)
                if message is not None:
                    messages.append((update.contact, message))
                else:
                    update.series.stop()
            if update.series.next_deadline() is None:
                del self._updates[mapping_id]
        return messages

    def next_deadline(self) -> float | None:
        """BOOTTIME seconds; None: no update is running."""
        deadlines = [at for update in self._updates.values() if (at := update.series.next_deadline()) is not None]
        return min(deadlines, default=None)
