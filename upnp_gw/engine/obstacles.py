"""Obstacles to mapped traffic, to the end of its flows, and to LAN hosts' access to our servers.

Each is one sentence, shown by ``status`` while it lasts, and logged once.
"""

import logging
from collections.abc import Callable, Iterator

from upnp_gw.engine.other_tables import OtherTables
from upnp_gw.model.network import Network
from upnp_gw.model.public_addresses import private_external

log = logging.getLogger(__name__)


class Obstacles:
    """The obstacles by the latest state of the network and of other tables."""

    def __init__(self, network: Callable[[], Network], others: OtherTables) -> None:
        self._network = network
        self._others = others
        self._logged: list[str] = []

    def now(self) -> list[str]:
        """All present obstacles, the gravest first."""
        return [*_external_problems(self._network()), *self._drops(), *self._missing(), *self._offloads()]

    def log_changes(self) -> None:
        """Logs obstacles that are new or gone since the last call."""
        found = self.now()
        for sentence in found:
            if sentence not in self._logged:
                log.warning("%s", sentence)
        for sentence in self._logged:
            if sentence not in found:
                log.info("no longer: %s", sentence)
        self._logged = found

    def _offloads(self) -> Iterator[str]:
        for offload in self._others.offloads:
            yield (
                f"chain {offload.chain} of another firewall gives established flows to a fast path"
                f" ({offload.description}): counters of mappings stop, and while upnp-gw does not run, such a flow"
                " outlives its lease; `upnp-gw doctor` prints the line that keeps mapped flows out of it"
            )

    def _missing(self) -> Iterator[str]:
        for one in self._others.missing:
            yield f"{one.finding}; `upnp-gw doctor` prints the line to add"

    def _drops(self) -> Iterator[str]:
        for drop in self._others.drops:
            unless = "" if drop.certain else ", unless an iptables rule accepts it"
            yield (
                f"chain {drop.chain} of another firewall ({drop.why}) drops {drop.traffic}{unless};"
                " `upnp-gw doctor` prints the line to add there"
            )


def _external_problems(network: Network) -> Iterator[str]:
    """The problems that make mapped ports of LANs with NAT unreachable."""
    if not network.has_nat:
        return
    for address in network.elsewhere:
        yield (
            f"{address} of [wan] addresses is not on {network.wan.name}: mappings are reachable only if the"
            f' provider routes it to this machine. Behind another router write advertise = "{address}" instead'
        )
    external = network.advertised
    if external is not None and (why := private_external(external)) is not None:
        if network.behind:
            yield f"the address outside, {external}, is not public ({why}): there is one more router above"
        else:
            yield (
                f"the external address {external} is not public ({why}): the internet cannot reach mapped ports;"
                ' when = "private" in [upstream] asks the router above for each of them'
            )
