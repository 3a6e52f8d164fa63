"""Effects of other nftables tables on our traffic, read at the start, when they change, and every 30 seconds.

Static forwards (SR-24), filters before the LAN's IPv6 addresses, and chains that drop traffic that we let in or
that LAN hosts send to our servers. What follows rules (``judged_tables``) is loaded with the first other table.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from upnp_gw.config.settings import Config
from upnp_gw.engine.table_effects import NOTHING, Ruleset
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Transport
from upnp_gw.model.network import Network
from upnp_gw.model.request import Ipv6Firewall
from upnp_gw.protocols.mode import ServiceMode
from upnp_gw.protocols.ssdp.groups import PORT as SSDP_PORT

if TYPE_CHECKING:
    from upnp_gw.firewall.other_tables.drops import Drop
    from upnp_gw.firewall.other_tables.offload import FlowOffload
    from upnp_gw.firewall.other_tables.without_nat import Missing

log = logging.getLogger(__name__)

ANYWAY_S = 30.0
"""Seconds between readings without an event."""
PCP_PORT = 5351
GATHER_S = 0.1
"""Seconds to gather the events of one change. Until then a port that another table takes can still be granted."""
PAUSE = 10
"""The pause after a reading, as a multiple of its duration. So readings take at most a tenth of the nftables thread
while a program loads a large block list element by element."""


def served_ports(config: Config) -> tuple[tuple[Transport, int], ...]:
    """The ports of our servers on each LAN. An HTTP port that is not fixed is not among them."""
    udp = [SSDP_PORT, *([PCP_PORT] if ServiceMode.ON in (config.natpmp, config.pcp) else [])]
    return (
        *((Transport.UDP, port) for port in udp),
        *((Transport.TCP, port) for port in [config.http_port] if port),
    )


class Reader(Protocol):
    """The part of the firewall that reads other tables."""

    async def read_ruleset(self) -> Ruleset: ...


class OtherTables:
    """The latest reading of other tables. ``follow`` keeps it current; without a ``reader`` it is empty."""

    def __init__(
        self,
        network: Callable[[], Network],
        reader: Reader | None = None,
        served: Sequence[tuple[Transport, int]] = (),
        changed: asyncio.Event | None = None,
        on_ipv6_firewall: Callable[[], None] = lambda: None,
        router: bool = False,
    ) -> None:
        """``served``: the ports of our own servers, see ``served_ports``. ``changed`` is set when other tables may
        have changed; ``on_ipv6_firewall`` is called when ``ipv6_firewall`` has. ``router``: our own table filters
        forwarded traffic."""
        self._network = network
        self._reader = reader
        self._served = served
        self._changed = changed or asyncio.Event()
        self._on_ipv6_firewall = on_ipv6_firewall
        self._router = router
        self.static_ports: frozenset[tuple[Transport, int]] = frozenset()
        """External ports that other tables forward elsewhere."""
        self.ipv6_firewall = Ipv6Firewall()
        """The IPv6 firewall of other tables, where ours filters nothing."""
        self.drops: tuple[Drop, ...] = ()
        """Chains of other tables that drop mapped traffic, or packets of LAN hosts to our own servers."""
        self.missing: tuple[Missing, ...] = ()
        """The tasks of other firewalls for hosts without NAT."""
        self.offloads: tuple[FlowOffload, ...] = ()
        """Chains of other tables that let established flows bypass the forward chains."""

    def changed(self) -> None:
        """Call this if the tables, the external addresses or the interfaces may have changed."""
        self._changed.set()

    async def refresh(self) -> None:
        """Reads the tables now; after an error their last known state is kept."""
        if self._reader is None:
            return
        before = self.ipv6_firewall
        try:
            await self._judge(await self._reader.read_ruleset())
        except FirewallError as error:
            log.warning("the other tables cannot be read: %s", error)
            return
        except Exception:
            # an unknown form of a rule must neither prevent the daemon's start nor end ``follow``
            log.exception("the other tables cannot be interpreted: their last known state is kept")
            return
        if self.ipv6_firewall != before:
            self._on_ipv6_firewall()

    async def _judge(self, ruleset: Ruleset) -> None:
        """Evaluates a ruleset as a whole, in a thread: thousands of rules take a second."""
        network = self._network()
        if not ruleset["nftables"] and not network.without_nat:
            found = NOTHING
        else:
            from upnp_gw.engine.judged_tables import judged

            found = await asyncio.to_thread(judged, ruleset, network, self._served, self._router)
        self.static_ports, self.ipv6_firewall, self.drops, self.missing, self.offloads = found

    async def follow(self, on_read: Callable[[], None]) -> None:
        """Reads the tables after a change and every ``ANYWAY_S``, until it is cancelled. Calls ``on_read`` each
        time."""
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
            on_read()
            await asyncio.sleep(PAUSE * (clock() - began))
