"""Follows samples of typical traffic through the chains of other tables. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from upnp_gw.firewall.labels import LET_IN
from upnp_gw.firewall.rules.index import Chain, Json, RulesetIndex
from upnp_gw.firewall.rules.packets import EVERY_ADDRESS, NOT_TRANSLATED, Box, Common, Packets, merged
from upnp_gw.firewall.rules.ranges import Ranges, united
from upnp_gw.firewall.rules.walk import End, Walk, amount
from upnp_gw.model.mapping import IPAddress, IPNetwork, Transport

FAMILY = {4: "ip", 6: "ip6"}
"""IP version -> the family of the chains that see it alone."""
DROPS = ("drop", "reject", "queue", "policy drop")
ALL_PORTS = (1, 65535)
SYN: Ranges = ((2, 2),)
"""The flags of the first packet of a TCP flow."""


@dataclass(frozen=True, slots=True)
class SamplePacket:
    """The packets to judge: first of a flow, TCP or UDP; translated by us if ``dnat`` is set."""

    inward: str
    """Their incoming interface."""
    outward: str | None = ""
    """Their outgoing interface; None: not known, empty: addressed to this machine."""
    version: int = 4
    """IP version, 4 or 6."""
    source: IPNetwork | None = None
    """Their source prefix; None: any."""
    destinations: frozenset[IPAddress] = frozenset()
    """Their destination addresses; empty: not known."""
    transports: frozenset[Transport] = frozenset(Transport)
    ports: tuple[int, int] = ALL_PORTS
    """First and last destination port."""
    dnat: bool = False
    label: bool = False
    """Our pinhole let them in and set its label on the flow."""

    @property
    def packets(self) -> Packets:
        """The packets as a class."""
        every = EVERY_ADDRESS[self.version]
        groups = any(address.is_multicast for address in self.destinations)
        common = Common(
            self.version,
            self.inward,
            self.outward,
            status=frozenset({"dnat"} if self.dnat else ()),
            labels=frozenset({LET_IN} if self.label else ()),
            pkttype="multicast" if groups else "host",
        )
        numbers = (
            united((one.number, one.number) for one in self.transports),
            every if self.source is None else ((int(self.source[0]), int(self.source[-1])),),
            (ALL_PORTS,),
            numbers_of(self.destinations) or every,
            (self.ports,),
            every if self.dnat else NOT_TRANSLATED,
            (ALL_PORTS,) if self.dnat else NOT_TRANSLATED,
            SYN,
        )
        return Packets(common, [Box(numbers)])


def numbers_of(addresses: Iterable[IPAddress]) -> Ranges:
    """The addresses as numbers."""
    return united((int(address), int(address)) for address in addresses)


class Samples:
    """Follows samples through one ruleset."""

    def __init__(self, rules: RulesetIndex, own: Iterable[IPAddress] | None = ()) -> None:
        """``own``: addresses of the gateway that samples are sent to; None: any."""
        self.rules = rules
        held = tuple(own or ())
        local = {version: numbers_of(one for one in held if one.version == version) for version in (4, 6)}
        self._walk = Walk(rules, EVERY_ADDRESS if own is None else local, typical=True)

    @classmethod
    def of(cls, ruleset: "Json | Samples", own: Iterable[IPAddress] = ()) -> "Samples":
        """For libnftables' listing. Rules are read once: pass the same samples to several functions."""
        return ruleset if isinstance(ruleset, cls) else cls(RulesetIndex.of(ruleset), own)

    def ends(self, chain: Chain, sample: SamplePacket, coarse: bool = False) -> list[End]:
        """The statements and the policy of a base chain that decide about parts of a sample. ``coarse``: rules for
        small parts are passed over."""
        return self._walk.ends(chain, sample.packets, coarse)

    def dropping(self, hook: str, sample: SamplePacket) -> list[tuple[Chain, str, bool]]:
        """The chains that drop a sample, each with its reason and its certainty."""
        families = ("inet", FAMILY[sample.version])
        chains = [chain for chain in self.rules.base_chains(hook, "filter") if chain.family in families]
        judged = [(chain, *_judge(self.ends(chain, sample, coarse=True), sample.packets)) for chain in chains]
        return [(chain, why, certain) for chain, why, certain in judged if why]


def _judge(ends: Iterable[End], sample: Packets) -> tuple[str, bool]:
    """The reason for a drop of half of the sample or more, empty if there is none: a rule for a few packets is no
    reason. And False if a rule that cannot be decided may accept them; that it drops them is not assumed."""
    drops = [end for end in ends if end.word in DROPS]
    dropped: dict[str, int] = {}
    for end in drops:
        if not any(doubt.matched for doubt in end.packets.common.doubts):
            dropped[end.word] = dropped.get(end.word, 0) + amount([end.packets])
    if sum(dropped.values()) * 2 < amount([sample]) or not dropped:
        return "", True
    sure = [one for one in merged(end.packets for end in drops) if not one.common.doubts]
    word = max(dropped, key=lambda word: dropped[word])
    return word if word.startswith("policy") else f"a rule: {word}", amount(sure) * 2 >= amount([sample])
