"""The other end of a datagram."""

from dataclasses import dataclass

from upnp_gw.model.mapping import IPAddress


@dataclass(frozen=True, slots=True)
class Peer:
    """The source of a datagram, to which its answer goes."""

    address: IPAddress
    port: int
    """0..65535; 0 cannot be answered."""
