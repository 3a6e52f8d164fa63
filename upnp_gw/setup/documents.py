"""The texts of the configuration and of the policy, from the answers. Pure.

A file that is there is edited: its other keys and its comments stay. A text that means the same is not changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT

from upnp_gw.config.file import parse_text
from upnp_gw.config.settings import PAGE_LISTEN, Config, check
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.gate.builtin import profile_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import Endpoint, IPNetwork
from upnp_gw.model.network import Link
from upnp_gw.setup.answers import KEEP, Answers, LanAnswer
from upnp_gw.text.toml import parse_tables

GUEST_ZONE = "guests"
GUEST_RULE = "guests-open-nothing"
PAGE_PORT = PAGE_LISTEN.port
HEAD = "Written by upnp-gw setup; edit it as you like. Another setup keeps your comments and other keys."
BY_HAND = "cannot be edited by setup as it is written; change it by hand"
ANSWERED = frozenset(
    ("lan", "nat_of_lan", "nat", "routed", "wan", "firewall", "policy", "page_lan", "page_listen", "control_group")
)
"""Fields that answers change. ``routed`` names the interface of its table."""
MODES = {
    FirewallMode.ALONGSIDE: "one table beside the firewall of this machine",
    FirewallMode.ROUTER: "upnp-gw is the whole firewall of this machine",
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The facts that the configuration needs beside the answers."""

    policy: Path
    """The policy file, absolute."""
    first_lan: IPv4Address | None = None
    """The address of this machine on the first LAN."""
    page_group: str = ""
    """The group of the page's user; empty: the machine has none."""


def configuration(before: str | None, where: str, answers: Answers, around: Surroundings) -> str:
    """The text of the configuration. ``before``: that of the file; None: there is none.

    Raises ConfigError if the file has a mistake, or the result would.
    """
    given = parse_text(before or "", where)
    document = _parsed(before or "", where)
    if before is None:
        document.add(tomlkit.comment(HEAD))
    now = Config(**{"wan": "", "lan": (), **given})
    _set_lans(document, answers.lans, now, before is None)
    if now.wan != answers.wan:
        _set(document, "wan", "interface", answers.wan)
    if before is None or now.firewall != answers.mode:
        _set(document, "firewall", "mode", str(answers.mode), MODES[answers.mode] if before is None else "")
    if given.get("policy") is None or _absolute(where, given["policy"]) != around.policy:
        _set(document, "gate", "policy", str(around.policy))
    _set_page(document, answers, now, around, before is None)
    text = tomlkit.dumps(document)
    after = parse_text(text, where)
    if before is not None and after == given:
        return before
    if any(after.get(field) != given.get(field) for field in (after.keys() | given.keys()) - ANSWERED):
        raise ConfigError(where, "", BY_HAND)
    check(Config(**after), where)
    return text


def _parsed(text: str, where: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError:  # valid TOML that it does not read
        raise ConfigError(where, "", BY_HAND) from None


def _absolute(where: str, path: Path) -> Path:
    return Path(where).absolute().parent / path


def _set(document: tomlkit.TOMLDocument, table: str, key: str, value: Any, comment: str = "") -> None:
    if table not in document:
        document.add(tomlkit.nl())
        document.add(table, tomlkit.table())
    item = tomlkit.item(value)
    if comment:
        item.comment(comment)
    document[table][key] = item


def _set_lans(document: tomlkit.TOMLDocument, lans: Sequence[LanAnswer], now: Config, fresh: bool) -> None:
    wanted = {lan.name: lan.nat for lan in lans}
    have = {name: now.nat_of_lan.get(name, now.nat) for name in now.lan}
    if list(wanted.items()) == list(have.items()):
        return
    kinds = set(wanted.values())
    tables = document.get("lan")
    if not isinstance(tables, AoT | list) and len(kinds) == 1 and not now.nat_of_lan:
        _set(document, "lan", "interfaces", list(wanted))
        if now.nat not in kinds:
            _set(document, "firewall", "nat", kinds.pop())
        return
    _set_lan_tables(document, wanted, have, tables)


def _set_lan_tables(
    document: tomlkit.TOMLDocument, wanted: Mapping[str, bool], have: Mapping[str, bool], tables: Any
) -> None:
    """One ``[[lan]]`` for each LAN; those that stay keep their other keys."""
    before = tables if isinstance(tables, list) else [tables] if tables else []
    others = {
        name: {key: value for key, value in table.items() if key not in ("interfaces", "nat", "hairpin")}
        for table in before
        for name in table.get("interfaces", ())[:1]
    }
    hairpin = [table["hairpin"] for table in before if "hairpin" in table]
    made = tomlkit.aot()
    for name, nat in wanted.items():
        table = tomlkit.table()
        table["interfaces"] = [name]
        if not nat:
            table["nat"] = False
        for key, value in others.get(name, {}).items():
            table[key] = value
        if hairpin:  # one value for all LANs, which needs to stand once
            table["hairpin"] = hairpin.pop()
            hairpin.clear()
        made.append(table)
    if "lan" in document:
        document.remove("lan")
    document.append("lan", made)


def _set_page(
    document: tomlkit.TOMLDocument, answers: Answers, now: Config, around: Surroundings, fresh: bool
) -> None:
    if fresh or now.page_lan != answers.page:
        _set(document, "page", "lan", answers.page)
    if answers.page == "off":
        return
    listen = sign_in_address(answers, now, around)
    if listen != now.page_listen:
        _set(document, "page", "listen", str(listen))
    if around.page_group and not now.control_group:
        _set(document, "control", "group", around.page_group)


def sign_in_address(answers: Answers, now: Config, around: Surroundings) -> Endpoint:
    """The address of the operator's page; the one that the configuration has, if it fits the answer."""
    on_loopback = now.page_listen.address.is_loopback
    if answers.sign_in == "lan" and on_loopback and around.first_lan is not None:
        return Endpoint(around.first_lan, now.page_listen.port)
    if answers.sign_in == "ssh" and not on_loopback:
        return Endpoint(PAGE_LISTEN.address, now.page_listen.port)
    return now.page_listen


def policy(before: str | None, where: str, answers: Answers, guests: Sequence[IPNetwork]) -> str:
    """The text of the policy. ``before``: that of the file; None: there is none. ``guests``: the prefixes of the
    LANs for guests. Raises ConfigError if the file that stays is not TOML."""
    keeps = before is not None and answers.policy == KEEP
    text = before if keeps and before is not None else profile_text(answers.policy)
    return _with_guests(text, where, guests) if guests else text


def guest_lans(text: str | None, where: str, interfaces: Sequence[Link]) -> frozenset[str]:
    """The interfaces with a prefix in the zone of the guests. ``text``: the policy; None: there is none. Raises
    ConfigError."""
    zones = parse_tables(text, where).get("zone") if text is not None else None
    guests = zones.get(GUEST_ZONE) if isinstance(zones, dict) else None
    named = {each for each in guests if isinstance(each, str)} if isinstance(guests, list) else set()
    return frozenset(link.name for link in interfaces if named & set(map(str, link.networks)))


def _with_guests(text: str, where: str, guests: Sequence[IPNetwork]) -> str:
    """The policy with the zone of the guests and the rule that they open nothing, where it has them not yet."""
    tables = parse_tables(text, where)
    zones = tables.get("zone", {})
    have = zones.get(GUEST_ZONE, []) if isinstance(zones, dict) else []
    missing = [str(net) for net in guests if str(net) not in have]
    names = [rule.get("name") for rule in tables.get("forbid", ())]
    if not missing and GUEST_RULE in names:
        return text
    document = _parsed(text, where)
    if "zone" not in document:
        document.add("zone", tomlkit.table())
    document["zone"][GUEST_ZONE] = [*have, *missing]
    if GUEST_RULE not in names:
        _add_rule(document)
    return tomlkit.dumps(document)


def _add_rule(document: tomlkit.TOMLDocument) -> None:
    forbid, test = tomlkit.table(), tomlkit.table()
    forbid.update({"name": GUEST_RULE, "zone": GUEST_ZONE})
    forbid["reason"] = "guests open no ports"
    case = tomlkit.inline_table()
    case.update({"zone": GUEST_ZONE})
    asked = tomlkit.inline_table()
    asked.update({"proto": "udp", "int": 3074, "ext": 3074})
    test["name"] = "a guest opens nothing"
    test["from"] = case
    test["request"] = asked
    test["want"] = "deny"
    test["rule"] = GUEST_RULE
    for kind, table in (("forbid", forbid), ("test", test)):
        if kind not in document:
            document.add(kind, tomlkit.aot())
        document[kind].append(table)
