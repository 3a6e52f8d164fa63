"""The ports that other tables forward elsewhere. Pure."""

from collections.abc import Iterable
from ipaddress import IPv4Address

from upnp_gw.firewall.other_tables.samples import ALL_PORTS, SamplePacket, Samples
from upnp_gw.firewall.rules.index import Json
from upnp_gw.firewall.rules.packets import DPORT, EVERY_ADDRESS, PROTOCOL, SADDR
from upnp_gw.firewall.rules.ranges import Ranges, inside, size, united
from upnp_gw.model.mapping import IPAddress, Transport

TRANSLATIONS = ("dnat", "redirect")


def static_ports(
    ruleset: Json, external_addresses: Iterable[IPv4Address], wan: str
) -> frozenset[tuple[Transport, int]]:
    """The external ports that a dnat or redirect of another table sends elsewhere (SR-24).

    A rule for some senders only takes its port as well. One for most ports counts only if it is for most senders.
    """
    external = frozenset[IPAddress](external_addresses)
    sample = SamplePacket(wan, destinations=external)
    followed = Samples.of(ruleset, external)
    rules = followed.rules
    if not external:
        followed = Samples(rules, None)
    taken: dict[Transport, list[tuple[int, int]]] = {transport: [] for transport in Transport}
    for chain in rules.base_chains("prerouting", "nat"):
        for end in followed.ends(chain, sample):
            for box in end.packets.boxes if end.word in TRANSLATIONS else ():
                ports = box.get(DPORT)
                if _most(ports, (ALL_PORTS,)) and not _most(box.get(SADDR), EVERY_ADDRESS[4]):
                    continue
                for transport in Transport:
                    if inside(((transport.number, transport.number),), box.get(PROTOCOL)):
                        taken[transport] += ports
    return frozenset(
        (transport, port)
        for transport, spans in taken.items()
        for first, last in united(spans)
        for port in range(first, last + 1)
    )


def _most(part: Ranges, whole: Ranges) -> bool:
    return size(part) * 2 > size(whole)
