"""Writes edits of map elements into the kernel: as netlink messages of our own, or through libnftables.

libnftables reads tables, chains, sets, objects and flowtables before each transaction. That costs several times as
much as the transaction itself.
"""

import errno
import os
from enum import StrEnum
from typing import Protocol

from upnp_gw.firewall.libnftables import Session, TooLarge, plain_reason
from upnp_gw.firewall.netlink import BatchSocket, Failure
from upnp_gw.firewall.nftables.element_edits import Edits
from upnp_gw.firewall.nftables.element_messages import batch_of, element_at, step_at
from upnp_gw.firewall.nftables.element_text import commands_of
from upnp_gw.firewall.nftables.elements import Slot
from upnp_gw.firewall.nftables.host_messages import batches
from upnp_gw.firewall.nftables.own_set_messages import own_messages
from upnp_gw.firewall.nftables.screens import hosts_filled
from upnp_gw.model.address_ranges import AddressRanges
from upnp_gw.model.errors import FirewallError


class Writing(StrEnum):
    """The two ways of writing elements. The kernel has the same after both."""

    NETLINK = "netlink"
    LIBNFTABLES = "libnftables"


class ElementRefused(FirewallError):
    """The kernel refused an element."""

    def __init__(self, message: str, number: int, slot: Slot) -> None:
        super().__init__(message)
        self.errno = number
        self.slot = slot


class ElementWriter(Protocol):
    """Use it only on the thread that made it."""

    def fill_hosts(self, hosts: str, before: AddressRanges, now: AddressRanges) -> None:
        """Brings the interval sets of these hosts from ``before`` to ``now``, in several transactions if they are
        long. Raises FirewallError; what the sets have then is not known."""
        ...

    def write(self, edits: Edits) -> None:
        """Makes all of it in one transaction, or nothing and raises FirewallError (TooLarge among them)."""
        ...

    def close(self) -> None: ...


class LibnftablesWriter:
    def __init__(self, session: Session) -> None:
        self._session = session

    def fill_hosts(self, hosts: str, before: AddressRanges, now: AddressRanges) -> None:
        if commands := hosts_filled(hosts, before, now):
            self._session.run(commands)

    def write(self, edits: Edits) -> None:
        if edits:
            self._session.run(commands_of(edits))

    def close(self) -> None:
        """The session is its owner's."""


class NetlinkWriter:
    """Sends the messages itself."""

    def __init__(self) -> None:
        self._socket = BatchSocket()

    def fill_hosts(self, hosts: str, before: AddressRanges, now: AddressRanges) -> None:
        for messages in batches(hosts, before, now):
            failures = self._sent(messages)
            if failures:
                reason = plain_reason(os.strerror(failures[0].errno))
                raise FirewallError(f"nftables: {reason} (in a list of remote hosts)")

    def write(self, edits: Edits) -> None:
        if edits:
            self._send(edits)

    def close(self) -> None:
        self._socket.close()

    def _send(self, edits: Edits) -> None:
        own = list(own_messages(edits.network))
        messages = batch_of(edits, own)
        if failures := self._sent(messages):
            raise refusal_of(edits, messages, failures[0], len(own))

    def _sent(self, messages: list[bytes]) -> list[Failure]:
        try:
            return self._socket.send_batch(b"".join(messages))
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise TooLarge("nftables: too large a change") from None
            raise FirewallError(f"nftables: {error.strerror}") from None


def refusal_of(edits: Edits, messages: list[bytes], failure: Failure, own: int = 0) -> FirewallError:
    """The error of the first message that the kernel refused. ``own``: as for ``step_at``."""
    reason = f"nftables: {plain_reason(os.strerror(failure.errno))}"
    if not 0 < failure.sequence < len(messages) - 1:
        return FirewallError(reason)
    step, name = step_at(edits, failure.sequence, own)
    at = element_at(messages[failure.sequence], failure.offset) if failure.offset is not None else None
    if step is None or at is None or at >= len(step.elements):
        return FirewallError(f"{reason} (in {name})")
    slot, element = step.elements[at]
    mapping = f", mapping {element.comment}" if element.comment else ""
    verb = "adding to" if step.adds else "deleting from"
    return ElementRefused(f"{reason} ({verb} {name}{mapping})", failure.errno, slot)


def writer_of(writing: Writing, session: Session) -> ElementWriter:
    """A writer in the network namespace of the calling thread. Raises OSError."""
    return NetlinkWriter() if writing is Writing.NETLINK else LibnftablesWriter(session)
