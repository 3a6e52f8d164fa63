"""Matches of iptables in a listing, by the text that nft prints of the same rules."""

from copy import deepcopy
from typing import Any

from upnp_gw.firewall.rules.iptables import has_translations, translate

XT: Any = {"xt": {"type": "match", "name": "multiport"}}


def rule(*expressions: Any) -> Any:
    return {"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "expr": list(expressions)}}


def translated(text: str) -> list[Any]:
    objects = [rule(XT, {"drop": None})]
    assert has_translations(objects)
    translate(objects, f"table ip filter {{\n\tchain FORWARD {{\n\t\t{text}\n\t}}\n}}\n")
    found: list[Any] = objects[0]["rule"]["expr"]
    return found


def test_a_match_is_read_from_the_text_of_its_rule() -> None:
    found = translated("ip protocol tcp tcp dport { 80,8000-8080 } drop")
    left = {"payload": {"protocol": "tcp", "field": "dport"}}
    right = {"set": [80, {"range": [8000, 8080]}]}
    assert found == [{"match": {"op": "==", "left": left, "right": right}}, {"drop": None}]


def test_quoted_text_is_no_match() -> None:
    """The operator chooses a comment and a log prefix as he likes."""
    for quoted in ('log prefix "tcp dport { 22 }"', 'comment "udp dport { , }"'):
        assert translated(f"ip protocol tcp {quoted} drop") == [XT, {"drop": None}]


def test_ports_that_make_no_sense_are_not_translated() -> None:
    for ports in ("-", "80-", "1-2-3", "80 90"):
        assert translated(f"tcp dport {{ {ports} }} drop") == [XT, {"drop": None}]


def test_another_number_of_rules_leaves_the_listing_as_it_is() -> None:
    objects = [rule(XT), rule(XT)]
    before = deepcopy(objects)
    translate(objects, "table ip filter {\n\tchain FORWARD {\n\t\ttcp dport { 80 } drop\n\t}\n}\n")
    assert objects == before
