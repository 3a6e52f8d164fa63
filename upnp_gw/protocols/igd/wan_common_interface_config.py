"""WANCommonInterfaceConfig:1 (IGD section 5.3): the WAN link and its counters.

The counters are ui4 and wrap to 0 after 2**32 - 1: strict clients fail on larger numbers (IGD-105).
"""

from upnp_gw.protocols.igd.arguments import Arguments
from upnp_gw.protocols.igd.engine import Action, Answer, Caller, ServiceRows, Variable

UI4 = 2**32
ACCESS_TYPE = "Ethernet"
"""The gateway sees an interface with IP, and not the access technology of the modem behind it."""
COUNTERS = ("TotalBytesSent", "TotalBytesReceived", "TotalPacketsSent", "TotalPacketsReceived")
"""The counters in the order of ``View.wan_counters``."""


def link_status(caller: Caller) -> str:
    """PhysicalLinkStatus: ``Up`` or ``Down``."""
    return "Up" if caller.wan.up else "Down"


def get_common_link_properties(caller: Caller, _: Arguments) -> Answer:
    """GetCommonLinkProperties: bit/s, the same in both directions (IGD-104)."""
    speed = min(caller.view.wan_speed(), UI4 - 1)
    return {
        "NewWANAccessType": ACCESS_TYPE,
        "NewLayer1UpstreamMaxBitRate": speed,
        "NewLayer1DownstreamMaxBitRate": speed,
        "NewPhysicalLinkStatus": link_status(caller),
    }


def counter(index: int) -> Variable:
    """A counter of the WAN since the boot, modulo 2^32: strict clients fail on more than ui4 (IGD-105)."""
    return lambda caller: caller.view.wan_counters()[index] % UI4


def get_counter(name: str, index: int) -> Action:
    """The action that reads this counter."""
    read = counter(index)
    return lambda caller, _: {f"New{name}": read(caller)}


ROWS = ServiceRows(
    actions={
        "GetCommonLinkProperties": get_common_link_properties,
        **{f"Get{name}": get_counter(name, index) for index, name in enumerate(COUNTERS)},
    },
    variables={
        "WANAccessType": lambda caller: ACCESS_TYPE,
        "PhysicalLinkStatus": link_status,
        **{name: counter(index) for index, name in enumerate(COUNTERS)},
    },
)
