"""A firewall that does not do what the gateway has asked, or says that it is off."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from upnp_gw.firewall.base import Change, Open, Refill
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.request import Ipv6Firewall
from upnp_gw.testing.fault import Fault, Router, Seam, Strikes


@dataclass(eq=False)
class FirewallFault(Fault):
    """It stands between the gateway and the firewall."""

    seam = Seam.FIREWALL


@dataclass(eq=False)
class NotForwarding(FirewallFault):
    """New mappings are granted and listed, and the firewall does not forward them: `HeldMapping.forwards` is False.
    Those from before go on until they are renewed."""

    def changes(self, changes: Sequence[Change], installed: Collection[str]) -> Sequence[Change]:
        kept = [Refill(()) if isinstance(change, Refill) else change for change in changes]
        return [change for change in kept if not isinstance(change, Open)]


@dataclass(eq=False)
class SlotTable(FirewallFault):
    """The firewall has room for so many mappings. One more is refused with 501, out of resources over NAT-PMP and
    PCP."""

    strikes = Strikes.BEFORE

    slots: Annotated[int, "the number of mappings"] = 16

    def changes(self, changes: Sequence[Change], installed: Collection[str]) -> Sequence[Change]:
        new = {change.forward.id for change in changes if isinstance(change, Open)} - set(installed)
        if new and len(installed) + len(new) > self.slots:
            raise FirewallError("every slot is taken")
        return changes


@dataclass(eq=False)
class FirewallFails(FirewallFault):
    """The firewall refuses every change: 501, out of resources over NAT-PMP and PCP."""

    strikes = Strikes.BEFORE

    def changes(self, changes: Sequence[Change], installed: Collection[str]) -> Sequence[Change]:
        raise FirewallError("the firewall does not answer")


@dataclass(eq=False)
class Ipv6FirewallFault(FirewallFault):
    """The firewall says another state of itself, and clients get an event."""

    strikes = Strikes.AT_ONCE

    def state(self, before: Ipv6Firewall) -> Ipv6Firewall:
        """The state that the firewall says."""
        return before

    async def begin(self, router: Router) -> None:
        router.change_ipv6_firewall(self.state(router.ipv6_firewall))

    async def end(self, router: Router) -> None:
        router.change_ipv6_firewall(Ipv6Firewall())


@dataclass(eq=False)
class Ipv6FirewallDisabled(Ipv6FirewallFault):
    """FirewallEnabled is 0: every action on pinholes gets 702."""

    def state(self, before: Ipv6Firewall) -> Ipv6Firewall:
        return replace(before, enabled=False)


@dataclass(eq=False)
class PinholesNotAllowed(Ipv6FirewallFault):
    """InboundPinholeAllowed is 0: every action on pinholes gets 703."""

    def state(self, before: Ipv6Firewall) -> Ipv6Firewall:
        return replace(before, pinholes=False)
