"""The gateway above, and the lease of a mapping there."""

from typing import Literal

from msgspec import Struct

from upnp_gw.api.values import Count, Port
from upnp_gw.model.mapping import Via


class Above(Struct, frozen=True, kw_only=True):
    """The lease of a mapping at the gateway above. The mapping's external address and port are those outside it."""

    state: Literal["waiting", "granted", "lost"]
    """waiting: it is asked for the first time; lost: it gave none, and the mapping is parked until it does."""
    gateway: str | None
    """null: no gateway above has answered yet."""
    via: Via | None
    """The protocol that granted it."""
    own_address: str | None
    """The external address here, which the gateway above leads to; null: there is none now."""
    own_port: Port
    """The external port here."""
    left_s: Count | None
    """Seconds until the lease above ends. This gateway renews it; null: none is granted."""
    problem: str | None = None
    """lost: the reason, in a sentence."""


class GatewayAbove(Struct, frozen=True, kw_only=True):
    """The gateway between this one and the internet."""

    gateway: str | None
    """Its address; null: the WAN has no route to one."""
    via: Via | None
    """The protocol that answered last; null: none has."""
    answers: bool | None
    """null: it was not asked yet."""
    since_s: Count | None
    """Seconds since it answers, or since it is silent."""
    external_address: str | None
    """The address outside, as it told it last."""
    address_kind: Literal["public", "private", "shared", "none"]
    """Of the address outside."""
    loop: bool
    """It leads back to this gateway: nothing is asked of it."""
    sentence: str
    """The chain, and where it ends: double NAT: 192.168.1.1 answers over pcp; outside is 198.51.100.7."""
