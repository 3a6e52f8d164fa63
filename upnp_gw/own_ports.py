"""External ports that are not ours to give (SR-24): the gateway's listeners, static rules of other tables.

And what those other tables do to IPv6 from the internet: it is the same reading of them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from upnp_gw.errors import FirewallError
from upnp_gw.firewall.nftables.inspect import ipv6_firewall, static_ports
from upnp_gw.model import Transport
from upnp_gw.network import GatewayPorts, Network
from upnp_gw.request import Ipv6Firewall

log = logging.getLogger(__name__)

STATIC_S = 30.0
"""How often other tables are read. A listener is looked for at each decision."""

Ruleset = dict[str, Any]


class OwnPorts:
    """Call it for the latest. ``follow`` keeps the static half current; without ``read_ruleset`` there is none."""

    def __init__(
        self,
        listening: Callable[[], frozenset[tuple[Transport, int]]],
        network: Callable[[], Network],
        read_ruleset: Callable[[], Awaitable[Ruleset]] | None,
    ) -> None:
        self._listening = listening
        self._network = network
        self._read_ruleset = read_ruleset
        self._static: frozenset[tuple[Transport, int]] = frozenset()
        self.ipv6_firewall = Ipv6Firewall()
        """As other tables make it, where ours filters nothing."""
        self.on_ipv6_firewall: Callable[[], None] = lambda: None
        """It has changed."""

    def __call__(self) -> GatewayPorts:
        return GatewayPorts(self._listening(), self._static)

    async def refresh(self) -> None:
        if self._read_ruleset is None:
            return
        try:
            ruleset = await self._read_ruleset()
        except FirewallError as error:
            log.warning("the other tables cannot be read: %s", error)
            return
        network, before = self._network(), self.ipv6_firewall
        try:
            self._static = static_ports(ruleset, network.external, network.wan.name)
            self.ipv6_firewall = ipv6_firewall(ruleset, network.wan.name, [link.name for link in network.lans])
        except Exception:
            # a form that is not known yet must neither keep the daemon from starting nor end ``follow``
            log.exception("the other tables cannot be understood: their static ports are as they were")
            return
        if self.ipv6_firewall != before:
            self.on_ipv6_firewall()

    async def follow(self) -> None:
        while True:
            await asyncio.sleep(STATIC_S)
            await self.refresh()
