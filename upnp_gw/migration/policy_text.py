"""The policy file: grants and forbids with the names and the texts of the lines they come from, and tests."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from upnp_gw.gate.floor import LOCAL_IPV4
from upnp_gw.gate.proof.spans import IP4, Spans
from upnp_gw.gate.values import duration_text
from upnp_gw.migration.first_match import Asked, allows
from upnp_gw.migration.order_free import Rule
from upnp_gw.migration.original import Line, Original, Permission, PortRange
from upnp_gw.text.escape import shown

MOST_TESTS = 16
"""Most tests of the lines that are written."""
INNER = ("", "both-", "all-")
"""Begins the name of a grant, by its depth: the deepest is the first by name."""
MOST_NAMED = 4
"""Most lines in the name of a rule."""
LONGEST_LINE = 200
SOME_PORTS = (1024, 40000)
"""Ports for tests of wide ranges."""
EVERYBODY = (IPv4Address("192.168.1.77"), IPv4Address("10.0.0.77"))
"""Hosts for tests of lines about everybody."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The parts of the policy that are not of the permission lines."""

    others: bool = False
    """True: devices open ports for other hosts too (``secure_mode=no``)."""
    ipv6: bool = True
    """True: each device opens its own IPv6 ports from 1024 up."""
    upnp: bool = True
    """False: no request over UPnP IGD is allowed."""
    max_ttl_s: int | None = None
    """Seconds: the longest lease over PCP and NAT-PMP; None: 24 hours."""


def policy_text(original: Original, rules: Sequence[Rule], wanted: Wanted) -> str:
    """The text of the policy. ``rules``: from ``order_free``."""
    named = named_rules(rules)
    blocks = [
        _head(original),
        _limits(wanted),
        *_devices(named),
        _zones(named, wanted),
        *(_rule(original, name, rule, wanted) for name, rule in named),
        _without_upnp(wanted),
        _ipv6(wanted),
        *_tests(original, wanted),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def named_rules(rules: Sequence[Rule]) -> list[tuple[str, Rule]]:
    """Each rule with its name in the policy."""
    return list(zip(_names(rules), rules, strict=True))


def _names(rules: Iterable[Rule]) -> Iterator[str]:
    """``line-88``, ``lines-88-89``, ``no-line``; with a number where a line has several rules. A grant inside
    another one is the first by name: ``both-lines-88-89``."""
    seen: dict[str, int] = {}
    for rule in rules:
        numbers = [str(line.number) for line in rule.lines]
        if len(numbers) > MOST_NAMED:
            numbers = [*numbers[:MOST_NAMED], "and", str(len(numbers) - MOST_NAMED), "more"]
        name = "-".join(["line" if len(numbers) == 1 else "lines", *numbers]) if numbers else "no-line"
        name = INNER[rule.depth] + name
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}-{seen[name]}"


def _head(original: Original) -> list[str]:
    count = len(original.permissions)
    if not count:
        about = "has no permission line: it allows every request"
    else:
        about = f"has {count} permission line{'s' * (count > 1)}"
    return [
        "# Written by `upnp-gw import`. The rules are named after the lines of the file that they come from.",
        f"# {shown(original.where, LONGEST_LINE)} {about}.",
        "version = 1",
        'default = "deny"',
    ]


def _limits(wanted: Wanted) -> list[str]:
    if wanted.max_ttl_s is None:
        return []
    return ["[limits]", f'max_ttl = "{duration_text(wanted.max_ttl_s)}"                 # max_lifetime']


def _devices(named: Iterable[tuple[str, Rule]]) -> Iterator[list[str]]:
    """The hosts that forbids are about."""
    for name, rule in named:
        if not rule.allow and rule.clients != IP4:
            hosts = [str(IPv4Address(number)) for low, high in rule.clients for number in range(low, high + 1)]
            yield [f"[device.{name}]", f"ip = {_list(hosts)}"]


def _zones(named: Iterable[tuple[str, Rule]], wanted: Wanted) -> list[str]:
    if wanted.others:
        return []
    rows = [
        f"{name} = {_list(map(str, rule.prefixes))}" for name, rule in named if rule.allow and rule.clients != IP4
    ]
    return ["[zone]", *rows] if rows else []


def _rule(original: Original, name: str, rule: Rule, wanted: Wanted) -> list[str]:
    out = [f"# line {line.number}: {shown(line.text, LONGEST_LINE)}" for line in rule.lines]
    if not rule.lines:
        out.append("# No line matches: miniupnpd allows." if original.permissions else "# miniupnpd allows all.")
    if rule.depth:
        out.append("# First by name: where the gateway chooses the external port, it may be any of these.")
    out += [f"# without line {line.number}: {shown(line.text, LONGEST_LINE)}" for line in rule.less]
    out += ["[[grant]]" if rule.allow else "[[forbid]]", f'name = "{name}"']
    if rule.allow or rule.clients != IP4:
        out.append('who = "*"' if rule.allow else f'who = "{name}"')
    out.append('family = "ip4"')
    if rule.allow and wanted.others:
        out.append(f"for = {_list(map(str, rule.prefixes))}")
    elif rule.allow and rule.clients != IP4:
        out.append(f'zone = "{name}"')
    whole = ((1, 65535),)
    if rule.allow or rule.int_ != whole:
        out.append(f"int_ports = {_ports(rule.int_)}")
    if rule.allow or rule.ext != whole:
        out.append(f"ext_ports = {_ports(rule.ext)}")
    return out


def _without_upnp(wanted: Wanted) -> list[str]:
    if wanted.upnp:
        return []
    return ["# enable_upnp=no", "[[forbid]]", 'name = "no-upnp"', 'via = ["igd1", "igd2"]']


def _ipv6(wanted: Wanted) -> list[str]:
    if not wanted.ipv6:
        return []
    return [
        "# The permission lines of miniupnpd are about IPv4 alone.",
        "[[grant]]",
        'name = "ipv6"',
        'who = "*"',
        'family = "ip6"',
        'int_ports = ["1024-65535"]',
    ]


def _tests(original: Original, wanted: Wanted) -> Iterator[list[str]]:
    """A test of each line, until there are enough: a request that is in it, and the answer of all lines."""
    if not wanted.upnp:
        return
    count = 0
    for line in original.permissions:
        asked = _example(original.permissions, line)
        if asked is not None and count < MOST_TESTS:
            count += 1
            yield _test(original, line.line, asked)


def _example(permissions: Sequence[Permission], line: Permission) -> Asked | None:
    """A request that the line matches: one for which it makes a difference, if there is such a one at the ends of
    its ranges. None: no LAN has such a host, or the line has a pattern or only port 0."""
    if line.pattern is not None or not line.ext[1] or not line.int_[1]:
        return None
    clients = [host for net in line.clients for host in _hosts(int(net[0]), int(net[-1]))]
    examples = [
        Asked(client, ext, int_) for client in clients for ext in _ends(line.ext) for int_ in _ends(line.int_)
    ]
    others = [other for other in permissions if other is not line]
    deciding = (asked for asked in examples if allows(permissions, asked) != allows(others, asked))
    return next(deciding, examples[0] if examples else None)


def _ends(ports: PortRange) -> list[int]:
    """Some ports of a range."""
    low, high = max(1, ports[0]), ports[1]
    return [low, *(port for port in SOME_PORTS if low < port < high), high]


def _hosts(low: int, high: int) -> Iterator[IPv4Address]:
    """Addresses of a prefix that a host of a LAN may have."""
    if low == high:
        ends = [IPv4Address(low)]
    else:
        ends = [*(host for host in EVERYBODY if low <= int(host) <= high), IPv4Address(low + 1)]
    return (host for host in ends if any(host in net for net in LOCAL_IPV4))


def _test(original: Original, line: Line, asked: Asked) -> list[str]:
    want = "allow" if allows(original.permissions, asked) else "deny"
    return [
        "[[test]]",
        f'name = "line {line.number}"',
        f'from = {{ ip = "{asked.client}" }}',
        f'request = {{ proto = "tcp", int = {asked.int_}, ext = {asked.ext} }}',
        f'want = "{want}"',
    ]


def _list(texts: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"


def _ports(spans: Spans) -> str:
    return "[" + ", ".join(str(low) if low == high else f'"{low}-{high}"' for low, high in spans) + "]"
