"""Other external addresses, and a WAN that is down. The gateway learns of them as a router does."""

from dataclasses import dataclass
from typing import Annotated

from upnp_gw.testing.fault import Fault, Router, Seam, Strikes


@dataclass(eq=False)
class WanFault(Fault):
    """It is over when it is taken back: the WAN is as it was before."""

    seam = Seam.MACHINE
    strikes = Strikes.AT_ONCE
    waits = True

    def __post_init__(self) -> None:
        self._before = "", True

    async def begin(self, router: Router) -> None:
        self._before = router.external_address, router.wan_up
        await self.change(router)

    async def change(self, router: Router) -> None:
        """Changes the WAN."""

    async def end(self, router: Router) -> None:
        await router.change_wan(*self._before)


@dataclass(eq=False)
class WanDown(WanFault):
    """The link to the internet is down: the connection status is Disconnected, and there is no external address."""

    async def change(self, router: Router) -> None:
        await router.change_wan(router.external_address, False)


@dataclass(eq=False)
class ExternalAddress(WanFault):
    """The external address is another one, with a new epoch of NAT-PMP and PCP and an event."""

    address: Annotated[str, "IPv4 address; empty: there is none"] = "203.0.113.7"

    async def change(self, router: Router) -> None:
        await router.change_wan(self.address, router.wan_up)


@dataclass(eq=False)
class PrivateExternalAddress(ExternalAddress):
    """The external address is a private one: there is another NAT before the internet."""

    address: Annotated[str, "IPv4 address"] = "192.168.1.7"


@dataclass(eq=False)
class SharedExternalAddress(ExternalAddress):
    """The external address is of 100.64.0.0/10, as behind a carrier's NAT (RFC 6598)."""

    address: Annotated[str, "IPv4 address"] = "100.64.0.7"


@dataclass(eq=False)
class NoExternalAddress(ExternalAddress):
    """The WAN is up and has no address yet: the external address is empty."""

    address: Annotated[str, "empty"] = ""


@dataclass(eq=False)
class UnspecifiedExternalAddress(ExternalAddress):
    """The external address is 0.0.0.0, as of a router that is connecting."""

    address: Annotated[str, "IPv4 address"] = "0.0.0.0"
