"""Translates matches of iptables (``xt``) in a listing to nftables' own matches, and its DNAT.

libnftables' JSON has only their names. Its text output translates them if it is built with
libxtables, as on Debian. So they are read from the text of the rule. A match without a translation is left
unchanged. Pure.
"""

import re
from collections.abc import Iterator, Sequence

from upnp_gw.firewall.rules.index import Json, part

WORDS = {
    "conntrack": [(r"ct (state|status) (!=? )?([a-z,]+)", "ct")],
    "addrtype": [(r"fib (daddr) type (!= )?([a-z]+)", "fib")],
    "pkttype": [(r"(pkttype) (!= )?([a-z]+)", "meta")],
    "connlabel": [(r"ct (label) (!= )?([0-9]+)", "ct")],
    "multiport": [(r"(tcp|udp) dport (!= )?\{ ([0-9]+(?:-[0-9]+)?(?:, ?[0-9]+(?:-[0-9]+)?)*) \}", "payload")],
}
"""Name of an xt match -> patterns of its nftables text (key, negation, value), and the kind of match."""
DNAT = re.compile(
    r"\bdnat to (?P<addr>[0-9.]+|\[[0-9a-f:]+\]|[0-9a-f:]+:[0-9a-f:]*)(?::(?P<port>[0-9]+))?(?![-0-9])"
)
"""The text of a DNAT to one address."""


def has_translations(objects: Sequence[Json]) -> bool:
    """True if a listing has parts that can be translated."""
    return any(_name(one) in WORDS or _is_dnat(one) for rule in _rules(objects) for one in rule.get("expr", ()))


def translate(objects: Sequence[Json], text: str) -> None:
    """Changes the rules of a table's listing in place. ``text``: the same listing as nft prints it."""
    lines = _lines(text)
    for chain in {rule.get("chain") for rule in _rules(objects)}:
        rules = [rule for rule in _rules(objects) if rule.get("chain") == chain]
        original = lines.get(str(chain), [])
        if len(original) == len(rules):  # else the table changed between the two listings
            for rule, line in zip(rules, original, strict=True):
                rule["expr"] = [new for old in rule.get("expr", ()) for new in _translated(old, line)]


def _rules(objects: Sequence[Json]) -> Iterator[dict[str, Json]]:
    return (item["rule"] for item in objects if isinstance(item, dict) and isinstance(item.get("rule"), dict))


def _name(expression: Json) -> str:
    return str(part(expression, "xt", "name")) if part(expression, "xt", "type") == "match" else ""


def _is_dnat(expression: Json) -> bool:
    return (part(expression, "xt", "type"), part(expression, "xt", "name")) == ("target", "DNAT")


def _dnat(expression: Json, line: str) -> Json:
    found = DNAT.search(line)
    if found is None:
        return expression
    port = {} if found["port"] is None else {"port": int(found["port"])}
    return {"dnat": {"addr": found["addr"].strip("[]"), **port}}


def _lines(text: str) -> dict[str, list[str]]:
    """Chain -> its rules, one line each, without quoted text."""
    found: dict[str, list[str]] = {}
    chain = ""
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith("chain ") and line.endswith("{"):
            chain = line.split()[1]
            found[chain] = []
        elif line == "}":
            chain = ""
        elif chain and line and not line.startswith(("type ", "comment ")):
            found[chain].append(re.sub(r'"[^"]*"', '""', line))  # comments and log prefixes can contain any text
    return found


def _translated(expression: Json, line: str) -> list[Json]:
    if _is_dnat(expression):
        return [_dnat(expression, line)]
    found = [
        {"match": {"op": "!=" if negated else "==", "left": _left(kind, key), "right": _right(kind, value)}}
        for pattern, kind in WORDS.get(_name(expression), ())
        for key, negated, value in re.findall(rf"\b{pattern}", line)
    ]
    return found or [expression]


def _left(kind: str, key: str) -> Json:
    match kind:
        case "fib":
            return {"fib": {"result": "type", "flags": key}}
        case "payload":
            return {"payload": {"protocol": key, "field": "dport"}}
    return {kind: {"key": key}}


def _right(kind: str, value: str) -> Json:
    if kind != "payload":
        return {"set": value.split(",")}
    ports = [[int(port) for port in span.split("-")] for span in value.replace(" ", "").split(",")]
    return {"set": [{"range": span} if len(span) == 2 else span[0] for span in ports]}
