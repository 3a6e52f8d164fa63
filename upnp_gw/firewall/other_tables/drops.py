"""Chains of other tables that drop mapped traffic, or packets from LAN hosts to the gateway itself. Pure.

Our accept does not overrule a drop in another table: every base chain of a hook must let a packet pass. ``ruleset``
is libnftables' listing, or ``Samples`` of it where several functions are asked.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_address

from upnp_gw.firewall.other_tables import remedies
from upnp_gw.firewall.other_tables.samples import SamplePacket, Samples
from upnp_gw.firewall.rules.index import Chain, Json
from upnp_gw.model.mapping import IPAddress, IPNetwork, Transport
from upnp_gw.model.network import Link
from upnp_gw.model.request import Ipv6Firewall

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
    followed = Samples.of(ruleset)
    rules = followed.rules
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
        for found in _forwarded(followed, samples)
    ]


def pinhole_drops(ruleset: Json, wan: str, lans: Sequence[str] = (), without_nat: Sequence[str] = ()) -> list[Drop]:
    """Like ``forward_drops``, for pinholes: of IPv6 on every LAN, of IPv4 on those ``without_nat``. Our label is on
    a flow before other tables see it."""
    followed = Samples.of(ruleset)
    rules = followed.rules
    samples = [SamplePacket(wan, outward, version=6, label=True) for outward in _one_by_one(lans)]
    samples += [SamplePacket(wan, lan, version=4, label=True) for lan in without_nat]
    return [
        Drop(
            str(found.chain),
            found.why,
            "traffic to pinholes" + found.place("of", lans),
            remedies.for_pinholes(rules, found.chain, wan, found.lans, found.versions),
            found.certain,
            remedies.program_of(rules, found.chain),
        )
        for found in _forwarded(followed, samples)
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


def _one_by_one(lans: Sequence[str]) -> Sequence[str | None]:
    """Each LAN by itself, since a rule can drop what goes to one of them; no LAN: outgoing interfaces not known."""
    return lans or [None]


def _forwarded(followed: Samples, samples: Iterable[SamplePacket]) -> list[_Forwarded]:
    """The chains that drop any of these samples, in the order of the first one."""
    found: dict[str, _Forwarded] = {}
    for sample in samples:
        for chain, why, certain in followed.dropping("forward", sample):
            entry = found.setdefault(str(chain), _Forwarded(chain, why, False, [], []))
            entry.certain = entry.certain or certain
            if sample.outward and sample.outward not in entry.lans:
                entry.lans.append(sample.outward)
            if sample.version not in entry.versions:
                entry.versions.append(sample.version)
    return list(found.values())


def ipv6_firewall(ruleset: Json, wan: str, lans: Sequence[str] = ()) -> Ipv6Firewall:
    """The filtering of other tables before the LANs' IPv6 addresses: of any LAN. Alongside, our own table filters
    nothing."""
    followed = Samples.of(ruleset)
    samples = [SamplePacket(wan, outward, version=6) for outward in _one_by_one(lans)]
    return Ipv6Firewall(
        bool(_forwarded(followed, samples)), not any(drop.certain for drop in pinhole_drops(followed, wan, lans))
    )


def input_drops(
    ruleset: Json, wan: str, lans: Iterable[Link], services: Sequence[tuple[Transport, int]]
) -> list[Drop]:
    """The base chains of other tables that would drop packets from LAN hosts to these ports of the gateway."""
    chains: dict[str, Chain] = {}
    found: dict[tuple[str, str], dict[tuple[Transport, int], tuple[str, bool]]] = {}
    links = tuple(lans)
    followed = Samples.of(ruleset, (address.ip for lan in links for address in lan.addresses))
    rules = followed.rules
    for lan in links:
        for service in services:
            for sample in _to_gateway(lan, *service):
                for hook in ("prerouting", "input"):
                    for chain, why, certain in followed.dropping(hook, sample):
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

    def sample(version: int, source: IPNetwork, to: IPAddress) -> SamplePacket:
        return SamplePacket(
            lan.name, "", version, source, frozenset([to]), transports=frozenset([transport]), ports=(port, port)
        )

    for version in (4, 6):
        own: list[tuple[IPAddress, IPNetwork]] = [
            (address.ip, LINK_LOCAL if address.ip.is_link_local and version == 6 else address.network)
            for address in lan.addresses
            if address.version == version
        ]
        for address, source in own:
            yield sample(version, source, address)
        if own and (transport, port) == (Transport.UDP, SSDP_PORT):
            source = own[0][1] if version == 4 else LINK_LOCAL
            yield sample(version, source, GROUPS[version])


def _port_list(services: Iterable[tuple[Transport, int]]) -> str:
    return ", ".join(f"{transport}/{port}" for transport, port in services)
