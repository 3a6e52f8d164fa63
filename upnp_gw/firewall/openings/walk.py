"""Follows classes of packets through the chains of a ruleset. Pure.

What is let through is never less than what the kernel lets through: where a rule cannot be decided, the packets are
followed both ways, with a doubt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from upnp_gw.firewall.openings.conditions import Conditions
from upnp_gw.firewall.openings.packets import (
    EVERY_ADDRESS,
    EVERY_PORT,
    Packets,
    TooMuchToCount,
    merged,
)
from upnp_gw.firewall.openings.ranges import Ranges
from upnp_gw.firewall.openings.steps import Change, Condition, Rule, RuleMaker, Translation, Verdict, VerdictMap
from upnp_gw.firewall.openings.wording import policy_name
from upnp_gw.firewall.other_tables.index import Chain, Name, RulesetIndex

DEPTH = 16
"""The deepest jumps that the kernel allows."""
BOXES_MOST = 300_000
"""The most boxes that are followed at a time."""
FAMILIES = {4: ("ip", "inet"), 6: ("ip6", "inet")}


class Ways(NamedTuple):
    """The packets that a chain accepted, and those that it gave back."""

    accepted: list[Packets]
    """With the rule that accepted them as the last of ``passed``."""
    returned: list[Packets]
    """To the chain that jumped here."""


class Walk:
    """Follows packets through one ruleset. ``own``: IP version -> the gateway's own addresses."""

    def __init__(self, index: RulesetIndex, own: Mapping[int, Ranges]) -> None:
        self._index = index
        self._maker = RuleMaker(Conditions(index, own))
        self._rules: dict[Name, tuple[Rule, ...]] = {}

    def base_chains(self, hook: str, kinds: Sequence[str]) -> list[Chain]:
        """The base chains of a hook, in the order in which the kernel calls them."""
        found = [chain for kind in kinds for chain in self._index.base_chains(hook, kind)]
        return sorted(found, key=lambda chain: chain.priority)

    def through(self, chain: Chain, classes: Sequence[Packets]) -> list[Packets]:
        """The packets that a base chain lets pass."""
        concerned = [one for one in classes if chain.family in FAMILIES[one.common.version]]
        others = [one for one in classes if chain.family not in FAMILIES[one.common.version]]
        accepted, returned = self._chain(chain, concerned, 0)
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
        reaching = [packets]
        for step in rule.steps:
            if not reaching:
                return
            match step:
                case Condition(match):
                    parts = [match.split(one) for one in reaching]
                    left += [one for _, no in parts for one in no]
                    reaching = [one for yes, _ in parts for one in yes]
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
                ways.accepted.extend(Packets(one.common.passing(rule.name), one.boxes) for one in reaching)
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
            for packets, boxes in done:
                common = replace(packets.common, status=packets.common.status | {"dnat"}).passing(step.rule)
                ways.accepted.append(Packets(common.doubted(step.rule) if step.anywhere else common, boxes))
        return left
