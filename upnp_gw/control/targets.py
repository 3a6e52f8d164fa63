"""Finds the device that a command names, by its name in the policy, its MAC address or an IP address."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address

from upnp_gw import api
from upnp_gw.engine.decider import Decider
from upnp_gw.gate.operator_rules import CommandTarget, OperatorRules
from upnp_gw.model.device import mac_of
from upnp_gw.model.mapping import IPAddress

Probe = Callable[[IPAddress, str], Awaitable[bool]]
"""True if the host answers."""


class Targets:
    """The devices of commands."""

    def __init__(self, decider: Decider, probe: Probe) -> None:
        self._decider = decider
        self._environment = decider.environment
        self._probe = probe

    async def find(self, text: str) -> CommandTarget | api.Problem:
        """A device by its name, MAC address or IP address."""
        await self._resolve(text)
        environment = self._environment
        rules = OperatorRules(self._decider.in_force.policy, environment.clock().wall, environment.network.main_lan)
        found = rules.target(text, environment.neighbours, environment.network)
        if isinstance(found, str):
            return api.Problem(error="invalid", message=found, field="device")
        known = {each for d in found.devices for each in self._ids(d)}
        return CommandTarget(tuple(sorted(known)), found.name, found.suggested)

    async def _resolve(self, text: str) -> None:
        """Asks the kernel for the MAC address of an address without a neighbour entry."""
        try:
            address = ip_address(text)
        except ValueError:
            return
        network = self._environment.network
        if network.is_gateway(address) or self._environment.host_of(address) is not None:
            return
        for link in network.lans:
            if network.on_link(address, link.name):
                with suppress(OSError):
                    if await self._probe(address, link.name):
                        self._environment.hosts.lookup(address, link.name)

    def _ids(self, device: str) -> set[str]:
        """The identifiers of a device: an address that has a MAC address now counts by both."""
        return {device} if mac_of(device) else {device, self._environment.device_of(ip_address(device))}
