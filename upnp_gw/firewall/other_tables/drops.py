"""Chains of other tables that drop mapped traffic, or packets from LAN hosts to the gateway itself. Pure.

Our accept does not overrule a drop in another table: every base chain of a hook must let a packet pass.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_address

from upnp_gw.firewall.other_tables import remedies
from upnp_gw.firewall.other_tables.index import Chain, Json, RulesetIndex
from upnp_gw.firewall.other_tables.matching import HEADER, IPNetwork, SamplePacket, Scope
from upnp_gw.firewall.other_tables.walk import ChainWalk
from upnp_gw.model.mapping import IPAddress, Transport
from upnp_gw.model.network import Link
from upnp_gw.model.request import Ipv6Firewall

ENDS = ("drop", "reject", "queue")
"""Statements that end a packet's evaluation without an accept."""
SSDP_PORT = 1900
GROUPS = {4: ip_address("239.255.255.250"), 6: ip_address("ff02::c")}
"""The multicast destinations of searches (UDA 2.0, annex A)."""
LINK_LOCAL = IPv6Network("fe80::/10")
"""The source prefix of packets to a link-local address of the gateway."""


@dataclass(frozen=True, slots=True)
class Drop:
    """A chain of another table that drops our traffic."""

    chain: str
    """Family, table and chain: ``inet fw4 forward``."""
    why: str
    """``policy drop``, or ``a rule: drop``."""
    traffic: str
    """The dropped traffic, as in ``mapped traffic``."""
    lines: tuple[str, ...]
    """The commands that let it through, including hairpin."""
    certain: bool = True
    """False: a rule that the listing does not explain (xt of iptables) may accept the traffic."""
    program: str = "nftables"
    """The program that wrote the chain (``remedies.program_of``)."""

    @property
    def lasting(self) -> bool:
        """True if the commands survive a reload of that firewall: firewalld and ufw save them."""
        return self.lines[-1].startswith(("firewall-cmd ", "ufw "))


def forward_drops(ruleset: Json, wan: str, lans: Sequence[str] = ()) -> list[Drop]:
    """The base chains of other tables that would drop a new connection to a mapped port, in the listing's order.
    ``lans``: the LANs with NAT."""
    rules = RulesetIndex.of(ruleset)
    samples = [SamplePacket(wan, outward, dnat=True) for outward in _one_by_one(lans)]
    return [
        Drop(
            str(found.chain),
            found.why,
            "mapped traffic" + found.place("to", lans),
            remedies.for_mappings(rules, found.chain, found.lans),
            found.certain,
            remedies.program_of(rules, found.chain),
        )
        for found in _forwarded(rules, samples)
    ]


def pinhole_drops(ruleset: Json, wan: str, lans: Sequence[str] = (), without_nat: Sequence[str] = ()) -> list[Drop]:
    """Like ``forward_drops``, for pinholes: of IPv6 on every LAN, of IPv4 on those ``without_nat``. Our label is on
    a flow before other tables see it."""
    rules = RulesetIndex.of(ruleset)
    samples = [SamplePacket(wan, outward, version=6, label=True) for outward in _one_by_one(lans)]
    samples += [SamplePacket(wan, (lan,), version=4, label=True) for lan in without_nat]
    return [
        Drop(
            str(found.chain),
            found.why,
            "traffic to pinholes" + found.place("of", lans),
            remedies.for_pinholes(rules, found.chain, wan, found.lans, found.versions),
            found.certain,
            remedies.program_of(rules, found.chain),
        )
        for found in _forwarded(rules, samples)
    ]


@dataclass(slots=True)
class _Forwarded:
    """A chain that drops samples of forwarded traffic."""

    chain: Chain
    why: str
    certain: bool
    lans: list[str]
    """The LANs with dropped samples; empty: not known."""
    versions: list[int]

    def place(self, word: str, lans: Sequence[str]) -> str:
        """`` to hosts on lan1`` where traffic to other LANs passes; else nothing."""
        return "" if len(self.lans) == len(lans) else f" {word} hosts on {', '.join(self.lans)}"


def _one_by_one(lans: Sequence[str]) -> list[tuple[str, ...]]:
    """Each LAN by itself, since a rule can drop what goes to one of them; no LAN: outgoing interfaces not known."""
    return [(lan,) for lan in lans] or [()]


def _forwarded(rules: RulesetIndex, samples: Iterable[SamplePacket]) -> list[_Forwarded]:
    """The chains that drop any of these samples, in the order of the first one."""
    found: dict[str, _Forwarded] = {}
    for sample in samples:
        for chain, why, certain in dropping(rules, "forward", sample):
            entry = found.setdefault(str(chain), _Forwarded(chain, why, False, [], []))
            entry.certain = entry.certain or certain
            entry.lans += [lan for lan in sample.outward if lan not in entry.lans]
            if sample.version not in entry.versions:
                entry.versions.append(sample.version)
    return list(found.values())


def ipv6_firewall(ruleset: Json, wan: str, lans: Sequence[str] = ()) -> Ipv6Firewall:
    """The filtering of other tables before the LANs' IPv6 addresses: of any LAN. Alongside, our own table filters
    nothing."""
    rules = RulesetIndex.of(ruleset)
    samples = [SamplePacket(wan, outward, version=6) for outward in _one_by_one(lans)]
    return Ipv6Firewall(
        bool(_forwarded(rules, samples)), not any(drop.certain for drop in pinhole_drops(ruleset, wan, lans))
    )


def input_drops(
    ruleset: Json, wan: str, lans: Iterable[Link], services: Sequence[tuple[Transport, int]]
) -> list[Drop]:
    """The base chains of other tables that would drop packets from LAN hosts to these ports of the gateway."""
    rules = RulesetIndex.of(ruleset)
    chains: dict[str, Chain] = {}
    found: dict[tuple[str, str], dict[tuple[Transport, int], tuple[str, bool]]] = {}
    for lan in lans:
        for service in services:
            for sample in _to_gateway(lan, *service):
                for hook in ("prerouting", "input"):
                    for chain, why, certain in dropping(rules, hook, sample):
                        chains[str(chain)] = chain
                        found.setdefault((str(chain), lan.name), {}).setdefault(service, (why, certain))
    drops = []
    for (name, lan_name), dropped in found.items():
        traffic = f"packets from hosts on {lan_name} to {_port_list(dropped)}"
        lines = remedies.for_services(rules, chains[name], wan, lan_name, list(dropped))
        why = next(why for why, _ in dropped.values())
        certain, program = any(sure for _, sure in dropped.values()), remedies.program_of(rules, chains[name])
        drops.append(Drop(name, why, traffic, lines, certain, program))
    return drops


def _to_gateway(lan: Link, transport: Transport, port: int) -> Iterator[SamplePacket]:
    """Sample packets from a LAN to a port of the gateway: to its addresses, and searches to the groups."""
    scope = Scope(frozenset([transport]), ((port, port),))
    for version in (4, 6):
        own: list[tuple[IPAddress, IPNetwork]] = [
            (address.ip, LINK_LOCAL if address.ip.is_link_local and version == 6 else address.network)
            for address in lan.addresses
            if address.version == version
        ]
        for address, source in own:
            yield SamplePacket(lan.name, (), version, source, frozenset([address]), "local", scope)
        if own and (transport, port) == (Transport.UDP, SSDP_PORT):
            source = own[0][1] if version == 4 else LINK_LOCAL
            yield SamplePacket(lan.name, (), version, source, frozenset([GROUPS[version]]), "multicast", scope)


def _port_list(services: Iterable[tuple[Transport, int]]) -> str:
    return ", ".join(f"{transport}/{port}" for transport, port in services)


def dropping(rules: RulesetIndex, hook: str, sample: SamplePacket) -> list[tuple[Chain, str, bool]]:
    """The chains that drop a sample, each with its reason and its certainty."""
    families = ("inet", HEADER[sample.version])
    judged = [
        (chain, *_judge(ChainWalk(rules, sample), chain))
        for chain in rules.base_chains(hook, "filter")
        if chain.family in families
    ]
    return [(chain, why, certain) for chain, why, certain in judged if why]


def _judge(walk: ChainWalk, chain: Chain) -> tuple[str, bool]:
    """The reason for a drop by a base chain, empty if none; and False if an unexplained rule may accept."""
    certain = True
    for statement in walk.statements(chain):
        whole = walk.whole(statement.scope)  # a rule for part of the packets is no reason
        if statement.name in ENDS and whole:
            return f"a rule: {statement.name}", certain
        if statement.name == "accept" and whole:
            return "", True
        if statement.name in ("accept", "return") and not statement.scope.explained:
            certain = False
    return ("policy drop" if chain.policy == "drop" else ""), certain
