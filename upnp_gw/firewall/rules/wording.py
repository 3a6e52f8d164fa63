"""Rules in words. Pure. Names of foreign tables are as they are: escape them before they reach a terminal."""

from collections.abc import Iterable

from upnp_gw.firewall.rules.index import Chain, Json, part

LONGEST = 160
"""The most characters of a rule."""
_SILENT = ("counter", "log", "comment")


def rule_name(chain: Chain, place: int) -> str:
    """``inet filter forward, handle 12: iifname wan0 tcp dport 22 accept``."""
    handle = chain.handles[place] if place < len(chain.handles) else 0
    number = f"handle {handle}" if handle else f"rule {place + 1}"
    words = " ".join(_words(chain.rules[place]))
    text = words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
    return f"{chain}, {number}: {text}"


def policy_name(chain: Chain) -> str:
    return f"{chain}, policy {chain.policy}"


def _words(rule: Json) -> Iterable[str]:
    for expression in rule if isinstance(rule, list) else ():
        for name, value in expression.items() if isinstance(expression, dict) else ():
            if name in _SILENT:
                continue
            if name == "match":
                op = part(value, "op")
                middle = () if op in ("==", "in") else (str(op),)
                yield from (_key(part(value, "left")), *middle, _value(part(value, "right")))
            elif name in ("jump", "goto"):
                yield f"{name} {part(value, 'target')}"
            elif name == "vmap":
                yield f"{_key(part(value, 'key'))} vmap {_value(part(value, 'data'))}"
            elif name == "xt":
                yield f"xt {part(value, 'type')} {part(value, 'name')}"
            elif name in ("dnat", "snat", "redirect"):
                yield _translation(name, value)
            else:
                yield name


def _translation(name: str, value: Json) -> str:
    address, port = part(value, "addr"), part(value, "port")
    shown = "" if address is None else _value(address)
    return f"{name} to {shown}{'' if port is None else f':{_value(port)}'}" if shown or port is not None else name


def _key(left: Json) -> str:
    if (parts := part(left, "concat")) is not None:
        return " . ".join(map(_key, parts))
    if (payload := part(left, "payload")) is not None:
        if (base := part(payload, "base")) is not None:
            return f"@{base},{part(payload, 'offset')},{part(payload, 'len')}"
        return f"{part(payload, 'protocol')} {part(payload, 'field')}"
    if (ct := part(left, "ct")) is not None:
        direction = part(ct, "dir")
        return f"ct {f'{direction} ' if direction else ''}{part(ct, 'key')}"
    if (meta := part(left, "meta", "key")) is not None:
        return str(meta)
    if isinstance(masked := part(left, "&"), list) and len(masked) == 2:
        return f"{_key(masked[0])} & {_value(masked[1])}"
    return next(iter(left), "?") if isinstance(left, dict) else "?"


def _value(value: Json) -> str:
    if isinstance(value, list):
        return ",".join(map(_value, value))
    if isinstance(value, dict):
        if (members := part(value, "set")) is not None:
            listed = members if isinstance(members, list) else [members]
            return "{ " + ", ".join(map(_value, listed[:6])) + (", …" if len(listed) > 6 else "") + " }"
        if (prefix := part(value, "prefix")) is not None:
            return f"{part(prefix, 'addr')}/{part(prefix, 'len')}"
        if isinstance(ends := part(value, "range"), list):
            return "-".join(map(str, ends))
        if isinstance(parts := part(value, "concat"), list):
            return " . ".join(map(_value, parts))
        if (found := part(value, "map")) is not None:
            return f"{_key(part(found, 'key'))} map {_value(part(found, 'data'))}"
        if (inner := part(value, "elem", "val")) is not None:
            return _value(inner)
        return next(iter(value), "?")
    return str(value)
