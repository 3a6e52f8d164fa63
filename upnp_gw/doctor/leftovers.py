"""The check for rules of miniupnpd, which ran here before. Pure."""

from collections.abc import Iterator

from upnp_gw.api import Check
from upnp_gw.doctor.findings import warn
from upnp_gw.doctor.machine_state import MachineState
from upnp_gw.text.escape import shown

NAME = "miniupnpd"


def leftovers(machine: MachineState) -> Iterator[Check]:
    """No rules of miniupnpd are left. They have no end, and no client gets their ports."""
    for left in machine.leftovers:
        count = "1 rule" if left.rules == 1 else f"{left.rules} rules"
        yield warn(
            NAME,
            f"chain {shown(left.chain, 200)} has {count} of miniupnpd: ports that it opened have no end, and"
            " clients do not get them here",
            f"stop miniupnpd, and then: {left.command}",
            [left.command],
        )
