"""The way of packets from the WAN to a LAN host: prerouting, routing, forward, postrouting. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from upnp_gw.firewall.rules.index import RulesetIndex
from upnp_gw.firewall.rules.packets import (
    DADDR,
    EVERY_ADDRESS,
    EVERY_FLAG,
    EVERY_PORT,
    NOT_TRANSLATED,
    Box,
    Common,
    Packets,
    merged,
)
from upnp_gw.firewall.rules.ranges import Ranges, both, united, without
from upnp_gw.firewall.rules.walk import Walk
from upnp_gw.model.mapping import IPNetwork
from upnp_gw.model.network import Network

PORTED: Ranges = ((0, 0), (2, 57), (59, 255))
"""Every protocol but ICMP and ICMPv6."""
TRACKING, TRANSLATION = -200, -100
"""Priorities at prerouting of connection tracking and of all nat chains (NF_IP_PRI_CONNTRACK, _NAT_DST)."""


@dataclass(frozen=True, slots=True)
class Lan:
    """A LAN and the addresses that are routed to it, by IP version."""

    name: str
    hosts: dict[int, Ranges]


@dataclass(frozen=True, slots=True)
class Place:
    """The gateway whose packets are followed."""

    wan: str
    lans: tuple[Lan, ...]
    own: dict[int, Ranges]
    """The gateway's own addresses, by IP version."""
    external: Ranges
    """The external IPv4 addresses."""

    @classmethod
    def of(cls, network: Network) -> "Place":
        """The connected prefixes of each LAN and those routed to it, without the gateway's own addresses."""
        held = [one.ip for link in (network.wan, *network.lans) for one in link.addresses]
        own = {v: united((int(a), int(a)) for a in (*held, *network.external) if a.version == v) for v in (4, 6)}
        lans = []
        for link in network.lans:
            routed = [
                net
                for net, name in zip(
                    network.routed, (*network.routed_on, *("" for _ in network.routed)), strict=False
                )
                if name in ("", link.name)
            ]
            nets = [net for net in (*link.networks, *routed) if not net.is_link_local]
            lans.append(Lan(link.name, {v: without(_ranges(nets, v), own[v]) for v in (4, 6)}))
        external = united((int(address), int(address)) for address in network.external)
        return cls(network.wan.name, tuple(lans), own, external)

    @property
    def plain_hosts(self) -> dict[int, Ranges]:
        """An address of each prefix that a host is likely to have: the ninth one, not that of the network."""
        spans = {v: [span for lan in self.lans for span in lan.hosts[v]] for v in (4, 6)}
        return {v: united((first + 8, first + 8) for first, last in spans[v] if first + 8 < last) for v in (4, 6)}

    @property
    def hosts(self) -> dict[int, Ranges]:
        """The addresses of LAN hosts, by IP version."""
        return {v: united(span for lan in self.lans for span in lan.hosts[v]) for v in (4, 6)}


def _ranges(nets: Sequence[IPNetwork], version: int) -> Ranges:
    return united((int(net[0]), int(net[-1])) for net in nets if net.version == version)


class Path:
    """Follows packets from the WAN through one ruleset."""

    def __init__(self, index: RulesetIndex, place: Place, forwarded: frozenset[int]) -> None:
        """``forwarded``: the IP versions that the kernel routes."""
        self._walk = Walk(index, place.own)
        self._place = place
        self._forwarded_versions = sorted(forwarded)

    def let_in(self) -> list[Packets]:
        """The classes of packets that reach a LAN host and belong to no flow: the first of a flow, invalid and
        untracked ones."""
        begun = [Packets(Common(v, self._place.wan, state=""), [_any_box(v)]) for v in self._forwarded_versions]
        return self._forwarded(self._prerouted(begun))

    def goes_on(self, classes: Sequence[Packets]) -> list[Packets]:
        """The part of these packets of flows that still reaches its LAN host. They are translated already."""
        present = [one for one in classes if one.common.version in self._forwarded_versions]
        for chain in self._walk.base_chains("prerouting", ("filter",)):
            present = _seen(self._walk.through(chain, present))
        return self._forwarded(present)

    def _prerouted(self, classes: list[Packets]) -> list[Packets]:
        chains = self._walk.base_chains("prerouting", ("filter",))
        present = classes
        for chain in (chain for chain in chains if chain.priority < TRACKING):
            present = _seen(self._walk.through(chain, _unseen(present)))
        present = [one for packets in present for one in _tracked(packets)]
        for chain in (chain for chain in chains if TRACKING <= chain.priority < TRANSLATION):
            present = _seen(self._walk.through(chain, present))
        present = self._translated(present)
        for chain in (chain for chain in chains if chain.priority >= TRANSLATION):
            present = _seen(self._walk.through(chain, present))
        return present

    def _translated(self, classes: Sequence[Packets]) -> list[Packets]:
        """The nat chains see the first packets of flows. The first one that translates them is the last one."""
        present = [one for one in classes if one.common.state == "new"]
        done = [one for one in classes if one.common.state != "new"]
        for chain in self._walk.base_chains("prerouting", ("nat",)):
            through = self._walk.through(chain, present)
            done += [one for one in through if "dnat" in one.common.status]
            present = _seen([one for one in through if "dnat" not in one.common.status])
        return [*done, *present]

    def _forwarded(self, classes: Sequence[Packets]) -> list[Packets]:
        present = merged(routed for one in classes for routed in self._routed(one))
        for chain in self._walk.base_chains("forward", ("filter",)):
            present = self._walk.through(chain, present)
        for chain in self._walk.base_chains("postrouting", ("filter",)):
            passed = {id(one): one.common.passed for one in present}
            present = [
                Packets(replace(left.common, passed=passed[id(one)]), left.boxes)
                for one in present
                for left in self._walk.through(chain, [one])
            ]
        return merged(present)

    def _routed(self, packets: Packets) -> Iterator[Packets]:
        for lan in self._place.lans:
            hosts = lan.hosts[packets.common.version]
            found = [
                box.having(DADDR, common) for box in packets.boxes if (common := both(box.numbers[DADDR], hosts))
            ]
            if found:
                yield Packets(replace(packets.common, oif=lan.name), found)


def _any_box(version: int) -> Box:
    every = EVERY_ADDRESS[version]
    return Box((PORTED, every, EVERY_PORT, every, EVERY_PORT, NOT_TRANSLATED, NOT_TRANSLATED, EVERY_FLAG))


def _unseen(classes: Sequence[Packets]) -> list[Packets]:
    """Before connection tracking, a packet has no flow."""
    known = ("untracked",)
    return [
        one if one.common.state in known else Packets(replace(one.common, state="invalid"), one.boxes)
        for one in classes
    ]


def _tracked(packets: Packets) -> Iterator[Packets]:
    if packets.common.state == "untracked":
        yield packets
        return
    for state in ("new", "invalid"):
        yield Packets(replace(packets.common, state=state), packets.boxes)


def _seen(classes: Sequence[Packets]) -> list[Packets]:
    """Of the rules of prerouting only the one that translates a packet lets it in."""
    return merged(
        Packets(replace(one.common, passed=one.common.passed[:1] if _begins_translated(one) else ()), one.boxes)
        for one in classes
    )


def _begins_translated(packets: Packets) -> bool:
    return packets.common.state == "new" and "dnat" in packets.common.status
