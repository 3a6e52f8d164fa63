"""What this host listens on and other hosts can reach: the candidates of ``upnp-gw request --listening``."""

from collections.abc import Iterable
from dataclasses import dataclass

from upnp_gw.model.mapping import IPAddress, Transport
from upnp_gw.system.listening_ports import find_bound, read_ephemeral
from upnp_gw.system.sock_diag import BoundSocket


@dataclass(frozen=True, slots=True, order=True)
class ListeningPort:
    """One port."""

    transport: Transport
    port: int

    def __str__(self) -> str:
        return f"{self.transport}/{self.port}"


def listeners(bound: Iterable[BoundSocket], ephemeral: tuple[int, int]) -> list[ListeningPort]:
    """Each port once, sorted. Sockets of loopback and link-local addresses are nobody else's business, and UDP in
    the ephemeral range is a client's, not a server's."""
    low, high = ephemeral
    return sorted(
        {
            ListeningPort(one.transport, one.port)
            for one in bound
            if not _private(one.address) and not (one.transport is Transport.UDP and low <= one.port <= high)
        }
    )


def of_this_host() -> list[ListeningPort]:
    """Asks the kernel."""
    return listeners(find_bound(), read_ephemeral())


def _private(address: IPAddress) -> bool:
    return address.is_loopback or address.is_link_local or address.is_multicast
