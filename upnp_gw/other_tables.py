"""What the tables of others do to our traffic, read at the start, when they change, and every 30 seconds.

Static forwards (SR-24), what stands before the IPv6 addresses of the LAN, and chains that drop what we let in.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from upnp_gw.errors import FirewallError
from upnp_gw.firewall.nftables.inspect import ForwardDrop, forward_drops, ipv6_firewall, pinhole_drops, static_ports
from upnp_gw.model import Transport
from upnp_gw.network import Network
from upnp_gw.request import Ipv6Firewall

log = logging.getLogger(__name__)

ANYWAY_S = 30.0
"""They are read that often even where no event came."""
GATHER_S = 0.1
"""How long the events of one change are gathered. A port that another table forwards is grantable for so long."""
PAUSE = 10
"""After a reading nothing is read for this many times as long as it took: a program that loads a large block list
element by element takes a tenth of the nftables thread at most."""

Ruleset = dict[str, Any]


class Reader(Protocol):
    """The firewall, as far as it reads what is not ours."""

    on_other_tables: Callable[[], None]
    """A table of others changed."""

    async def read_ruleset(self) -> Ruleset: ...


class OtherTables:
    """The latest of them. ``follow`` keeps it current; without a ``reader`` there are none."""

    def __init__(self, network: Callable[[], Network], reader: Reader | None = None) -> None:
        self._network = network
        self._reader = reader
        self._changed = asyncio.Event()
        if reader is not None:
            reader.on_other_tables = self.changed
        self.static_ports: frozenset[tuple[Transport, int]] = frozenset()
        """External ports that they lead elsewhere."""
        self.ipv6_firewall = Ipv6Firewall()
        """As they make it, where ours filters nothing."""
        self.drops: tuple[ForwardDrop, ...] = ()
        """Their chains that drop what a mapping lets in."""
        self.pinhole_drops: tuple[ForwardDrop, ...] = ()
        """Their chains that drop what a pinhole lets in."""
        self.on_ipv6_firewall: Callable[[], None] = lambda: None
        """``ipv6_firewall`` has changed."""
        self.on_read: Callable[[], None] = lambda: None
        """They were read again."""

    def changed(self) -> None:
        """They may have changed, or what they are judged by: the external addresses, the interfaces."""
        self._changed.set()

    async def refresh(self) -> None:
        """Reads them now."""
        if self._reader is None:
            return
        try:
            ruleset = await self._reader.read_ruleset()
        except FirewallError as error:
            log.warning("the other tables cannot be read: %s", error)
            return
        before = self.ipv6_firewall
        try:
            self._judge(ruleset)
        except Exception:
            # a form that is not known yet must neither keep the daemon from starting nor end ``follow``
            log.exception("the other tables cannot be understood: what was known of them stays")
            return
        if self.ipv6_firewall != before:
            self.on_ipv6_firewall()
        self.on_read()

    def _judge(self, ruleset: Ruleset) -> None:
        """All of it or nothing."""
        network = self._network()
        wan, lans = network.wan.name, [link.name for link in network.lans]
        found = (
            static_ports(ruleset, network.external, wan),
            ipv6_firewall(ruleset, wan, lans),
            tuple(forward_drops(ruleset, wan, lans)),
            tuple(pinhole_drops(ruleset, wan, lans)),
        )
        self.static_ports, self.ipv6_firewall, self.drops, self.pinhole_drops = found

    async def follow(self) -> None:
        """Reads them again and again, until it is cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            try:
                async with asyncio.timeout(ANYWAY_S):
                    await self._changed.wait()
                await asyncio.sleep(GATHER_S)
            except TimeoutError:
                pass
            self._changed.clear()
            began = clock()
            await self.refresh()
            await asyncio.sleep(PAUSE * (clock() - began))
