"""Screens: mappings for the remote hosts of address lists. Their names, declarations and rules, as text.

Each list of hosts has an interval set for each address family. Each screen has opening maps of its own, with the
keys of the plain ones, and a rule that looks there only for remote hosts that pass: an element of it can open to no
other one. The carrying sets are the plain ones.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from upnp_gw.firewall.base import TABLE
from upnp_gw.model.address_ranges import AddressRanges
from upnp_gw.model.mapping import Screen

V = TypeVar("V")
SEPARATOR = "__"
SCREENED = ("pm", "pm_ip", "hole4", "hole6")
"""Opening maps and sets of which a screen has its own: those without a remote host in their keys."""
_HOST_SET = re.compile(r"h[0-9a-f]{11}_[46]")
ELEMENTS_EACH = 5000
"""Runs of addresses in one command."""


def plain(name: str) -> str:
    """The map or set of which this is a screen's own: ``pm__s0123`` -> ``pm``."""
    return name.partition(SEPARATOR)[0]


def own_of(name: str, screen: Screen) -> str:
    """A screen's own map or set; the plain one without a screen. Raises KeyError for one that has no such."""
    if not screen.name:
        return name
    if name not in SCREENED:
        raise KeyError(name)
    return f"{name}{SEPARATOR}{screen.name}"


def own_maps(screens: Iterable[Screen]) -> tuple[str, ...]:
    """The own maps and sets of these screens."""
    return tuple(own_of(name, screen) for screen in screens for name in SCREENED)


class OfEachMap(dict[str, V]):
    """Values by the name of a map or set. Those of a screen have the value of the plain one."""

    def __missing__(self, name: str) -> V:
        if SEPARATOR not in name:
            raise KeyError(name)
        return self[plain(name)]


def host_sets(hosts: str) -> tuple[str, str]:
    """The interval sets of these hosts: IPv4, IPv6."""
    return f"{hosts}_4", f"{hosts}_6"


def is_of_screens(name: str) -> bool:
    """True for a set or map of a screen, or of its hosts. The kernel names sets without a name ``__set0``."""
    return (SEPARATOR in name and plain(name) in SCREENED) or _HOST_SET.fullmatch(name) is not None


def hosts_declared(hosts: Iterable[str]) -> list[str]:
    """The declarations of the interval sets."""
    return [
        f"set {name} {{ type {kind}; flags interval; }}"
        for one in hosts
        for name, kind in zip(host_sets(one), ("ipv4_addr", "ipv6_addr"), strict=True)
    ]


def hosts_filled(hosts: str, before: AddressRanges, now: AddressRanges) -> str:
    """The commands that bring the interval sets of these hosts from ``before`` to ``now``."""
    lines: list[str] = []
    for version, name in zip((4, 6), host_sets(hosts), strict=True):
        wanted = list(now.spans(version))
        present = list(before.spans(version))
        lines += _commands("delete", name, version, _without(present, wanted))
        lines += _commands("add", name, version, _without(wanted, present))
    return "".join(f"{line}\n" for line in lines)


def _without(spans: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    known = set(others)
    return [span for span in spans if span not in known]


def _commands(verb: str, name: str, version: int, spans: Sequence[tuple[int, int]]) -> Iterator[str]:
    kind = IPv4Address if version == 4 else IPv6Address
    for at in range(0, len(spans), ELEMENTS_EACH):
        texts = (
            str(kind(first)) if first == last else f"{kind(first)}-{kind(last)}"
            for first, last in spans[at : at + ELEMENTS_EACH]
        )
        yield f"{verb} element {TABLE} {name} {{ {', '.join(texts)} }}"


def passes(screen: Screen, family: str) -> str:
    """The match of the remote hosts that pass. ``family``: ``ip`` or ``ip6``."""
    at = 0 if family == "ip" else 1
    only = (f"{family} saddr @{host_sets(hosts)[at]}" for hosts in screen.only)
    never = (f"{family} saddr != @{host_sets(hosts)[at]}" for hosts in screen.never)
    return " ".join((*only, *never))


def translations(screens: Iterable[Screen], keys: Mapping[str, str]) -> list[str]:
    """The rules that translate first packets. ``keys``: ``pm_ip`` and ``pm`` -> the key in a rule, in the order in
    which they are looked up."""
    return [
        # nftables 1.0.6 needs the match on l4proto in each rule
        f"meta l4proto {number} {passes(screen, 'ip')} dnat ip to {key} map @{own_of(name, screen)}"
        for name, key in keys.items()
        for screen in screens
        for number in (17, 6)
    ]


def pinholes(screens: Iterable[Screen], name: str, key: str, target: str) -> list[str]:
    """The rules for first packets through pinholes of these screens. ``name``: ``hole4`` or ``hole6``."""
    family = "ip6" if name == "hole6" else "ip"
    return [f"{passes(screen, family)} {key} @{own_of(name, screen)} goto {target}" for screen in screens]


def hosts_of(screens: Iterable[Screen]) -> frozenset[str]:
    """The hosts that these screens name."""
    return frozenset(hosts for screen in screens for hosts in (*screen.only, *screen.never))
