"""A question in words or options, as an invariant: ``can guest open tcp 8443``."""

import re
from collections.abc import Mapping

from upnp_gw.gate.invariant import Invariant, InvariantKind
from upnp_gw.gate.policyfile import printable
from upnp_gw.gate.read_invariants import read_requested, read_sender
from upnp_gw.gate.rules import PolicyRules
from upnp_gw.gate.schema import Policy
from upnp_gw.gate.values import KeyPath
from upnp_gw.model.errors import ConfigError

FORM = "can WHO open [tcp|udp] [PORTS] [as PORTS] [for ADDRESS] [from REMOTE] [over PROTOCOL] [at HH:MM-HH:MM]"
WHERE = "the question"
ANYBODY = ("anyone", "anybody", "*")
WORDS = {"as": "ext", "for": "for", "from": "remote", "at": "at"}
_PORTS = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*")
_ADDRESS = re.compile(r"[0-9.]+(/[0-9]+)?|[0-9a-fA-F]*:[0-9a-fA-F:.]*(/[0-9]+)?")
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}")

Tables = tuple[dict[str, object], dict[str, object]]
"""``from`` and ``request``, as in a ``[[never]]``."""


def in_words(text: str, policy: Policy) -> Tables:
    """The tables of a question in words. Raises ConfigError."""
    words = text.rstrip("? ").split()
    if len(words) < 3 or words[0].lower() != "can" or "open" not in words:
        raise ConfigError(WHERE, "", f"not understood; accepted: {FORM}")
    cut = words.index("open")
    sender, request = who(" ".join(words[1:cut]), policy), dict[str, object]()
    rest = words[cut + 1 :]
    while rest:
        word = rest.pop(0).lower()
        if word in ("tcp", "udp"):
            request["proto"] = word
        elif word in ("ip4", "ip6"):
            request["family"] = word
        elif _PORTS.fullmatch(word):
            request["int"] = ports(word)
        elif word in WORDS and rest:
            value = rest.pop(0)
            request[WORDS[word]] = ports(value) if word == "as" else value
        elif word == "over" and rest:
            sender["via"] = rest.pop(0).lower()
        else:
            raise ConfigError(WHERE, "", f"{printable(word)!r} is not understood; accepted: {FORM}")
    return sender, request


def who(text: str, policy: Policy) -> dict[str, object]:
    """``from`` of one word: a device, ``@group``, a zone, an address, a MAC address, anyone; ``not`` before it."""
    if text in ANYBODY:
        return {}
    if text.startswith("not "):
        return {"not": text.removeprefix("not ")}
    name = text.removeprefix("a ").removeprefix("the ")
    if name.startswith("@") or name in policy.devices:
        return {"device": name}
    if name in policy.zones:
        return {"zone": name}
    if _MAC.fullmatch(name):
        return {"mac": name}
    if _ADDRESS.fullmatch(name):
        return {"ip": name}
    if name in policy.groups:
        return {"device": f"@{name}"}
    known = ", ".join(sorted({*policy.devices, *policy.zones, *(f"@{group}" for group in policy.groups)})[:12])
    raise ConfigError(
        WHERE, "", f"{printable(text)!r} is nobody of this policy; accepted: anyone, an address, {known}"
    )


def ports(text: str) -> list[int | str]:
    """``22,8000-8099`` as in the policy file."""
    return [int(part) if part.isdigit() and len(part) < 6 else part for part in text.split(",")]


def asked(tables: Tables, policy: Policy) -> Invariant:
    """The question as a ``[[never]]``. Raises ConfigError."""
    rules = PolicyRules(policy.devices, policy.groups, policy.zones, policy.sets, WHERE)
    sender, request = tables
    return Invariant(
        InvariantKind.NEVER,
        "question",
        "",
        read_sender(_plain(sender), rules, KeyPath(WHERE, "from")),
        read_requested(_plain(request), rules, KeyPath(WHERE, "request")),
    )


def _plain(table: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in table.items() if value is not None}
