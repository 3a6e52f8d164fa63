"""Another policy for the real gate. Mappings that it does not allow end at once."""

from dataclasses import dataclass
from typing import Annotated

from upnp_gw.testing.fault import Fault, Router, Seam, Strikes

NOBODY = 'version = 1\ndefault = "deny"\n'
ONE_GRANT = """version = 1
default = "deny"
[limits]
total_mappings = 1024
per_device = 1024
requests_per_minute = 6000
incident_after = 1000
on_incident = "log"
[[grant]]
name = "emulator"
who = "*"
int_ports = ["1024-65535"]
"""
"""Everybody's ports from 1024 on, without the limits of the home policy."""


@dataclass(eq=False)
class PolicyFault(Fault):
    """The policy is another one until it is taken back."""

    seam = Seam.POLICY
    strikes = Strikes.BEFORE
    waits = True

    def policy(self) -> str:
        """The text of the policy."""
        return NOBODY

    async def begin(self, router: Router) -> None:
        await router.load_policy(self, self.policy())

    async def end(self, router: Router) -> None:
        await router.drop_policy(self)


@dataclass(eq=False)
class Policy(PolicyFault):
    """The text of any policy file (docs/policy-guide.md): the gate decides by it."""

    text: Annotated[str, "TOML"]

    def policy(self) -> str:
        return self.text


@dataclass(eq=False)
class DenyAll(PolicyFault):
    """The policy allows nothing: 606, REFUSED over NAT-PMP, NOT_AUTHORIZED over PCP. Mappings end."""


@dataclass(eq=False)
class WithoutLimits(PolicyFault):
    """The policy allows every port from 1024 on, without the limits of the home policy: 8 mappings of a device at a
    time, 12 ports a day."""

    def policy(self) -> str:
        return ONE_GRANT


@dataclass(eq=False)
class OnlyExternalPorts(PolicyFault):
    """The policy allows external ports of one range only. AddPortMapping gets 606 for others; where the protocol
    lets the gateway choose, it chooses one of them."""

    first: Annotated[int, "1024 to 65535"] = 50000
    last: Annotated[int, "1024 to 65535"] = 50099

    def policy(self) -> str:
        return f'{ONE_GRANT}ext = "{self.first}-{self.last}"\nfamily = ["ip4"]\n'


@dataclass(eq=False)
class EndedByPolicy(PolicyFault):
    """Some mappings end now, by a policy that is in force for this moment only."""

    strikes = Strikes.AT_ONCE
    once = True

    async def begin(self, router: Router) -> None:
        await router.load_policy(self, self.policy())
        await router.drop_policy(self)


@dataclass(eq=False)
class MappingsGone(EndedByPolicy):
    """The port mappings are gone. PCP clients are told, UPnP clients get an event."""

    def policy(self) -> str:
        return f'{ONE_GRANT}family = ["ip6"]\n'


@dataclass(eq=False)
class PinholesGone(EndedByPolicy):
    """The IPv6 pinholes are gone: 704 for their UniqueIDs."""

    def policy(self) -> str:
        return f'{ONE_GRANT}family = ["ip4"]\n'
