"""The router starts again."""

from dataclasses import dataclass
from typing import Annotated

from upnp_gw.testing.fault import Fault, Router, Seam, Strikes


@dataclass(eq=False)
class Reboot(Fault):
    """The router starts again: another BOOTID, epoch 0, no subscriptions."""

    seam = Seam.MACHINE
    strikes = Strikes.AT_ONCE
    once = waits = True

    keep_mappings: Annotated[bool, "leases go on"] = False
    new_urls: Annotated[bool, "other control URLs and UDNs"] = True
    new_port: Annotated[bool, "another HTTP port, so another LOCATION"] = False

    async def begin(self, router: Router) -> None:
        await router.reboot(self.keep_mappings, new_urls=self.new_urls, new_port=self.new_port)
