"""The gateway above: one between this gateway and the internet, which is asked for what the gate here granted.

A request is in the addresses of the WAN link. ``upnp_gw.upstream`` asks, and the engine decides who is asked for
what. Its answers are foreign: the values here are checked, and every reason is a sentence of our own.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from upnp_gw.model.mapping import Endpoint, IPAddress, Transport, Via
from upnp_gw.model.request import Refusal


class AboveKey(NamedTuple):
    """Names one mapping of the gateway above."""

    transport: Transport
    internal: Endpoint


@dataclass(frozen=True, slots=True)
class AboveRequest:
    """A mapping that the gateway above is asked for, asked to renew, or asked to delete."""

    transport: Transport
    internal: Endpoint
    """The WAN address of this gateway and its external port; the host's own endpoint for a pinhole."""
    external: Endpoint | None
    """The suggested outermost endpoint, at a renewal and a delete the granted one; None: the internal port at any
    address. With the address 0.0.0.0 or ::, this port at any address."""
    exact: bool
    """True: this external port or none (PREFER_FAILURE, AddPortMapping)."""
    lifetime_s: int
    """Requested seconds, > 0."""
    nonce: bytes
    """12 bytes: a PCP client's own, else random. The same for renewals and the delete, also after a restart."""
    description: str
    """Of the client, unescaped. Only IGD sends it, cut and escaped."""
    via: Via | None = None
    """The protocol that granted the lease, for a renewal and a delete; None: the first one that answers."""

    @property
    def key(self) -> AboveKey:
        """The name of the mapping."""
        return AboveKey(self.transport, self.internal)

    @property
    def wanted_port(self) -> int:
        """The external port: the suggested one, else the internal one."""
        return (self.external.port if self.external is not None else 0) or self.internal.port

    @property
    def renews(self) -> bool:
        """True where the outermost endpoint was granted before."""
        return self.external is not None and not self.external.address.is_unspecified


@dataclass(frozen=True, slots=True)
class AboveGranted:
    """The lease of the gateway above."""

    via: Via
    gateway: IPAddress
    external: Endpoint
    """The outermost endpoint that it told. Never one of our own or of our LANs."""
    lifetime_s: int
    """1 to the requested seconds. Those for IGD without leases (error 725), renewed like the others."""


@dataclass(frozen=True, slots=True)
class AboveRefused:
    """No lease, and nothing is left above."""

    via: Via
    gateway: IPAddress
    refusal: Refusal
    reason: str
    """Our sentence: ``the gateway above at 192.168.1.1 refused: it does not allow it``."""
    retry_s: int
    """Seconds for which the same answer is expected, 1..1800. The same request is not sent again within them."""


@dataclass(frozen=True, slots=True)
class AboveSilent:
    """No answer within the time, or no gateway above. A mapping may be there if the answer was lost."""

    gateway: IPAddress | None
    reason: str
    """Our sentence: ``the gateway above at 192.168.1.1 does not answer``."""


AboveReply = AboveGranted | AboveRefused | AboveSilent


@dataclass(frozen=True, slots=True)
class AboveState:
    """The gateway above for IPv4, for ``status``, ``doctor`` and the page."""

    gateway: IPAddress | None
    """None: the WAN has no default route to one, and none is configured."""
    via: Via | None = None
    """The protocol that answered last; None: none has."""
    answers_since: float | None = None
    """BOOTTIME seconds of the first answer since it was silent; None: it is silent or was never asked."""
    silent_since: float | None = None
    """BOOTTIME seconds of the first request without an answer; None: it answers or was never asked."""
    external: IPAddress | None = None
    """The external IPv4 address that it told last."""
    loop: bool = False
    """True: it leads back to this gateway."""
    problem: str = ""
    """Our sentence, what is wrong with it: a loop, no route, foreign answers; empty: nothing is."""


class AboveEvents(Protocol):
    """The engine. Called on the event loop, without an ``ask`` before it."""

    def on_state_lost(self) -> None:
        """The gateway above may have lost every mapping: by its epoch, its BOOTID, or its answers. At most once in
        two seconds."""
        ...

    def on_external_address(self, address: IPAddress) -> None:
        """The gateway above told another external IPv4 address than before."""
        ...

    def on_mapping_update(self, key: AboveKey, reply: AboveGranted | AboveRefused) -> None:
        """An unsolicited MAP response (RFC 6887 section 14.2) for a mapping that it granted."""
        ...


class GatewayAbove(Protocol):
    """Asks the gateway above. Neither method raises; both end within ``timeout_s`` seconds, but for the moment that
    a cancelled socket takes."""

    async def ask(self, request: AboveRequest, timeout_s: float) -> AboveReply:
        """Requests or renews a mapping."""
        ...

    async def release(self, request: AboveRequest, timeout_s: float) -> AboveRefused | AboveSilent | None:
        """Deletes a mapping; None: it is gone, or there was none."""
        ...

    def leads_back(self) -> None:
        """A request to it came back to this gateway. Its state says so until it grants something."""
        ...

    def state(self) -> AboveState: ...
