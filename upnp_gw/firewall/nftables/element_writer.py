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

    def write(self, edits: Edits) -> None:
        """Makes all of it in one transaction, or nothing and raises FirewallError (TooLarge among them)."""
        ...

    def close(self) -> None: ...


class LibnftablesWriter:
    def __init__(self, session: Session) -> None:
        self._session = session

    def write(self, edits: Edits) -> None:
        if edits:
            self._session.run(commands_of(edits))

    def close(self) -> None:
        """The session is its owner's."""


class NetlinkWriter:
    """Sends the messages itself. The sets of our own interfaces change rarely: libnftables renews them."""

    def __init__(self, session: Session) -> None:
        self._by_libnftables = LibnftablesWriter(session)
        self._socket = BatchSocket()

    def write(self, edits: Edits) -> None:
        if edits.own_sets:
            self._by_libnftables.write(edits)
        elif edits:
            self._send(edits)

    def close(self) -> None:
        self._socket.close()

    def _send(self, edits: Edits) -> None:
        messages = batch_of(edits)
        try:
            failures = self._socket.send_batch(b"".join(messages))
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise TooLarge("nftables: too large a change") from None
            raise FirewallError(f"nftables: {error.strerror}") from None
        if failures:
            raise refusal_of(edits, messages, failures[0])


def refusal_of(edits: Edits, messages: list[bytes], failure: Failure) -> FirewallError:
    """The error of the first message that the kernel refused."""
    reason = f"nftables: {plain_reason(os.strerror(failure.errno))}"
    if not 0 < failure.sequence < len(messages) - 1:
        return FirewallError(reason)
    step, name = step_at(edits, failure.sequence)
    at = element_at(messages[failure.sequence], failure.offset) if failure.offset is not None else None
    if step is None or at is None or at >= len(step.elements):
        return FirewallError(f"{reason} (in {name})")
    slot, element = step.elements[at]
    mapping = f", mapping {element.comment}" if element.comment else ""
    verb = "adding to" if step.adds else "deleting from"
    return ElementRefused(f"{reason} ({verb} {name}{mapping})", failure.errno, slot)


def writer_of(writing: Writing, session: Session) -> ElementWriter:
    """A writer in the network namespace of the calling thread. Raises OSError."""
    return NetlinkWriter(session) if writing is Writing.NETLINK else LibnftablesWriter(session)
