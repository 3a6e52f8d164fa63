"""The check of the way that answers to mapped connections take. Pure."""

from collections.abc import Iterator

from upnp_gw.api import Check
from upnp_gw.doctor import guides
from upnp_gw.doctor.findings import ok, warn
from upnp_gw.doctor.machine_state import MachineState
from upnp_gw.text.escape import shown

NAME = "answers"


def answers(machine: MachineState) -> Iterator[Check]:
    """Answers of mapped hosts leave by the WAN, where the connection came in.

    A VPN that takes the default route, and policy routing for several WANs, send them elsewhere. The peer drops
    them, since they come from another address. Marks of connections can bring them back, which is not seen here.
    """
    wan = machine.config.wan
    for lan, out in machine.ways_out.items():
        if out == wan:
            continue
        yield warn(
            NAME,
            f"hosts on {shown(lan)} reach the internet by {shown(out)}, not by the WAN {shown(wan)}: answers to"
            " mapped connections leave there too, and do not arrive, unless marks of connections bring them back",
            f'if the internet comes in by {shown(out)}: [wan] interface = "{shown(out)}"',
            guide=guides.WIREGUARD,
        )
    if machine.ways_out and set(machine.ways_out.values()) == {wan}:
        yield ok(NAME, f"answers to mapped connections leave by the WAN {shown(wan)}")
