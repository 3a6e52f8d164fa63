"""The steps of rules: conditions, verdicts, translations, changes. Made from libnftables' JSON. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from upnp_gw.firewall.rules.conditions import Conditions, address_of
from upnp_gw.firewall.rules.fields import Field, Kind, field_of
from upnp_gw.firewall.rules.index import Chain, Json, part
from upnp_gw.firewall.rules.matches import EitherMatch, Match, NeverMatch, TableMatch
from upnp_gw.firewall.rules.packets import DADDR, DPORT, EVERY_ADDRESS, EVERY_PORT, Box, Packets
from upnp_gw.firewall.rules.ranges import Ranges
from upnp_gw.firewall.rules.values import ranges_of
from upnp_gw.firewall.rules.wording import rule_name


@dataclass(frozen=True, slots=True)
class Verdict:
    """``accept``, ``drop``, ``return``, or ``jump`` and ``goto`` with a target."""

    word: str
    target: str = ""
    listed: str = ""
    """The statement in the listing, if it is another word."""


@dataclass(frozen=True, slots=True)
class VerdictMap:
    """The first condition that matches decides. One that does not lets the rule go on."""

    branches: tuple[tuple[Match, Verdict], ...]


@dataclass(frozen=True, slots=True)
class Translation:
    """dnat. Without ``table`` it leads to ``daddr`` and ``dport``; empty: as it was."""

    rule: str
    table: TableMatch | None = None
    daddr: Ranges = ()
    dport: Ranges = ()
    anywhere: bool = False
    """It is not known where it leads to."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Packets that do not match leave the rule."""

    match: Match


@dataclass(frozen=True, slots=True)
class Change:
    """Changes the packets or their flow."""

    of: Callable[[Packets], Packets]


Step = Verdict | VerdictMap | Translation | Condition | Change


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that can make a difference."""

    name: str
    steps: tuple[Step, ...]


_SILENT = frozenset({"counter", "log", "comment", "last", "secmark", "ct timeout", "continue", "flow"})
"""Statements that change nothing for where the packet goes. ``flow`` gives a flow to a flowtable: see ``flows``."""
_EITHER = frozenset({"limit", "quota", "set", "meter", "ct count", "map"})
"""Statements that end the rule for some packets: a sender can keep below a rate, or exceed it. A set that packets
fill ends the rule when it is full."""
_XT_SILENT = frozenset(
    {"LOG", "NFLOG", "TRACE", "TCPMSS", "CHECKSUM", "CLASSIFY", "DSCP", "TOS", "TTL", "HL", "SET"}
)
_XT_MARKS = frozenset({"MARK", "CONNMARK"})
_UNHARMED = ("tcp option", "exthdr", "ip option")
_ENDS = {
    **{word: Verdict(word) for word in ("accept", "drop", "return")},
    "reject": Verdict("drop", listed="reject"),
    "masquerade": Verdict("accept", listed="masquerade"),
    "snat": Verdict("accept", listed="snat"),
}
_REDIRECT = Verdict("drop", listed="redirect")
"""To the gateway itself."""
_QUEUE = Verdict("drop", listed="queue")


class RuleMaker:
    """Makes the rules of one ruleset. For typical packets their names are the places of the rules."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._typical = conditions.typical

    def rules_of(self, chain: Chain) -> tuple[Rule, ...]:
        """The rules of a chain without those that make no difference."""
        made = (self._rule(chain, place) for place in range(len(chain.rules)))
        return tuple(rule for rule in made if any(not isinstance(step, Condition) for step in rule.steps))

    def _rule(self, chain: Chain, place: int) -> Rule:
        name = f"{chain} {place}" if self._typical else rule_name(chain, place)
        steps: list[Step] = []
        for expression in _listed(chain.rules[place]):
            for word, value in expression.items() if isinstance(expression, dict) else ():
                steps += self._steps(chain, word, value, name)
        return Rule(name, tuple(steps))

    def _steps(self, chain: Chain, word: str, value: Json, name: str) -> Sequence[Step]:
        match word:
            case "match":
                return (Condition(self._conditions.of(chain, value, name)),)
            case "jump" | "goto":
                return (Verdict(word, str(part(value, "target"))),)
            case "vmap":
                return (self._verdict_map(chain, value, name),)
            case "dnat":
                return (self._translation(chain, value, name),)
            case "redirect" | "tproxy":
                return (*self._looked_up(chain, value, name), _REDIRECT)
            case "mangle":
                return self._mangled(value, name)
            case "notrack":
                return (Change(_untracked),)
            case "xt":
                return _xt(value, name, chain.kind == "nat")
        return self._plain(word, value, name)

    def _plain(self, word: str, value: Json, name: str) -> Sequence[Step]:
        if word == "queue" and self._typical:
            return (_QUEUE,)
        if word in _ENDS:
            return (_ENDS[word],)
        if word in _SILENT:
            return ()
        return self._limited(value) if word in _EITHER else _unknown(name)

    def _limited(self, value: Json) -> Sequence[Step]:
        """Typical packets keep below a rate, and sets have room for them."""
        if not self._typical:
            return (Condition(EitherMatch()),)
        inner = part(value, "stmt")
        limits = [value, *(limit for one in _listed(inner) if isinstance(one, dict) for limit in one.values())]
        return (Condition(NeverMatch()),) if any(part(limit, "inv") for limit in limits) else ()

    def _looked_up(self, chain: Chain, value: Json, name: str) -> Sequence[Step]:
        """The condition that the map of a redirect has the packet."""
        found = part(value, "port", "map")
        if found is None:
            return ()
        keys = part(found, "key", "concat") or [part(found, "key")]
        table = self._conditions.keyed(chain, tuple(map(field_of, _listed(keys))), part(found, "data"), name)
        return (Condition(EitherMatch((), name) if table is None else table),)

    def _verdict_map(self, chain: Chain, vmap: Json, name: str) -> VerdictMap:
        branches = []
        for element in self._conditions.listed(chain, part(vmap, "data")):
            key, verdict = element if isinstance(element, list) and len(element) == 2 else (element, None)
            equals = {"op": "==", "left": part(vmap, "key"), "right": {"set": [key]}}
            for word, value in verdict.items() if isinstance(verdict, dict) else ():
                target = str(part(value, "target") or "")
                known = _ENDS.get(str(word), Verdict(str(word), target))
                branches.append((self._conditions.of(chain, equals, name), known))
        return VerdictMap(tuple(branches))

    def _translation(self, chain: Chain, value: Json, name: str) -> Translation:
        address, port = part(value, "addr"), part(value, "port")
        found = part(address, "map") or part(port, "map")
        if found is not None:
            keys = part(found, "key", "concat") or [part(found, "key")]
            table = self._conditions.keyed(chain, tuple(map(field_of, _listed(keys))), part(found, "data"), name)
            return Translation(name, anywhere=True) if table is None else Translation(name, table)
        daddr: Ranges | None = () if address is None else address_of(address)
        dport: Ranges | None = () if port is None else ranges_of(DPORT, 4, port)
        if daddr is None or dport is None:
            return Translation(name, anywhere=True)
        return Translation(name, None, daddr, dport)

    def _mangled(self, value: Json, name: str) -> Sequence[Step]:
        key, new = part(value, "key"), part(value, "value")
        if any(part(key, harmless) is not None for harmless in _UNHARMED):
            return ()
        field = field_of(key)
        if field.kind is Kind.COMMON and field.name == "labels" and isinstance(new, int):
            label = new
            return (Change(lambda one: _having(one, labels=one.common.labels | {label})),)
        if field.kind is Kind.COMMON and field.name in ("mark", "ct_mark"):
            return (Change(lambda one: _having(one, **{field.name: _mark_after(one, new)})),)
        if field.kind is Kind.NUMBERS:
            return (Change(lambda one: _widened(one, field, name)),)
        if field.kind is Kind.CHOSEN or part(key, "meta", "key") in ("nftrace", "pkttype", "priority"):
            return ()
        return (Change(lambda one: one.doubted(name)),)


def _listed(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else ()


def _having(packets: Packets, **values: object) -> Packets:
    changed: dict[str, object] = values
    return Packets(replace(packets.common, **changed), packets.boxes)  # type: ignore[arg-type]


def _mark_after(packets: Packets, value: Json) -> int | None:
    """The mark that is set; None: it is not a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    field = field_of(value)
    if field.kind is Kind.COMMON and field.mask is None and field.name in ("mark", "ct_mark"):
        mark: int | None = getattr(packets.common, field.name)
        return mark
    return None


def _untracked(packets: Packets) -> Packets:
    return _having(packets, state="untracked")


def _widened(packets: Packets, field: Field, name: str) -> Packets:
    """After a rule that writes a header: the field can have any number."""
    every = {DADDR: EVERY_ADDRESS[packets.common.version], DPORT: EVERY_PORT}.get(field.number)
    boxes = (
        packets.boxes if every is None else [Box(box.having(field.number, every).numbers) for box in packets.boxes]
    )
    return Packets(packets.common.doubted(name), boxes)


def _xt(value: Json, name: str, nat: bool) -> Sequence[Step]:
    """``nat``: in a chain that translates."""
    if nat and part(value, "name") is None:  # old listings do not name it: a match, or a translation
        return (Condition(EitherMatch((), name)), Translation(name, anywhere=True))
    kind, word = part(value, "type"), part(value, "name")
    if word == "comment" or (kind == "target" and word in _XT_SILENT):
        return ()
    if kind != "target":
        return (Condition(EitherMatch((), name)),)
    match word:
        case "REJECT":
            return (_ENDS["reject"],)
        case "DROP" | "TARPIT":
            return (_ENDS["drop"],)
        case "TPROXY" | "REDIRECT":
            return (_REDIRECT,)
        case "MASQUERADE" | "SNAT":
            return (_ENDS["masquerade"],)
        case "DNAT" | "NETMAP":
            return (Translation(name, anywhere=True),)
        case "CT" | "NOTRACK":
            return (Change(_untracked),) if word == "NOTRACK" else (Change(lambda one: one.doubted(name)),)
    if word in _XT_MARKS:
        return (Change(lambda one: _having(one, mark=None, ct_mark=None)),)
    return _unknown(name)


def _unknown(name: str) -> Sequence[Step]:
    """A statement that is not known: it may let the packet through."""
    return (Condition(EitherMatch((), name)), Verdict("accept"))
