"""Contents of other tables: their listing, static forwards, filters on the forward hook.

Used by the doctor, by the check at the start of router mode and by ``other_tables``. All but
``foreign_ruleset`` are pure.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from upnp_gw.firewall.base import FAMILY, NAME
from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.other_tables.samples import ALL_PORTS, SamplePacket, Samples
from upnp_gw.firewall.rules.index import Chain, Json, RulesetIndex, part
from upnp_gw.firewall.rules.iptables import has_translations, translate
from upnp_gw.firewall.rules.packets import DPORT, EVERY_ADDRESS, PROTOCOL, SADDR
from upnp_gw.firewall.rules.ranges import Ranges, inside, size, united
from upnp_gw.firewall.tables import tables
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import IPAddress, Transport

ENDS = ("drop", "reject", "queue")
"""Statements that end a packet's evaluation without an accept."""
TRANSLATIONS = ("dnat", "redirect")


def foreign_ruleset(session: Session) -> Json:
    """The listing of every table but ours. Call it on the nftables thread. Raises FirewallError."""
    objects: list[Json] = []
    for family, name in tables():
        if (family, name) == (FAMILY, NAME):
            continue
        try:
            command = f"list table {family} {_name(name)}"
            listed = session.query(command)["nftables"]
            if has_translations(listed):
                translate(listed, session.text(command))
            objects += listed
        except FirewallError:  # the table is gone, or its name cannot be written in a command
            continue
    return {"nftables": objects}


def _name(name: str) -> str:
    if not all(c.isascii() and (c.isalnum() or c in "_-.") for c in name):
        raise FirewallError("a table with an unusual name")
    return name


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


def forward_filters(ruleset: Json) -> list[str]:
    """The base chains of other tables that drop anything on the forward hook: router mode would clash with them."""
    rules = RulesetIndex.of(ruleset)
    return [
        f"chain {chain}"
        for chain in rules.base_chains("forward", "filter")
        if chain.policy == "drop" or _can_end(rules, chain, set())
    ]


def _can_end(rules: RulesetIndex, chain: Chain, visited: set[str]) -> bool:
    visited.add(chain.name)
    words = set(_words(rules, chain, list(chain.rules)))
    targets = (rules.target(chain, name) for name in words - visited)
    return bool(words & set(ENDS)) or any(t is not None and _can_end(rules, t, visited) for t in targets)


def _words(rules: RulesetIndex, chain: Chain, value: Json) -> Iterator[str]:
    """Statement names and jump targets anywhere in a rule, including those in named verdict maps."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(inner) if name == "target" else str(name)
            if name == "vmap":
                yield from _words(rules, chain, rules.elements(chain, part(inner, "data")))
            yield from _words(rules, chain, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(rules, chain, inner)
