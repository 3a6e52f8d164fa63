"""Follows classes of packets through the chains of a ruleset. Pure.

What is let through is never less than what the kernel lets through: where a rule cannot be decided, the packets are
followed both ways, with a doubt.

Samples of typical traffic are followed too, see ``Conditions`` and ``ends``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple

from upnp_gw.firewall.rules.conditions import Conditions
from upnp_gw.firewall.rules.index import Chain, Name, RulesetIndex
from upnp_gw.firewall.rules.packets import (
    EVERY_ADDRESS,
    EVERY_PORT,
    Packets,
    TooMuchToCount,
    merged,
)
from upnp_gw.firewall.rules.ranges import Ranges, size
from upnp_gw.firewall.rules.steps import Change, Condition, Rule, RuleMaker, Translation, Verdict, VerdictMap
from upnp_gw.firewall.rules.wording import policy_name

DEPTH = 16
"""The deepest jumps that the kernel allows."""
BOXES_MOST = 300_000
"""The most boxes that are followed at a time."""
FAMILIES = {4: ("ip", "inet"), 6: ("ip6", "inet")}
HEADER_FIELDS = 5
"""Protocol, source and destination of a box, without the original ones and the flags."""
SMALL = 1000
"""A part of a sample is small if it is less than the sample divided by this."""


class End(NamedTuple):
    """A statement or policy that decides about packets, and the packets that it gets."""

    word: str
    """As in the listing: ``accept``, ``reject``, ``dnat``, ``policy drop``."""
    packets: Packets


class Ways(NamedTuple):
    """The packets that a chain accepted, and those that it gave back."""

    accepted: list[Packets]
    """With the rule that accepted them as the last of ``passed``."""
    returned: list[Packets]
    """To the chain that jumped here."""


class Walk:
    """Follows packets through one ruleset. ``own``: IP version -> the gateway's own addresses."""

    def __init__(self, index: RulesetIndex, own: Mapping[int, Ranges], typical: bool = False) -> None:
        self._index = index
        self._maker = RuleMaker(Conditions(index, own, typical))
        self._rules: dict[Name, tuple[Rule, ...]] = {}
        self._ends: list[End] | None = None
        self._coarse = False

    def base_chains(self, hook: str, kinds: Sequence[str]) -> list[Chain]:
        """The base chains of a hook, in the order in which the kernel calls them."""
        found = [chain for kind in kinds for chain in self._index.base_chains(hook, kind)]
        return sorted(found, key=lambda chain: chain.priority)

    def ends(self, chain: Chain, packets: Packets, coarse: bool) -> list[End]:
        """The ends that a base chain has for these packets. ``coarse``: rules for a small part are passed over, so
        that thousands of them cost no more than each of them."""
        found: list[End] = []
        self._ends, self._coarse = found, coarse
        self.through(chain, [packets])
        self._ends, self._coarse = None, False
        return found

    def _end(self, word: str, classes: Iterable[Packets]) -> None:
        if self._ends is not None:
            self._ends += [End(word, one) for one in classes]

    def through(self, chain: Chain, classes: Sequence[Packets]) -> list[Packets]:
        """The packets that a base chain lets pass."""
        concerned = [one for one in classes if chain.family in FAMILIES[one.common.version]]
        others = [one for one in classes if chain.family not in FAMILIES[one.common.version]]
        accepted, returned = self._chain(chain, concerned, 0)
        self._end(f"policy {chain.policy}", returned)
        if chain.policy == "accept":
            accepted += [Packets(one.common.passing(policy_name(chain)), one.boxes) for one in returned]
        return merged([*others, *accepted])

    def _chain(self, chain: Chain, classes: Sequence[Packets], depth: int) -> Ways:
        ways = Ways([], [])
        present = list(classes)
        for rule in self._rules_of(chain):
            if not present:
                break
            left: list[Packets] = []
            for packets in present:
                self._rule(chain, rule, packets, ways, left, depth)
            present = merged(left) if len(left) > 1 else left
            if sum(len(one.boxes) for one in present) > BOXES_MOST:
                raise TooMuchToCount
        ways.returned.extend(present)
        return ways

    def _rules_of(self, chain: Chain) -> tuple[Rule, ...]:
        at = (chain.family, chain.table, chain.name)
        if at not in self._rules:
            self._rules[at] = self._maker.rules_of(chain)
        return self._rules[at]

    def _rule(
        self, chain: Chain, rule: Rule, packets: Packets, ways: Ways, left: list[Packets], depth: int
    ) -> None:
        """``left``: gets the packets that go on with the next rule."""
        reaching, before = [packets], len(left)
        for step in rule.steps:
            if not reaching:
                return
            match step:
                case Condition(match):
                    parts = [match.split(one) for one in reaching]
                    reaching = [one for yes, _ in parts for one in yes]
                    rest = [one for _, no in parts for one in no]
                    if rest and self._coarse and is_small(reaching, packets):
                        left[before:] = [packets]
                        return
                    left += rest
                case Change(of):
                    reaching = [of(one) for one in reaching]
                case Translation():
                    left += self._translated(step, reaching, ways)
                    return
                case VerdictMap(branches):
                    reaching = self._branch(chain, rule, branches, reaching, ways, left, depth)
                case Verdict():
                    self._verdict(chain, rule, step, reaching, ways, left, depth)
                    return
        left += reaching

    def _branch(
        self,
        chain: Chain,
        rule: Rule,
        branches: Sequence[tuple[object, Verdict]],
        reaching: list[Packets],
        ways: Ways,
        left: list[Packets],
        depth: int,
    ) -> list[Packets]:
        """The packets that no branch takes."""
        for match, verdict in branches:
            parts = [match.split(one) for one in reaching]  # type: ignore[attr-defined]
            self._verdict(chain, rule, verdict, [one for yes, _ in parts for one in yes], ways, left, depth)
            reaching = [one for _, no in parts for one in no]
        return reaching

    def _verdict(
        self,
        chain: Chain,
        rule: Rule,
        verdict: Verdict,
        reaching: list[Packets],
        ways: Ways,
        left: list[Packets],
        depth: int,
    ) -> None:
        match verdict.word:
            case "accept":
                self._end(verdict.listed or "accept", reaching)
                ways.accepted.extend(Packets(one.common.passing(rule.name), one.boxes) for one in reaching)
            case "drop":
                self._end(verdict.listed or "drop", reaching)
            case "return":
                ways.returned.extend(reaching)
            case "continue":
                left += reaching
            case "jump" | "goto":
                target = self._index.target(chain, verdict.target)
                if target is None or depth >= DEPTH:
                    left += [one.doubted(rule.name) for one in reaching]
                    return
                accepted, returned = self._chain(target, merged(reaching), depth + 1)
                ways.accepted.extend(accepted)
                (left if verdict.word == "jump" else ways.returned).extend(returned)

    def _translated(self, step: Translation, reaching: Sequence[Packets], ways: Ways) -> list[Packets]:
        """The packets that a map does not have."""
        left: list[Packets] = []
        for one in reaching:
            if step.table is None:
                every = (
                    (EVERY_ADDRESS[one.common.version], EVERY_PORT) if step.anywhere else (step.daddr, step.dport)
                )
                done = [(one, [box.translated(*every) for box in one.boxes])]
            else:
                yes, no = step.table.split_by_element(one)
                left += no
                done = [
                    (packets, [box.translated(element.daddr, element.dport) for box, element in found])
                    for packets, found in yes
                ]
            self._end("dnat", [packets for packets, _ in done])
            for packets, boxes in done:
                common = replace(packets.common, status=packets.common.status | {"dnat"}).passing(step.rule)
                ways.accepted.append(Packets(common.doubted(step.rule) if step.anywhere else common, boxes))
        return left


def is_small(part: Iterable[Packets], whole: Packets) -> bool:
    """True if a part of a sample is small. What is cut out of boxes counts as there."""
    return amount(part) * SMALL < amount((whole,))


def amount(classes: Iterable[Packets]) -> int:
    """The number of combinations of protocol, source and destination."""
    total = 0
    for one in classes:
        for box in one.boxes:
            total += prod(map(size, box.numbers[:HEADER_FIELDS]))
    return total
