"""How a client asks for a port: which protocols, which gateway, how long it waits; and a link over one protocol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from upnp_gw.client.mapping_request import MappingLease, RequestedMapping
from upnp_gw.model.mapping import IPAddress, Via

ORDER = (Via.PCP, Via.NATPMP, Via.IGD2)
"""Which are tried, by default all of them in this order. IGD2 stands for both of its versions."""


class ClientLink(Protocol):
    """One protocol with one gateway, open."""

    @property
    def via(self) -> Via: ...
    async def ask(
        self, requested: RequestedMapping, got: MappingLease | None, patience_s: float
    ) -> MappingLease: ...
    async def release(
        self, requested: RequestedMapping, got: MappingLease | None, patience_s: float
    ) -> MappingLease: ...
    async def changed(self, requested: RequestedMapping, got: MappingLease) -> None: ...


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How to ask."""

    nonce: Callable[[RequestedMapping], bytes]
    vias: Sequence[Via] = ORDER
    gateway: IPAddress | None = None
    """None: the default route's."""
    source: IPAddress | None = None
    """One of our addresses; None: the one towards the gateway."""
    patience_s: float = 4.0
    """How long to wait for an answer over each protocol."""
