"""What keeps the internet from what we open, and LAN hosts from us: for ``status``, and for the log once."""

import logging
from collections.abc import Callable, Iterator

from upnp_gw.network import Network, external_problems
from upnp_gw.other_tables import OtherTables

log = logging.getLogger(__name__)


class Hindrances:
    """By the latest network and the latest reading of other tables."""

    def __init__(self, network: Callable[[], Network], others: OtherTables) -> None:
        self._network = network
        self._others = others
        self._told: list[str] = []
        others.on_read = self.tell

    def now(self) -> list[str]:
        """Every one, the gravest first."""
        return [*external_problems(self._network()), *self._drops()]

    def tell(self) -> None:
        """Logs what is new since the last call, and what has gone."""
        found = self.now()
        for sentence in found:
            if sentence not in self._told:
                log.warning("%s", sentence)
        for sentence in self._told:
            if sentence not in found:
                log.info("no longer: %s", sentence)
        self._told = found

    def _drops(self) -> Iterator[str]:
        for drop in self._others.drops:
            unless = "" if drop.certain else ", unless an iptables rule accepts it"
            yield (
                f"chain {drop.chain} of another firewall ({drop.why}) drops {drop.what}{unless};"
                " `upnp-gw doctor` prints the line to add there"
            )
