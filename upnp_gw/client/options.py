"""The options of a request, and the interface that the links of all protocols have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from upnp_gw.client.mapping_request import MappingLease, RequestedMapping
from upnp_gw.model.mapping import IPAddress, Via

ORDER = (Via.PCP, Via.NATPMP, Via.IGD2)
"""The protocols that are tried, in this order. IGD2 stands for IGD 1 and 2."""


class ClientLink(Protocol):
    """An open link to one gateway over one protocol. ``lease``: the current one; None: there is none yet."""

    @property
    def via(self) -> Via: ...
    async def ask(
        self, request: RequestedMapping, lease: MappingLease | None, timeout_s: float
    ) -> MappingLease: ...
    async def release(
        self, request: RequestedMapping, lease: MappingLease | None, timeout_s: float
    ) -> MappingLease: ...

    async def wait_for_change(self, request: RequestedMapping, lease: MappingLease) -> None:
        """Returns when the gateway reports that the lease is lost or has changed."""
        ...


@dataclass(frozen=True, slots=True)
class ClientOptions:
    nonce: Callable[[RequestedMapping], bytes]
    """The PCP nonce of a request, 12 bytes; see ``secret.nonces``."""
    vias: Sequence[Via] = ORDER
    gateway: IPAddress | None = None
    """None: that of the default route."""
    source: IPAddress | None = None
    """The address of this host that the port leads to; None: the one that the kernel uses towards the gateway."""
    timeout_s: float = 4.0
    """Seconds to wait for an answer over each protocol."""
