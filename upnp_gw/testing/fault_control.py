"""Puts faults in force on an emulated gateway, and takes them back."""

from collections.abc import Sequence

from upnp_gw.testing.gateway import EmulatedGateway
from upnp_gw.testing.options import EmulatorOptions
from upnp_gw.testing.rules import Rule


class FaultControl:
    """Use it on the gateway's event loop."""

    def __init__(self, gateway: EmulatedGateway) -> None:
        self._gateway = gateway
        self._shape: list[Rule] = []
        """The faults of the personality."""

    async def put_in_force(self, rule: Rule, place: int | None = None) -> None:
        """``place``: as ``Rules.add``. Raises ValueError where a fault cannot begin:
        it is not in force then."""
        if not any(fault.once for fault in rule.faults):
            self._gateway.rules.add(rule, place)
        try:
            for fault in rule.faults:
                await fault.begin(self._gateway)
        except BaseException:
            self._gateway.rules.remove(rule)
            raise

    async def take_back(self, rule: Rule) -> None:
        """Does nothing for a rule that is not in force."""
        if self._gateway.rules.remove(rule):
            for fault in rule.faults:
                await fault.end(self._gateway)

    async def take_all_back(self) -> None:
        """Every fault, the newest first. Those of the personality stay."""
        for rule in reversed(self._gateway.rules.all()):
            if rule not in self._shape:
                await self.take_back(rule)

    async def become(self, options: EmulatorOptions, rules: Sequence[Rule]) -> None:
        """Has the gateway start again where the options differ, on the same address and ports, with these faults of
        a personality in place of the ones so far. Mappings, identity and the other faults stay."""
        for rule in reversed(self._shape):
            await self.take_back(rule)
        self._shape = []
        if options != self._gateway.options:
            self._gateway.choose(options)
            await self._gateway.reboot(keep_mappings=True, new_urls=False)
        for rule in rules:
            await self.put_in_force(rule, len(self._shape))  # the faults of the test are newer, and answer first
            self._shape.append(rule)
