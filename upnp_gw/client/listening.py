"""The ports of this host that other hosts can reach: ``upnp-gw request --listening`` offers to open them."""

from collections.abc import Iterable
from dataclasses import dataclass

from upnp_gw.model.mapping import IPAddress, Transport
from upnp_gw.system.listening_ports import find_bound, read_ephemeral
from upnp_gw.system.sock_diag import BoundSocket


@dataclass(frozen=True, slots=True, order=True)
class ListeningPort:
    transport: Transport
    port: int

    def __str__(self) -> str:
        return f"{self.transport}/{self.port}"


def listeners(bound: Iterable[BoundSocket], ephemeral: tuple[int, int]) -> list[ListeningPort]:
    """Each port once, sorted. Leaves out loopback and link-local addresses, which other networks cannot reach, and
    UDP ports in the ephemeral range, which clients use."""
    low, high = ephemeral
    return sorted(
        {
            ListeningPort(socket.transport, socket.port)
            for socket in bound
            if not _private(socket.address)
            and not (socket.transport is Transport.UDP and low <= socket.port <= high)
        }
    )


def of_this_host() -> list[ListeningPort]:
    """The listening ports of this host, by the kernel."""
    return listeners(find_bound(), read_ephemeral())


def _private(address: IPAddress) -> bool:
    return address.is_loopback or address.is_link_local or address.is_multicast
