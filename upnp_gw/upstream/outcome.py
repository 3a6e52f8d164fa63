"""The answer of one protocol of the gateway above, checked. Pure.

What it told is foreign: an address that cannot be outside, one of our own, a port or a lifetime that nobody asked
for end as a refusal.
"""

from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from upnp_gw.model.above import AboveRefused, AboveRequest
from upnp_gw.model.mapping import Endpoint, IPAddress, Via
from upnp_gw.model.network import Network
from upnp_gw.model.request import Refusal

RETRY_MOST_S = 1800
"""Longest time for which a refusal is believed, seconds (RFC 6887 section 7.4)."""
RETRY_S = 30
"""The same if the gateway above says nothing about it."""
LEAST_S = 5
"""A shorter lease ends before it can be renewed."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The gateway above granted it."""

    external: Endpoint
    lifetime_s: int


@dataclass(frozen=True, slots=True)
class Denial:
    """It refused. ``words``: ours, the end of ``the gateway above at ... refused: ...``."""

    refusal: Refusal
    words: str
    retry_s: int = RETRY_S
    loop: bool = False
    """It leads back to this gateway."""
    undo: bool = False
    """A mapping stands above that nobody wants: delete it."""
    everything: bool = False
    """It will refuse everything for ``retry_s`` seconds (ADDRESS_MISMATCH)."""
    no_address: bool = False
    """It has no external address now."""


@dataclass(frozen=True, slots=True)
class NotServed:
    """The protocol, or this kind of mapping over it, is not served: the next protocol is tried."""

    words: str
    always: bool = True
    """False: only this kind of mapping is not."""


Outcome = Lease | Denial | NotServed
NO_ADDRESS = Denial(Refusal.NO_EXTERNAL_ADDRESS, "it has no external address", no_address=True)


def checked(outcome: Outcome, request: AboveRequest, network: Network) -> Outcome:
    """The outcome, or a refusal where a granted lease cannot be used."""
    if not isinstance(outcome, Lease):
        return replace(outcome, retry_s=bounded_retry(outcome.retry_s)) if isinstance(outcome, Denial) else outcome
    external = outcome.external
    if external.port == 0 or outcome.lifetime_s < LEAST_S:
        return Denial(Refusal.NO_PORT, "it granted a lease that cannot be used", undo=True)
    if leads_back(external.address, network) and external != request.internal:
        return Denial(Refusal.NO_EXTERNAL_ADDRESS, "it leads back to this gateway", loop=True, undo=True)
    if not is_outside(external.address, request.internal.address):
        return replace(NO_ADDRESS, undo=True)
    if request.exact and external.port != request.wanted_port:
        return Denial(Refusal.CONFLICT, "the external port is in use", undo=True)
    return replace(outcome, lifetime_s=min(outcome.lifetime_s, request.lifetime_s))


def is_outside(external: IPAddress, internal: IPAddress) -> bool:
    """True for an address that hosts outside may send to. A private one may be: there is one more NAT above."""
    if external.version != internal.version:
        return False
    if external.is_unspecified or external.is_loopback or external.is_multicast:
        return external == internal  # a pinhole on the loopback, in tests and the emulator
    limited = isinstance(external, IPv4Address) and (external.packed[0] == 0 or external.packed[0] >= 240)
    return not limited and not external.is_link_local


def is_believed(external: IPAddress, own: IPAddress, network: Network) -> bool:
    """True for an external address that clients may be told. ``own``: ours, as told without NAT."""
    return is_outside(external, own) and (external == own or not leads_back(external, network))


def leads_back(external: IPAddress, network: Network) -> bool:
    """True for an address of this gateway, and for one in a LAN: the gateway above has its own way out through us.

    A WAN prefix that a LAN has too says nothing.
    """
    on_wan = any(external.version == net.version and external in net for net in network.wan.networks)
    return network.is_gateway(external) or (network.on_lan(external) and not on_wan)


def refused_by(via: Via, gateway: IPAddress, denial: Denial, retry_s: int = 0) -> AboveRefused:
    """The refusal for the engine. ``retry_s``: what is left of its time; 0: all of it."""
    reason = f"the gateway above at {gateway} refused: {denial.words}"
    return AboveRefused(via, gateway, denial.refusal, reason, retry_s or denial.retry_s)


def bounded_retry(seconds: int) -> int:
    """The error lifetime that is believed, 1..1800 seconds."""
    return min(max(seconds, 1), RETRY_MOST_S)
