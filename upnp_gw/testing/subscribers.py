"""The event subscriptions of the emulator, as a test compares them."""

from dataclasses import dataclass

from upnp_gw.model.mapping import Instant
from upnp_gw.protocols.gena.subscriptions import ActiveSubscription
from upnp_gw.testing.mappings import seconds_left


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One event subscription."""

    client: str
    """The subscriber's address."""
    service: str
    """As ``WANIPConnection``."""
    version: int
    """1 or 2: the version of InternetGatewayDevice."""
    sid: str
    callback: str
    """The first URL of its events."""
    next_seq: int
    """The number of the next event; 0: none was sent yet."""
    left_s: int
    """Seconds until the subscription ends, rounded up."""

    def __str__(self) -> str:
        return f"{self.client} to {self.service} at {self.callback}, next SEQ {self.next_seq}, {self.left_s} s left"


def subscriber(row: ActiveSubscription, now: Instant) -> Subscriber:
    """An event subscription as of now."""
    callback = row.callbacks[0]
    return Subscriber(
        client=str(row.source.address),
        service=row.service.name,
        version=row.igd_version.version,
        sid=row.sid,
        callback=f"http://{callback.host}{callback.target}",
        next_seq=row.next_seq,
        left_s=seconds_left(row.expires_at, now.boot),
    )
