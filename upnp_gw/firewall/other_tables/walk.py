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
        for rule in chain.rules:
            at = scope or self.sample.scope
            for name, value in (pair for expression in rule for pair in expression.items()):
                passed = self._passed(chain, at, name, value)
                if passed is None:
                    break
                at = passed
                yield from self._reached(chain, at, name, value)
                if name in ("return", "goto") and self.whole(at):
                    return

    def whole(self, scope: Scope) -> bool:
        """True if certainly every packet of the sample has this scope."""
        return scope.certain and scope.holds(self.sample.scope)

    def _passed(self, chain: Chain, scope: Scope, name: str, value: Json) -> Scope | None:
        """The part of the scope that passes one expression of a rule; None: nothing passes."""
        if name == "match":
            return narrow(self.rules, chain, scope, value, self.sample)
        if name == "xt" and _xt(value) == "match":
            return replace(scope, certain=False, explained=False)
        return scope

    def _reached(self, chain: Chain, scope: Scope, name: str, value: Json) -> Iterator[Statement]:
        """One expression of a rule as statements: its own, or those that a jump leads to."""
        match name:
            case "match":
                return
            case "jump" | "goto":
                yield from self._follow(chain, scope, value)
            case "vmap":
                yield from self._verdicts(chain, scope, value)
            case "xt" if _xt(value) == "reject":
                yield Statement(chain, scope, "reject", None)
            case _:
                yield Statement(chain, scope, name, value)

    def _verdicts(self, chain: Chain, scope: Scope, vmap: Json) -> Iterator[Statement]:
        for element in self.rules.elements(chain, part(vmap, "data")):
            if not isinstance(element, list) or len(element) != 2:
                continue
            match = {"op": "==", "left": part(vmap, "key"), "right": {"set": [element[0]]}}
            remaining = narrow(self.rules, chain, scope, match, self.sample)
            if remaining is None or not isinstance(element[1], dict):
                continue
            for name, value in element[1].items():
                if name in ("jump", "goto"):
                    yield from self._follow(chain, remaining, value)
                else:
                    yield Statement(chain, remaining, name, value)

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
