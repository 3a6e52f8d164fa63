"""The kernel as the proof knows it. Pure."""

from dataclasses import dataclass

from upnp_gw.firewall.openings.flows import TrackedFlow
from upnp_gw.firewall.rules.index import Json

BOTH = frozenset({4, 6})


@dataclass(frozen=True, slots=True)
class KernelState:
    """The kernel at one moment."""

    ruleset: Json
    """libnftables' JSON of all tables."""
    flows: tuple[TrackedFlow, ...] = ()
    """From outside to LAN hosts."""
    problems: tuple[str, ...] = ()
    """The parts that could not be read, in sentences."""
    forwarded: frozenset[int] = BOTH
    """The IP versions that the kernel routes from the WAN."""
