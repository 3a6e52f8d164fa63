"""Follows a sample packet through a base chain of another table and its jumps. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from upnp_gw.firewall.other_tables.index import Chain, Json, RulesetIndex, part
from upnp_gw.firewall.other_tables.matching import SamplePacket, Scope, narrow

DEPTH = 16
"""The deepest jumps that the kernel allows."""


class Statement(NamedTuple):
    """A statement that the sample may reach, and the part of the sample that reaches it."""

    chain: Chain
    scope: Scope
    name: str
    """The name in the listing; ``reject`` also for iptables' REJECT."""
    value: Json


@dataclass(slots=True)
class ChainWalk:
    """Follows a base chain with its jumps and yields each statement that the sample may reach."""

    rules: RulesetIndex
    sample: SamplePacket
    depth: int = field(default=0)

    def statements(self, chain: Chain, scope: Scope | None = None) -> Iterator[Statement]:
        """The statements in order. Jumps are followed and not yielded. A certain return or goto ends the chain."""
        if self.depth >= DEPTH:
            return
        for expressions in chain.rules:
            at = scope or self.sample.scope
            for name, value in ((n, v) for expression in expressions for n, v in expression.items()):
                if name == "match":
                    left = narrow(self.rules, chain, at, value, self.sample)
                    if left is None:
                        break
                    at = left
                    continue
                if name == "xt" and (found := _xt(value)) != "target":
                    if found == "match":
                        at = replace(at, certain=False, explained=False)
                    elif found == "reject":
                        yield Statement(chain, at, found, None)
                        continue
                if name in ("jump", "goto"):
                    yield from self._follow(chain, at, value)
                elif name == "vmap":
                    yield from self._verdicts(chain, at, value)
                else:
                    yield Statement(chain, at, name, value)
                if name in ("return", "goto") and self.whole(at):
                    return

    def whole(self, scope: Scope) -> bool:
        """True if certainly every packet of the sample has this scope."""
        return scope.certain and scope.holds(self.sample.scope)

    def _verdicts(self, chain: Chain, scope: Scope, vmap: Json) -> Iterator[Statement]:
        for element in self.rules.elements(chain, part(vmap, "data")):
            if not isinstance(element, list) or len(element) != 2:
                continue
            match = {"op": "==", "left": part(vmap, "key"), "right": {"set": [element[0]]}}
            left = narrow(self.rules, chain, scope, match, self.sample)
            if left is None or not isinstance(element[1], dict):
                continue
            for name, value in element[1].items():
                if name in ("jump", "goto"):
                    yield from self._follow(chain, left, value)
                else:
                    yield Statement(chain, left, name, value)

    def _follow(self, chain: Chain, scope: Scope, value: Json) -> Iterator[Statement]:
        target = self.rules.target(chain, str(part(value, "target")))
        if target is not None:
            self.depth += 1
            yield from self.statements(target, scope)
            self.depth -= 1


def _xt(value: Json) -> str:
    """The kind of a part of an iptables rule: ``match`` (or unknown), ``target``, ``reject``, ``comment``."""
    if part(value, "type") == "target":
        return "reject" if part(value, "name") == "REJECT" else "target"
    return "comment" if part(value, "name") == "comment" else "match"
