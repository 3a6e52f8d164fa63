"""External ports that are not ours to give (SR-24): the gateway's listeners, static rules of other tables."""

from collections.abc import Callable

from upnp_gw.engine.other_tables import OtherTables
from upnp_gw.model.mapping import Transport
from upnp_gw.model.network import GatewayPorts


class ReservedPorts:
    """Call it for the latest. A listener is looked for at each decision."""

    def __init__(self, listening: Callable[[], frozenset[tuple[Transport, int]]], others: OtherTables) -> None:
        self._listening = listening
        self._others = others

    def __call__(self) -> GatewayPorts:
        return GatewayPorts(self._listening(), self._others.static_ports)
